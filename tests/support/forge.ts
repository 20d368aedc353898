/** Transactions nobody honest would write: trees made by hand, under commits whose attestation holds. */

import { encodeCommit, type Ident } from "../../src/gitwire/object/commit.ts";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { encodeTree, MODE, parseTree, sortEntries, type TreeEntry } from "../../src/gitwire/object/tree.ts";
import { formatIndexTrailers, formatLedgerTrailers, type LedgerTrailers } from "../../src/kv/attestation.ts";
import { type NamespaceState, stateAt } from "../../src/kv/state.ts";
import type { MemoryObjects } from "./memory-objects.ts";

const WHO: Ident = { name: "Eve", email: "eve@example.com", seconds: 1_767_322_800, offset: 0 };

/** Paths of files with what they are. */
export type Files = Map<string, { mode: number; oid: Oid }>;

/** All files below `root` by path. */
export function filesOf(objects: MemoryObjects, root: Oid | undefined): Files {
  const files: Files = new Map();
  const walk = (oid: Oid, path: string): void => {
    for (const { name, mode, oid: child } of parseTree(objects.format, objects.read(oid)!.data)) {
      if (mode === MODE.tree) walk(child, `${path}${name}/`);
      else files.set(path + name, { mode, oid: child });
    }
  };
  if (root !== undefined) walk(root, "");
  return files;
}

/** The tree with these files, whatever they are. */
export function treeOf(objects: MemoryObjects, files: Files): Oid {
  const entries: TreeEntry[] = [];
  const below = new Map<string, Files>();
  for (const [path, { mode, oid }] of files) {
    const slash = path.indexOf("/");
    if (slash < 0) {
      entries.push({ mode, name: path, oid });
      continue;
    }
    const directory = path.slice(0, slash);
    const sub = below.get(directory) ?? new Map();
    sub.set(path.slice(slash + 1), { mode, oid });
    below.set(directory, sub);
  }
  for (const [name, sub] of below) entries.push({ mode: MODE.tree, name, oid: treeOf(objects, sub) });
  return objects.write("tree", encodeTree(objects.format, sortEntries(entries)));
}

/** What a forged transaction claims; the rest is as it should be. */
export interface Forgery extends Partial<LedgerTrailers> {
  readonly tree: Oid;
  readonly indexTree: Oid;
}

/** Commits `forgery` on top of `base` and returns the state it would be. */
export function forge(objects: MemoryObjects, base: NamespaceState | undefined, forgery: Forgery): NamespaceState {
  const { tree, ...claims } = forgery;
  const trailers: LedgerTrailers = {
    ns: base?.ns ?? "main",
    txn: "01JBAXF5Z8J8M7R2TK99999999",
    seq: (base?.ledger.seq ?? 0) + 1,
    baseTree: base?.ledger.tree,
    chunksTree: undefined,
    policy: undefined,
    epoch: "e1",
    keysSet: 1,
    keysDel: 0,
    ...claims,
  };
  const write = (root: Oid, parent: Oid | undefined, block: string): Oid =>
    objects.write(
      "commit",
      encodeCommit({
        tree: root,
        parents: parent === undefined ? [] : [parent],
        author: WHO,
        committer: WHO,
        message: `forged\n\n${block}`,
      }),
    );
  const ledger = write(tree, base?.ledger.oid, formatLedgerTrailers(trailers));
  const { ns, txn, seq } = trailers;
  const index = write(trailers.indexTree, base?.index, formatIndexTrailers({ ns, txn, seq, ledgerTree: tree }));
  return stateAt(objects, ledger, index);
}
