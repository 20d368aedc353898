/** Watching and waiting for a remote that is read without a clone: its ledger's commits first, then what they changed. */

import { KvError } from "../errors.ts";
import { readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { MODE, parseTree, type TreeEntry } from "../gitwire/object/tree.ts";
import type { ObjectStore } from "../gitwire/store/object-store.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";
import { type ChangedKey, changesBetween } from "./changes.ts";
import { remoteState } from "./copy-state.ts";
import type { LedgerCursor } from "./ledger-cursor.ts";
import type { RemoteCopy, Want } from "./remote-copy.ts";
import { ledgerContains, type NamespaceState, stateAt } from "./state.ts";
import type { Workspace } from "./workspace.ts";

/** Transactions whose changes are brought together. */
const TOGETHER = 256;

/** A transaction and what it changed. */
export interface CopiedChanges {
  readonly after: NamespaceState;
  readonly changes: readonly ChangedKey[];
}

/**
 * What changed from the cursor to `tip`, transaction by transaction, of keys that begin with `prefix`; the cursor is behind each one when the
 * next is asked for, and stays there where something cannot be brought.
 */
export async function* changesTo(
  copy: RemoteCopy,
  cursor: LedgerCursor,
  tip: NamespaceState,
  prefix: string,
): AsyncGenerator<CopiedChanges> {
  const { objects } = copy.repo;
  const count = tip.ledger.seq - cursor.seq;
  if (count < 0) return;
  const commits = await commitsBehind(copy, tip.ledger.oid, count + 1);
  await copy.gather(commits.map((oid) => () => stateAt(objects, oid)));
  const steps = [...cursor.copy().to(tip)];
  for (let from = 0; from < steps.length; from += TOGETHER) {
    const part = steps.slice(from, from + TOGETHER);
    const base = part[0]!.before?.ledger.oid;
    if (base !== undefined) await copy.bringChanges(part.at(-1)!.after.ledger.oid, base);
    const find =
      ({ before, after }: (typeof part)[number]) =>
      (): ChangedKey[] => {
        const { keysSet, keysDel } = after.ledger;
        // The first commit of a namespace and that of an epoch change no key.
        return keysSet + keysDel === 0 ? [] : changesBetween(objects, before, after, prefix);
      };
    for (;;) {
      const gap = part.flatMap(({ before, after }) => missingBetween(objects, before?.meta, after.meta));
      if (gap.length === 0) break;
      await copy.bring(gap);
    }
    for (const step of part) {
      yield { after: step.after, changes: await copy.through(find(step)) };
      cursor.pass(step.after.ledger);
    }
  }
}

/** Brings the newest `count` commits of the ledger, across the starts of epochs, as far as there are so many. */
async function commitsBehind(copy: RemoteCopy, tip: Oid, count: number): Promise<Oid[]> {
  const { objects } = copy.repo;
  const found: Oid[] = [];
  for (let at: Oid | undefined = tip; at !== undefined && found.length < count; ) {
    await copy.bringHistory(at, count - found.length);
    let earlier: Oid | undefined;
    while (at !== undefined && found.length < count) {
      found.push(at);
      const commit: LedgerCommit = parseLedgerCommit(objects.format, at, readAs(objects, at, "commit"));
      at = commit.parent;
      earlier = commit.parentEpoch?.ledger;
    }
    at = earlier;
  }
  return found;
}

/**
 * What a comparison of two tries of metadata needs and is not here, level by level: trees that differ and have no equal in the other
 * trie's same place, and the records in them.
 */
function missingBetween(objects: ObjectStore, before: Oid | undefined, after: Oid | undefined): Want[] {
  if (before === after) return [];
  const trees = [before, after].filter((oid) => oid !== undefined);
  const absent = trees.filter((oid) => !objects.has(oid));
  if (absent.length > 0) return absent.map((oid) => ({ oid, expected: "tree" }));
  const [old, now] = [before, after].map((oid) => entriesOf(objects, oid)) as [Entries, Entries];
  const found: Want[] = [];
  for (const name of new Set([...old.keys(), ...now.keys()])) {
    const [a, b] = [old.get(name), now.get(name)];
    if (a?.oid === b?.oid) continue;
    if (a?.mode === MODE.tree || b?.mode === MODE.tree) found.push(...missingBetween(objects, a?.oid, b?.oid));
    else if (!objects.has((b ?? a)!.oid)) found.push({ oid: (b ?? a)!.oid, expected: "blob" });
  }
  return found;
}

type Entries = ReadonlyMap<string, TreeEntry>;

function entriesOf(objects: ObjectStore, oid: Oid | undefined): Entries {
  const entries = oid === undefined ? [] : parseTree(objects.format, readAs(objects, oid, "tree"));
  return new Map(entries.map((entry) => [entry.name, entry]));
}

/** The state at the ledger commit `oid`. Throws INPUT_INVALID where the remote has no such commit. */
export async function stateOf(copy: RemoteCopy, oid: Oid, what: string): Promise<NamespaceState> {
  try {
    return await copy.through(() => stateAt(copy.repo.objects, oid));
  } catch (error) {
    if (!(error instanceof KvError) || error.code !== "REMOTE_REJECTED") throw error;
    throw new KvError("INPUT_INVALID", `${what}: there is no commit ${oid} at ${copy.shown}`, { cause: error });
  }
}

/** Whether the ledger that ends with `tip` contains the commit `oid`. */
export async function ledgerHolds(workspace: Workspace, copy: RemoteCopy, tip: Oid, oid: Oid): Promise<boolean> {
  // Which shows what the host can do as well.
  await remoteState(workspace, copy);
  if (!copy.isSelective) {
    await copy.bringHistory(tip, 1);
    if (!copy.repo.objects.has(oid)) return false;
  }
  try {
    const [newest, wanted] = [await stateOf(copy, tip, "tip"), await stateOf(copy, oid, "--oid")];
    const steps = newest.ledger.seq - wanted.ledger.seq;
    if (steps < 0 || newest.ns !== wanted.ns) return false;
    await copy.bringHistory(tip, steps + 1);
    return ledgerContains(copy.repo.objects, newest.ledger, wanted.ledger);
  } catch (error) {
    // It is not there yet.
    if (error instanceof KvError && error.code === "INPUT_INVALID") return false;
    throw error;
  }
}
