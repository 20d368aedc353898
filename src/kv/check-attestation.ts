/**
 * The attestation check (docs/formats/data-format.md, section 7): do the commits of a transaction say what they are built on
 * and what they hold? It reads two or three commits and compares ids, so it costs the same whatever the store holds and whatever the
 * transaction changes.
 */

import { type Code, KvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import {
  type ChunkCommit,
  type IndexCommit,
  type LedgerCommit,
  parseChunkCommit,
  parseIndexCommit,
  parseLedgerCommit,
} from "./attestation.ts";
import { parseEpoch } from "./namespace.ts";
import type { NamespaceState } from "./state.ts";

/** What is claimed, and what it is checked against. */
export interface Claim {
  readonly ns: string;
  /** The current state; undefined where the namespace does not exist yet. */
  readonly base: NamespaceState | undefined;
  /** The new ledger and kv-index commits. */
  readonly ledger: Oid;
  readonly index: Oid;
  /** The ledger commit, where it has been read. */
  readonly commit?: LedgerCommit;
  /** The commit at refs/kv-policy; undefined where there is no policy. */
  readonly policy: Oid | undefined;
  /** The new chunk commit, and the one before it; undefined where the transaction makes none. "unseen": nobody here can tell. */
  readonly chunks?: { readonly commit: Oid; readonly tip: Oid | undefined } | "unseen" | undefined;
}

/** The commits of a transaction whose attestation holds. */
export interface Attested {
  readonly ledger: LedgerCommit;
  readonly index: IndexCommit;
  readonly chunks: ChunkCommit | undefined;
}

/**
 * Checks a claim. Throws NOT_LINEAR, NOT_FAST_FORWARD, ATTESTATION_MISSING, ATTESTATION_MISMATCH or POLICY_STALE with what
 * does not agree.
 */
export function checkAttestation(objects: ObjectSource, claim: Claim): Attested {
  const { base, ns } = claim;
  const ledger =
    claim.commit ?? parseLedgerCommit(objects.format, claim.ledger, readAs(objects, claim.ledger, "commit"));
  const index = parseIndexCommit(objects.format, claim.index, readAs(objects, claim.index, "commit"));
  demand("NOT_FAST_FORWARD", ledger.parent === base?.ledger.oid, "the ledger commit does not follow the current tip");
  demand("NOT_FAST_FORWARD", index.parent === base?.index, "the kv-index commit does not follow the current tip");
  agreeOnCommits({ ns, before: base?.ledger }, ledger, index);
  const chunks = checkChunkCommit(objects, claim, ledger);
  if (base === undefined) checkEpochLabel(ledger.epoch);
  else agree("Epoch", ledger.epoch, base.ledger.epoch);
  demand(
    "ATTESTATION_MISMATCH",
    ledger.parentEpoch === undefined,
    "Parent-Epoch belongs to the first commit of a later epoch only",
  );
  agreeOnPolicy(ledger, claim.policy);
  return { ledger, index, chunks };
}

/** The part of the state before that a transaction repeats. */
interface Before {
  readonly seq: number;
  readonly tree: Oid | undefined;
}

/** What ledger and kv-index commit say of each other and of what was before; undefined: nothing was. */
export function agreeOnCommits(
  { ns, before }: { readonly ns: string; readonly before: Before | undefined },
  ledger: LedgerCommit,
  index: IndexCommit,
): void {
  agree("KV-NS", ledger.ns, ns);
  agree("KV-Seq", ledger.seq, (before?.seq ?? 0) + 1);
  agree("Base-Tree", ledger.baseTree, before?.tree);
  agree("KV-NS of the kv-index", index.ns, ns);
  agree("KV-Txn of the kv-index", index.txn, ledger.txn);
  agree("KV-Seq of the kv-index", index.seq, ledger.seq);
  agree("KV-Index-Tree", ledger.indexTree, index.tree);
  agree("KV-Ledger-Tree", index.ledgerTree, ledger.tree);
}

/** Throws POLICY_STALE where the transaction was made under another policy than the one in force. */
export function agreeOnPolicy({ policy }: LedgerCommit, inForce: Oid | undefined): void {
  if (policy === inForce) return;
  throw new KvError(
    "POLICY_STALE",
    `the transaction was made under policy ${policy ?? "-"}, in force is ${inForce ?? "-"}`,
    {
      hint: "fetch, then write again",
    },
  );
}

function checkChunkCommit(objects: ObjectSource, { ns, chunks }: Claim, ledger: LedgerCommit): ChunkCommit | undefined {
  if (chunks === "unseen") return undefined;
  if (chunks === undefined) {
    agree("KV-Chunks-Tree", ledger.chunksTree, undefined);
    return undefined;
  }
  const { commit: oid, tip } = chunks;
  const commit = parseChunkCommit(objects.format, oid, readAs(objects, oid, "commit"));
  demand("NOT_FAST_FORWARD", commit.parent === tip, "the chunk commit does not follow the current tip");
  agree("KV-NS of the chunk commit", commit.ns, ns);
  agree("KV-Txn of the chunk commit", commit.txn, ledger.txn);
  agree("Epoch of the chunk commit", commit.epoch, ledger.epoch);
  agree("KV-Chunks-Tree", ledger.chunksTree, commit.tree);
  return commit;
}

/** Throws ATTESTATION_MISMATCH where no epoch can be called that. */
export function checkEpochLabel(label: string): void {
  try {
    parseEpoch(label);
  } catch (cause) {
    throw new KvError("ATTESTATION_MISMATCH", `Epoch is '${label}', which is no epoch label`, { cause });
  }
}

/** Throws where something does not hold. */
export function demand(code: Code, holds: boolean, message: string): void {
  if (!holds) throw new KvError(code, message);
}

/** Throws ATTESTATION_MISMATCH where what a commit says is not so. */
export function agree(what: string, says: string | number | undefined, is: string | number | undefined): void {
  if (says !== is) throw new KvError("ATTESTATION_MISMATCH", `${what} says ${says ?? "-"}, not ${is ?? "-"}`);
}
