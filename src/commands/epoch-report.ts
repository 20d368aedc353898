/** What `epoch new` and `compact` say of the epoch that has begun. */

import type { Context } from "../cli/context.ts";
import type { EpochTrees } from "../kv/epoch-trees.ts";
import type { BegunEpoch } from "../kv/new-epoch.ts";

/** Prints the ledger commit on stdout, what went and what stayed on stderr. */
export function reportEpoch({ out }: Context, { outcome, label, closed, trees }: BegunEpoch): void {
  const { ledger: oid, txn, seq, tree } = outcome;
  if (out.json) out.record({ oid, txn, seq, tree, epoch: label, closed, ...figures(trees) });
  else out.line(oid);
  out.note(`the epoch '${label}' follows '${closed.label}' with ${count(trees.live, "key")}: ${leftBehind(trees)}`);
}

/** What is left behind, as a sentence has it. */
export function leftBehind({ expired, tombstones }: EpochTrees): string {
  if (expired + tombstones === 0) return "nothing is left behind";
  return `${count(expired, "expired key")} and ${count(tombstones, "tombstone")} are left behind`;
}

/** Counts, as JSON has them. */
export function figures({ live, expired, tombstones, pieces, pieceBytes }: EpochTrees): object {
  return { live, expired, tombstones, pieces, pieceBytes };
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
