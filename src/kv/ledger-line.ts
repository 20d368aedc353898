/**
 * The line of ledger commits back from a tip, over the starts of epochs (docs/formats/data-format.md, section 8): the commit
 * before the first one of a later epoch is the one its Parent-Epoch names, which is the last of the epoch before.
 */

import { commitLinks } from "../gitwire/object/commit.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { ObjectFormat, Oid } from "../gitwire/object/oid.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";

/** The part of a ledger commit that tells where it stands. */
export type LedgerPosition = Pick<LedgerCommit, "oid" | "seq">;

/** A closed epoch and its last ledger commit. */
export interface ClosedEpoch {
  readonly label: string;
  readonly ledger: Oid;
}

/** The transaction before the ledger commit `oid`; `closed` is the epoch it closed, where `oid` began another one. */
export interface Before {
  readonly oid: Oid | undefined;
  readonly closed: ClosedEpoch | undefined;
}

/** What was before a ledger commit. Throws as parseLedgerCommit for a commit without parents that is none. */
export function commitBefore(format: ObjectFormat, oid: Oid, data: Buffer): Before {
  const [parent] = commitLinks(format, data).parents;
  if (parent !== undefined) return { oid: parent, closed: undefined };
  const closed = parseLedgerCommit(format, oid, data).parentEpoch;
  return { oid: closed?.ledger, closed };
}

/** How an earlier ledger commit stands to a later one. */
export type Line =
  | { readonly kind: "contains" }
  /** The history of the later one is another. */
  | { readonly kind: "foreign" }
  /** The history here ends at the start of an epoch: the one before it would tell. */
  | { readonly kind: "cut"; readonly closed: ClosedEpoch }
  /** A commit between the two is not here: the repository is shallow, or damaged. */
  | { readonly kind: "broken" };

/** Looks for `earlier` in the history of the ledger commit `tip`. Costs the commits between them. */
export function ledgerLine(objects: ObjectSource, tip: LedgerPosition, earlier: LedgerPosition): Line {
  let at: Before = { oid: tip.oid, closed: undefined };
  for (let steps = tip.seq - earlier.seq; steps > 0 && at.oid !== undefined; steps--) {
    const object = objects.read(at.oid);
    if (object?.kind !== "commit") {
      return at.closed === undefined ? { kind: "broken" } : { kind: "cut", closed: at.closed };
    }
    at = commitBefore(objects.format, at.oid, object.data);
  }
  return { kind: at.oid === earlier.oid ? "contains" : "foreign" };
}
