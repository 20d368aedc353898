/**
 * The part of an audit that concerns the refs beside ledger and kv-index: where epochs begin and end, which have pieces, and what is said to
 * be on the mirror. A history over several epochs is read by them (epochs.ts), so one that points elsewhere would show another past.
 */

import { KvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Ref } from "../gitwire/refs/ref-snapshot.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";
import { type ClosedEpoch, type LedgerPosition, ledgerLine } from "./ledger-line.ts";
import { archiveRef, classifyRef, epochRef, indexArchiveRef, type KvRef, trackingRoot } from "./namespace.ts";

/** The first commit of a later epoch, and what it follows. */
export interface EpochStart {
  readonly root: Oid;
  readonly closed: ClosedEpoch;
  /** The last kv-index commit of the closed epoch; undefined where that is not here. */
  readonly index: Oid | undefined;
}

/** A ledger that was walked back from its tip. */
export interface WalkedLedger {
  readonly ns: string;
  readonly tip: LedgerPosition;
  /** Label of the epoch the tip is in. */
  readonly epoch: string;
  /** The newest first. */
  readonly starts: readonly EpochStart[];
  /** Whether the walk came to the namespace's first transaction: of a part nobody can say what belongs to the rest. */
  readonly isWhole: boolean;
}

/** What the ref `name` is to git-kv, of this repository or tracked from `remote`. */
export function refRole(name: string, remote: string): KvRef | undefined {
  const root = trackingRoot(remote);
  return classifyRef(name.startsWith(root) ? `refs/${name.slice(root.length)}` : name);
}

/** Compares the refs of the ledger's namespace among `refs`, which were read before its tip, with what the walk came by. */
export function auditRefs(
  objects: ObjectSource,
  refs: readonly Ref[],
  remote: string,
  walked: WalkedLedger,
  found: (oid: Oid, error: KvError) => void,
): void {
  // Refs are called by an epoch's label, so that there is one of each.
  const labels = new Set([walked.epoch]);
  for (const { root, closed } of walked.starts) {
    if (labels.has(closed.label))
      found(root, new KvError("ATTESTATION_MISMATCH", `there are two epochs '${closed.label}'`));
    labels.add(closed.label);
  }
  for (const { name, oid } of refs) {
    const is = refRole(name, remote);
    if (is === undefined || !("ns" in is) || is.ns !== walked.ns) continue;
    const problem = problemOf(objects, walked, is, oid);
    if (problem !== undefined) found(oid, new KvError("ATTESTATION_MISMATCH", `${name} ${problem}`));
  }
}

/** Tells of the refs that a repository with everything must have and has not; `resolve` reads them as they are now. */
export function missingRefs(
  resolve: (ref: string) => Oid | undefined,
  { ns, starts }: WalkedLedger,
  found: (oid: Oid, error: KvError) => void,
): void {
  const demand = (ref: string, oid: Oid): void => {
    if (resolve(ref) === undefined) found(oid, new KvError("CORRUPT", `there is no ${ref}`));
  };
  const [newest] = starts;
  if (newest !== undefined) demand(epochRef(ns), newest.root);
  for (const { closed } of starts) {
    demand(archiveRef(ns, closed.label), closed.ledger);
    demand(indexArchiveRef(ns, closed.label), closed.ledger);
  }
}

/** What is wrong with a ref at `oid`, or undefined. */
function problemOf(objects: ObjectSource, walked: WalkedLedger, is: KvRef, oid: Oid): string | undefined {
  const { tip, epoch, starts, isWhole } = walked;
  switch (is.kind) {
    case "mirror": {
      const mark = ledgerCommit(objects, oid);
      if (mark === undefined) return "is no ledger commit";
      // A clone may learn of the watermark later than of the ledger.
      const [later, earlier] = mark.seq > tip.seq ? [mark, tip] : [tip, mark];
      return ledgerLine(objects, later, earlier).kind === "foreign" ? "is no commit of this ledger" : undefined;
    }
    case "epoch": {
      const label = ledgerCommit(objects, oid)?.epoch;
      if (label === undefined) return "is no ledger commit";
      // A clone may learn of the ref later than of the ledger: an earlier epoch's is no lie.
      const root = starts.find((_, at) => (at === 0 ? epoch : starts[at - 1]!.closed.label) === label)?.root;
      if (root === undefined && !isWhole) return undefined;
      return root === oid ? undefined : `is not the commit that an epoch of this ledger begins with`;
    }
    case "archive":
    case "index-archive": {
      const start = starts.find(({ closed }) => closed.label === is.epoch);
      if (start === undefined) return isWhole ? "is of an epoch that was never closed" : undefined;
      const last = is.kind === "archive" ? start.closed.ledger : start.index;
      return last === oid || last === undefined ? undefined : "is not the last commit of its epoch";
    }
    case "chunks": {
      const isKnown = is.epoch === epoch || starts.some(({ closed }) => closed.label === is.epoch);
      return isKnown || !isWhole ? undefined : "is of an epoch that never was";
    }
    default:
      return undefined;
  }
}

/** The ledger commit `oid`; undefined where there is none. */
export function ledgerCommit(objects: ObjectSource, oid: Oid): LedgerCommit | undefined {
  try {
    return parseLedgerCommit(objects.format, oid, readAs(objects, oid, "commit"));
  } catch (error) {
    if (error instanceof KvError) return undefined;
    throw error;
  }
}
