/**
 * Whether a leaf of the kv-index that somebody made is the one that operations make of the leaf before. Comparing two leaves costs a third
 * of making the newer one and its id. It never says yes where the writer's code (index-tree.ts) would make another tree; where it says
 * no, that code has the word.
 *
 * Where there are many operations the leaves are compared ahead, some thousands of keys at a time, so that what these keys had before is
 * read in the order in which it lies in the packs.
 */

import { KvError } from "../errors.ts";
import type { GitObject } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { MODE, type TreeCursor } from "../gitwire/object/tree.ts";
import { compareTrees } from "../gitwire/object/tree-difference.ts";
import { parseIndexFileName } from "./index-file.ts";
import { findIndexFile, type IndexFile, type IndexState, LEAF_KEYS } from "./index-node.ts";
import type { NodeWriter } from "./node-writer.ts";

/** Operations from which on looking ahead pays. */
const MANY = 64;
/** Records that are read at once. */
const AT_ONCE = 4_096;

/** What became of a key's file. */
interface FileChange {
  was: KnownState | undefined;
  is: IndexFile | undefined;
}

/** What a key had before, with its record where that has been read. */
interface KnownState extends IndexState {
  record?: Buffer | undefined;
}

/** The changed files of a leaf, by the names of the keys. */
type LeafChanges = ReadonlyMap<string, FileChange>;

/** Two nodes in one place: the tree before, and the claimed one. */
type Pair = readonly [before: Oid, claimed: Oid];

type Nodes = Pick<NodeWriter, "format" | "read" | "readOnce" | "readClaimed" | "readMany">;

/** A kv-index that somebody claims to be what operations make of the one before. */
export class IndexClaim {
  readonly #nodes: Nodes;
  /** Leaves that were compared ahead, by their claimed ids. */
  readonly #ahead = new Map<Oid, { readonly before: Oid; readonly changes: LeafChanges }>();
  readonly #walk: Generator<LeafChanges> | undefined;
  /** Leaves that may still be looked at ahead: each that is right has an operation. */
  #left: number;

  /** The tree `root` before `operations` of them, and what is claimed of it. */
  constructor(nodes: Nodes, root: Oid, claimed: Oid, operations: number) {
    this.#nodes = nodes;
    this.#left = operations;
    if (operations >= MANY) this.#walk = this.#leaves([root, claimed]);
  }

  /**
   * Whether the tree `before` is a leaf and `claimed`, in its place, what `ops` make of it. `decide` is asked once for each of them, in
   * their order, until it shows that it is not: `answered` is told then what it said.
   */
  isLeaf<T extends { readonly name: string }>(
    before: Oid,
    claimed: Oid,
    ops: readonly T[],
    decide: (op: T, existing: IndexState | undefined) => IndexFile | undefined,
    answered: (op: T, after: IndexFile | undefined) => void,
  ): boolean {
    const changes = this.#changes(before, claimed);
    if (changes === undefined) return false;
    const answers: (IndexFile | undefined)[] = [];
    if (this.#fits(changes, before, ops, (...of) => answers[answers.push(decide(...of)) - 1])) return true;
    for (const [i, after] of answers.entries()) answered(ops[i]!, after);
    return false;
  }

  #fits<T extends { readonly name: string }>(
    changes: LeafChanges,
    before: Oid,
    ops: readonly T[],
    decide: (op: T, existing: IndexState | undefined) => IndexFile | undefined,
  ): boolean {
    let left = changes.size;
    let leaf: Buffer | undefined;
    for (const op of ops) {
      const change = changes.get(op.name);
      let existing: IndexState | undefined = change?.was;
      if (existing === undefined) {
        leaf ??= this.#nodes.readOnce(before);
        existing = findIndexFile(this.#nodes, leaf, op.name);
      }
      const after = decide(op, existing);
      if (after?.fileName !== change?.is?.fileName || after?.oid !== change?.is?.oid) return false;
      if (change === undefined) continue;
      // A file that went for nothing, or did not go and has a newer one beside it.
      if (after === undefined || change.was !== existing) return false;
      left--;
    }
    return left === 0;
  }

  #changes(before: Oid, claimed: Oid): LeafChanges | undefined {
    if (!this.#ahead.has(claimed)) this.#lookAhead();
    const known = this.#ahead.get(claimed);
    this.#ahead.delete(claimed);
    if (known?.before === before) return known.changes;
    const claim = this.#nodes.readClaimed(claimed);
    return claim && compareNodes(this.#nodes, before, claim)?.files;
  }

  /** Compares the next leaves, and reads what their keys had. */
  #lookAhead(): void {
    const states: KnownState[] = [];
    let keys = 0;
    while (this.#left > 0 && keys < AT_ONCE) {
      const changes = this.#walk?.next().value;
      if (changes === undefined) break;
      this.#left--;
      keys += changes.size;
      for (const { was } of changes.values()) if (was !== undefined) states.push(was);
    }
    if (states.length < MANY) return;
    const records = this.#nodes.readMany(states.map(({ oid }) => oid));
    for (const [i, record] of records.entries()) if (record?.kind === "blob") states[i]!.record = record.data;
  }

  /** The leaves in the place of a leaf, in the order of the tree. */
  *#leaves([before, claimed]: Pair): Generator<LeafChanges, undefined> {
    const claim = this.#nodes.readClaimed(claimed);
    const compared = claim && compareNodes(this.#nodes, before, claim);
    for (const pair of compared?.nodes ?? []) yield* this.#leaves(pair);
    if (compared?.files === undefined) return;
    this.#ahead.set(claimed, { before, changes: compared.files });
    yield compared.files;
  }
}

/** Two nodes side by side. */
interface ComparedNodes {
  /** The files that differ, where both are leaves and no more than one of a key went and came. */
  readonly files: LeafChanges | undefined;
  /** The directories that differ. */
  readonly nodes: readonly Pair[];
}

/** Undefined where one of them is no tree. */
function compareNodes(nodes: Nodes, before: Oid, { data, change }: GitObject): ComparedNodes | undefined {
  const changes = new Map<string, FileChange>();
  const pairs: Pair[] = [];
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
    const compared = compareTrees(nodes.format, known?.before ?? nodes.read(before), known?.after ?? data, {
      added: (entry, old) => {
        if (old !== undefined && entry.isTree() && old.isTree()) pairs.push([old.oid(), entry.oid()]);
        note(entry, "is");
      },
      removed: (entry) => note(entry, "was"),
    });
    const { entries, inOrder, hasTree } = known?.compared ?? compared;
    const isRight = isLeaf && inOrder && !hasTree && entries <= LEAF_KEYS;
    return { files: isRight ? changes : undefined, nodes: pairs };
  } catch (error) {
    if (error instanceof KvError && error.code === "BAD_OBJECT") return undefined;
    throw error;
  }
}
