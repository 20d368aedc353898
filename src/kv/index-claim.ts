/**
 * Whether a leaf of the kv-index that somebody made is the one that operations make of the leaf before. Comparing two leaves costs a third
 * of making the newer one and its id. It never says yes where the writer's code (index-tree.ts) would make another tree; where it says
 * no, that code has the word.
 */

import { KvError } from "../errors.ts";
import type { GitObject } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { MODE, type TreeCursor } from "../gitwire/object/tree.ts";
import { compareTrees } from "../gitwire/object/tree-difference.ts";
import { parseIndexFileName } from "./index-file.ts";
import { findIndexFile, type IndexFile, type IndexState, LEAF_KEYS } from "./index-node.ts";
import type { NodeWriter } from "./node-writer.ts";

/** What became of a key's file. */
interface FileChange {
  was: IndexState | undefined;
  is: IndexFile | undefined;
}

/**
 * Whether the tree `before` is a leaf and `claimed` what `ops` make of it. `decide` is asked once for each of them, in their order, until
 * it shows that it is not.
 */
export function isClaimedLeaf<T extends { readonly name: string }>(
  nodes: Pick<NodeWriter, "format" | "read">,
  before: Oid,
  claimed: GitObject,
  ops: readonly T[],
  decide: (op: T, existing: IndexState | undefined) => IndexFile | undefined,
): boolean {
  const changes = changesOf(nodes, before, claimed);
  if (changes === undefined) return false;
  let left = changes.size;
  for (const op of ops) {
    const change = changes.get(op.name);
    const existing = change?.was ?? findIndexFile(nodes, nodes.read(before), op.name);
    const after = decide(op, existing);
    if (after?.fileName !== change?.is?.fileName || after?.oid !== change?.is?.oid) return false;
    if (change === undefined) continue;
    // A file that went for nothing, or did not go and has a newer one beside it.
    if (after === undefined || change.was !== existing) return false;
    left--;
  }
  return left === 0;
}

/** What changed, by the names of the keys; undefined where one of both is no leaf, or more than a file changed of one key. */
function changesOf(
  nodes: Pick<NodeWriter, "format" | "read">,
  before: Oid,
  { data, change }: GitObject,
): Map<string, FileChange> | undefined {
  const changes = new Map<string, FileChange>();
  let isLeaf = true;
  const note = (entry: TreeCursor, side: "was" | "is"): void => {
    const fileName = entry.name();
    const parsed = entry.mode === MODE.file ? parseIndexFileName(fileName) : undefined;
    if (parsed === undefined) {
      isLeaf = false;
      return;
    }
    const change = changes.get(parsed.name) ?? { was: undefined, is: undefined };
    changes.set(parsed.name, change);
    if (change[side] !== undefined) isLeaf = false;
    change[side] = { fileName, oid: entry.oid(), state: parsed.state };
  };
  try {
    const known = change?.base === before ? change : undefined;
    if (known?.compared.hasTree === true) return undefined;
    const compared = compareTrees(nodes.format, known?.before ?? nodes.read(before), known?.after ?? data, {
      added: (entry) => note(entry, "is"),
      removed: (entry) => note(entry, "was"),
    });
    const { entries, inOrder, hasTree } = known?.compared ?? compared;
    return isLeaf && inOrder && !hasTree && entries <= LEAF_KEYS ? changes : undefined;
  } catch (error) {
    if (error instanceof KvError && error.code === "BAD_OBJECT") return undefined;
    throw error;
  }
}
