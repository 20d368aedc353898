/** The table of changed keys of a ledger ({@link ChangeTable}): where it is, and who brings it up to the newest transaction (docs/design/257). */

import * as fs from "node:fs";
import * as path from "node:path";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { Repository } from "../gitwire/repo.ts";
import type { BringUp } from "./change-rows.ts";
import { ChangeTable } from "./change-table.ts";
import { type LedgerLookup, lookupIn } from "./ledger-lookup.ts";
import type { Workspace } from "./workspace.ts";

/** Transactions that are compared for whoever looks back: some thirty milliseconds. */
const NEAR = 64;

/** Where a repository keeps the table of the namespace `ns`. */
export function changesFile(repo: Repository, ns: string): string {
  return path.join(repo.commonDir, "kv", `changes-${ns}`);
}

/** The table in `file` of the ledger that `lookup` looks up. */
export function openChanges(file: string, { format }: ObjectSource, lookup: LedgerLookup): ChangeTable {
  const table = new ChangeTable(file, format, (seq) => lookup.oidAt(seq));
  table.dropForeign();
  return table;
}

/** The table of the ledger of a workspace's namespace, brought up to the newest transaction where that is {@link NEAR}. */
export async function changesIn({ repo, ns, around }: Workspace, lookup: LedgerLookup): Promise<ChangeTable> {
  const file = changesFile(repo, ns);
  const table = openChanges(file, repo.objects, lookup);
  const missing = lookup.last - table.last;
  const isNear = missing > 0 && (missing <= NEAR || table.count === 0);
  if (isNear && mayAdd(table, file, lookup)) await add(table, repo.objects, lookup, { most: NEAR, ...around });
  return table;
}

/**
 * Whether rows that are compared now will be there the next time. A reader whose ledger ends before the table does leaves it alone: it may
 * lag behind others, and theirs would be lost.
 */
function mayAdd(table: ChangeTable, file: string, lookup: LedgerLookup): boolean {
  if (table.written > lookup.last) return false;
  try {
    fs.accessSync(fs.existsSync(file) ? file : path.dirname(file), fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Transactions that are compared where a fetch brought them. */
const FETCHED = 4_096;

/**
 * What a fetch does for a table that is there: where so many came that nobody who looks back would compare them all, it is brought up.
 */
export function followChanges(workspace: Workspace): Promise<void> {
  const file = changesFile(workspace.repo, workspace.ns);
  if (!fs.existsSync(file)) return Promise.resolve();
  return withTable(workspace, async (table, lookup) => {
    if (lookup.last - table.last < NEAR / 2 || !mayAdd(table, file, lookup)) return;
    await add(table, workspace.repo.objects, lookup, { most: FETCHED, ...workspace.around });
  });
}

/** Makes the table one of all transactions that are here: 0.2 ms for each, once. */
export function completeChanges(workspace: Workspace): Promise<void> {
  return withTable(workspace, async (table, lookup) => {
    const { firstCompared } = await import("./change-rows.ts");
    if (table.count > 0 && table.first > firstCompared(lookup)) table.remove();
    await add(table, workspace.repo.objects, lookup, { most: Number.POSITIVE_INFINITY, ...workspace.around });
  });
}

async function withTable(
  workspace: Workspace,
  use: (table: ChangeTable, lookup: LedgerLookup) => Promise<void>,
): Promise<void> {
  const { repo, ns } = workspace;
  const tip = workspace.state();
  if (tip === undefined) return;
  const lookup = await lookupIn(workspace, tip);
  const table = openChanges(changesFile(repo, ns), repo.objects, lookup);
  try {
    await use(table, lookup);
  } finally {
    table.close();
    lookup.close();
  }
}

/** Loaded when it is needed: mostly nothing is to be added. */
async function add(table: ChangeTable, objects: ObjectSource, lookup: LedgerLookup, range: BringUp): Promise<void> {
  const { bringUp } = await import("./change-rows.ts");
  await bringUp(table, objects, lookup, range);
}
