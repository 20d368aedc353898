/** The transactions of a ledger, newest first. */

import type { ObjectSource } from "../gitwire/object/object.ts";
import { readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";
import { type ChangedKey, changesBetween } from "./changes.ts";
import { type ClosedEpoch, commitBefore } from "./ledger-line.ts";
import { type NamespaceState, stateAt } from "./state.ts";

/** A transaction; `changes` where they were asked for. */
export interface LoggedTransaction {
  readonly ledger: LedgerCommit;
  readonly changes: readonly ChangedKey[] | undefined;
}

export interface LogOptions {
  /** Only transactions that change a key which begins with this (bytes). */
  readonly prefix: string | undefined;
  /** The keys of each transaction too. Costs the changes; so does a prefix. */
  readonly changes: boolean;
}

/**
 * The transactions behind `tip`, it first, down to the first one, or to where the history here ends. Undefined stands for one that the
 * prefix leaves out: whoever asks can stop, or let others run, between any two. Returns the epoch before, where that is not here.
 */
export function* logOf(
  objects: ObjectSource,
  tip: NamespaceState,
  { prefix, changes }: LogOptions,
): Generator<LoggedTransaction | undefined, ClosedEpoch | undefined> {
  let { ledger } = tip;
  for (;;) {
    const { oid: earlier, closed } = commitBefore(objects.format, ledger.oid, readAs(objects, ledger.oid, "commit"));
    const before = earlier !== undefined && objects.has(earlier) ? earlier : undefined;
    if (prefix === undefined && !changes) yield { ledger, changes: undefined };
    else {
      // Without the state before there is nothing to compare with; the first commit of an epoch drops keys and changes none.
      const isComparable = closed === undefined && (earlier === undefined || before !== undefined);
      const found = isComparable ? changesOf(objects, ledger, before, prefix) : [];
      yield prefix === undefined || found.length > 0 ? { ledger, changes: found } : undefined;
    }
    if (before === undefined) return closed;
    ledger = parseLedgerCommit(objects.format, before, readAs(objects, before, "commit"));
  }
}

/** The keys that the transaction `ledger` changed, of those that begin with `prefix`; `before` is the commit it was built on. */
function changesOf(
  objects: ObjectSource,
  ledger: LedgerCommit,
  before: Oid | undefined,
  prefix: string | undefined,
): ChangedKey[] {
  if (ledger.keysSet + ledger.keysDel === 0) return [];
  const base = before === undefined ? undefined : stateAt(objects, before);
  return changesBetween(objects, base, stateAt(objects, ledger.oid), prefix);
}
