/** The keys in which two states of a ledger differ: by the table of changed keys where it tells, else by comparing their trees. */

import type { ChangeTable } from "./change-table.ts";
import { changesIn } from "./key-changes.ts";
import { lookupIn } from "./ledger-lookup.ts";
import type { NamespaceState } from "./state.ts";
import { diffStates, type KeyDifference, type RecordChange, readDifferences } from "./state-diff.ts";
import type { Workspace } from "./workspace.ts";

/** Rows that are read at most: from some size on a comparison of trees, which meets each key once, takes less. */
const MOST_ROWS = 10_000;

/** As {@link diffStates}, for two states of the ledger that ends with `tip`. */
export async function differences(
  workspace: Workspace,
  tip: NamespaceState,
  [before, after]: readonly [NamespaceState, NamespaceState],
  prefix: string,
): Promise<KeyDifference[]> {
  const { repo, around, copy } = workspace;
  if (copy === undefined && before.ledger.oid !== after.ledger.oid) {
    const changed = await changedRecords(workspace, tip, before, after);
    if (changed !== undefined) return readDifferences(repo.objects, changed, prefix);
  }
  return diffStates(repo.objects, before, after, prefix, around);
}

async function changedRecords(
  workspace: Workspace,
  tip: NamespaceState,
  before: NamespaceState,
  after: NamespaceState,
): Promise<RecordChange[] | undefined> {
  const lookup = await lookupIn(workspace, tip);
  const changes = await changesIn(workspace, lookup);
  try {
    return recordsBetween(changes, before.ledger.seq, after.ledger.seq);
  } finally {
    changes.close();
    lookup.close();
  }
}

/**
 * What the transactions between two of a ledger changed, taken together; undefined where the table does not tell. `from` may be the
 * later one.
 */
export function recordsBetween(
  changes: Pick<ChangeTable, "between">,
  from: number,
  to: number,
): RecordChange[] | undefined {
  const rows = changes.between(Math.min(from, to), Math.max(from, to), MOST_ROWS);
  if (rows === undefined) return undefined;
  const found = new Map<string, RecordChange>();
  for (const { key, old, now } of rows) {
    const earlier = found.get(key);
    // Two keys whose hashes begin alike, or rows that do not follow each other.
    if (earlier !== undefined && earlier.after !== old) return undefined;
    found.set(key, { before: earlier === undefined ? old : earlier.before, after: now });
  }
  const differing = [...found.values()].filter(({ before, after }) => before !== after);
  return from <= to ? differing : differing.map(({ before, after }) => ({ before: after, after: before }));
}
