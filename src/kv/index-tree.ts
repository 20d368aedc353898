/**
 * The kv-index: a canonical radix tree over the bytes of keys (docs/formats/data-format.md, section 5).
 *
 * The tree is a function of the set S of keys ever set in the epoch. With P = the bytes a node's keys all begin with:
 *   - |S| <= 256: the node is a leaf, it holds the files of all its keys and nothing else;
 *   - otherwise it holds the file of the key P itself where P is in S, and one item for each byte that follows P: the key's file
 *     where one key only goes on with that byte, else a directory named by the label L = the longest run of bytes its keys share
 *     after P, cut to 64 bytes; it is the node of P+L.
 * Keys are never taken out within an epoch (a deletion leaves a tombstone), so nodes split and never fold, and a node is a
 * branch exactly when it holds a directory: 257 keys of valid UTF-8 cannot all differ in one byte.
 */

import { compare } from "../bytes.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import {
  countEntries,
  findEntry,
  hasSubtree,
  MODE,
  parseTree,
  TreeCursor,
  type TreeEntry,
} from "../gitwire/object/tree.ts";
import type { TreeEdit } from "../gitwire/pack/tree-edit.ts";
import { atOnce } from "../time-slice.ts";
import { IndexClaim } from "./index-claim.ts";
import { LABEL_BYTES, labelName, sharedLength } from "./index-file.ts";
import { findIndexFile, type IndexFile, type IndexState, LEAF_KEYS, labelOf, readKey, stateOf } from "./index-node.ts";
import type { Key } from "./key.ts";
import type { NodeWriter } from "./node-writer.ts";

const PERCENT = 0x25;

/** One key to look at and perhaps change. */
export interface IndexOp {
  readonly key: Key;
  /** What the key's file begins with (see {@link keyName}). */
  readonly name: string;
}

/** Decides a key's new file from what is there; undefined leaves it as it is. */
export type Resolve<T extends IndexOp> = (op: T, existing: IndexState | undefined) => IndexFile | undefined;

/**
 * Applies `ops`, sorted by key and distinct, to the tree `root`; returns the new root (the empty tree where there is no key).
 * `claimed` is what somebody says it is: a leaf of it that is the right one by its files is not made once more.
 */
export function updateIndex<T extends IndexOp>(
  writer: NodeWriter,
  root: Oid,
  ops: readonly T[],
  resolve: Resolve<T>,
  claimed?: Oid,
): Oid {
  return atOnce(updateIndexInSteps(writer, root, ops, resolve, claimed));
}

/** As {@link updateIndex}, yielding now and then so that others may run. */
export function* updateIndexInSteps<T extends IndexOp>(
  writer: NodeWriter,
  root: Oid,
  ops: readonly T[],
  resolve: Resolve<T>,
  claimed?: Oid,
): Generator<void, Oid> {
  if (ops.length === 0) return root;
  const claim = claimed === undefined ? undefined : new IndexClaim(writer, root, claimed, ops.length);
  return yield* new IndexUpdate(writer, resolve, claim).node("", root, ops, claimed);
}

/** A key and its file in the kv-index. */
export interface KeyFile extends IndexFile {
  readonly key: Key;
}

/** The kv-index of `files`, which are sorted by key and distinct, made from nothing. */
export function buildIndex(writer: NodeWriter, files: readonly KeyFile[]): Oid {
  return atOnce(buildIndexInSteps(writer, files));
}

/** As {@link buildIndex}, yielding now and then so that others may run. */
export function buildIndexInSteps(writer: NodeWriter, files: readonly KeyFile[]): Generator<void, Oid> {
  return new IndexUpdate(writer, () => undefined).build(files);
}

/** Keys between two yields where many are gone over in one place. */
const STEP = 64;

class IndexUpdate<T extends IndexOp> {
  readonly #writer: NodeWriter;
  readonly #resolve: Resolve<T>;
  readonly #claim: IndexClaim | undefined;
  /** Answers of the resolver that were needed before their turn. */
  readonly #asked = new Map<T, IndexFile | undefined>();

  constructor(writer: NodeWriter, resolve: Resolve<T>, claim?: IndexClaim) {
    this.#writer = writer;
    this.#resolve = resolve;
    this.#claim = claim;
  }

  build(files: readonly KeyFile[]): Generator<void, Oid> {
    return this.#buildRange(0, files, 0, files.length);
  }

  /** The node of `prefix`, now the tree `oid`, after `ops`; `claimed` is what it is said to be then. */
  *node(prefix: Key, oid: Oid, ops: readonly T[], claimed?: Oid): Generator<void, Oid> {
    yield;
    const isClaimed = claimed !== undefined && claimed !== oid;
    if (isClaimed && this.#isClaimedLeaf(oid, claimed, ops)) return claimed;
    const data = this.#writer.read(oid);
    return hasSubtree(this.#writer.format, data)
      ? yield* this.#branch(prefix, oid, data, ops, isClaimed ? this.#writer.readClaimed(claimed)?.data : undefined)
      : yield* this.#leaf(prefix, oid, data, ops);
  }

  #isClaimedLeaf(oid: Oid, claimed: Oid, ops: readonly T[]): boolean {
    const decide = (op: T, existing: IndexState | undefined): IndexFile | undefined => this.#decide(op, existing);
    return this.#claim?.isLeaf(oid, claimed, ops, decide, (op, after) => this.#asked.set(op, after)) === true;
  }

  *#leaf(prefix: Key, oid: Oid, data: Buffer, ops: readonly T[]): Generator<void, Oid> {
    const existing = ops.length > LEAF_KEYS ? undefined : this.#existing(data, ops);
    if (existing === undefined) {
      const merged = yield* this.#merge(this.#keyFiles(data), ops);
      return merged === undefined ? oid : yield* this.#buildRange(prefix.length, merged, 0, merged.length);
    }
    const edits: TreeEdit[] = [];
    for (const [i, op] of ops.entries()) this.#decideFile(op, existing[i], edits);
    return edits.length === 0 ? oid : this.#writer.write(this.#writer.edit(oid, data, edits));
  }

  /** What a leaf holds of each op's key; undefined where the leaf might overflow, or is empty and no base for a delta. */
  #existing(data: Buffer, ops: readonly T[]): (IndexState | undefined)[] | undefined {
    const existing = ops.map((op) => findIndexFile(this.#writer, data, op.name));
    const added = existing.filter((state) => state === undefined).length;
    const held = countEntries(this.#writer.format, data);
    return held === 0 || held + added > LEAF_KEYS ? undefined : existing;
  }

  #decideFile(op: T, existing: IndexState | undefined, edits: TreeEdit[]): void {
    const after = this.#decide(op, existing);
    if (after === undefined) return;
    if (existing !== undefined && existing.fileName !== after.fileName) {
      edits.push({ name: existing.fileName, mode: MODE.file, oid: undefined });
    }
    edits.push({ name: after.fileName, mode: MODE.file, oid: after.oid });
  }

  /** The resolver's answer. It is asked once for each op: it keeps a record of what it decided. */
  #decide(op: T, existing: IndexState | undefined): IndexFile | undefined {
    return this.#asked.has(op) ? this.#asked.get(op) : this.#resolve(op, existing);
  }

  *#branch(prefix: Key, oid: Oid, data: Buffer, ops: readonly T[], claim: Buffer | undefined): Generator<void, Oid> {
    const edits: TreeEdit[] = [];
    const groups = groupByNextByte(prefix, ops);
    const items = this.#items(prefix, data, new Set(groups.map(([first]) => first!.key.charCodeAt(prefix.length))));
    for (const group of groups) {
      const first = group[0]!;
      const item = items.get(first.key.charCodeAt(prefix.length));
      if (first.key === prefix) this.#decideFile(first, findIndexFile(this.#writer, data, first.name), edits);
      else if (item?.mode === MODE.tree) yield* this.#directory(prefix, item, group, edits, claim);
      else yield* this.#mergeItem(prefix, item, item === undefined ? [] : [this.#keyFile(item)], group, edits);
    }
    return edits.length === 0 ? oid : this.#writer.write(this.#writer.edit(oid, data, edits));
  }

  /** What a branch holds by the byte after its prefix, as far as that is `wanted`. */
  #items(prefix: Key, data: Buffer, wanted: ReadonlySet<number>): Map<number, TreeEntry> {
    const items = new Map<number, TreeEntry>();
    const cursor = new TreeCursor(this.#writer.format, data);
    while (cursor.next()) {
      // A label that does not begin with an escape begins with its first byte.
      const first = data[cursor.nameStart]!;
      if (cursor.isTree() && first !== PERCENT && !wanted.has(first)) continue;
      const entry = cursor.entry();
      if (entry.mode === MODE.tree) {
        items.set(labelOf(entry.name).charCodeAt(0), entry);
      } else {
        const key = readKey(this.#writer, entry);
        if (key !== prefix) items.set(key.charCodeAt(prefix.length), entry);
      }
    }
    return items;
  }

  /** Replaces the item that holds `files` by the one that holds them after `ops`. */
  *#mergeItem(
    prefix: Key,
    item: TreeEntry | undefined,
    files: readonly KeyFile[],
    ops: readonly T[],
    edits: TreeEdit[],
  ): Generator<void, void> {
    const merged = yield* this.#merge(files, ops);
    if (merged !== undefined) replaceItem(item, yield* this.#itemEntry(prefix.length, merged, 0, merged.length), edits);
  }

  /** Applies ops to the group of keys below the directory `item`; keys outside its label shorten the label. */
  *#directory(
    prefix: Key,
    item: TreeEntry,
    ops: readonly T[],
    edits: TreeEdit[],
    claim: Buffer | undefined,
  ): Generator<void, void> {
    const label = labelOf(item.name);
    const longest = prefix + label;
    // They are sorted, and what lies between two keys that begin so begins so too.
    const isInside = [ops[0]!, ops.at(-1)!].every((op) => op.key.startsWith(longest));
    const inside = isInside ? ops : ops.filter((op) => op.key.startsWith(longest));
    if (!isInside) {
      const data = this.#writer.read(item.oid);
      if (!hasSubtree(this.#writer.format, data)) {
        yield* this.#mergeItem(prefix, item, this.#keyFiles(data), ops, edits);
        return;
      }
      const added = ops.filter((op) => !op.key.startsWith(longest) && this.#adds(op));
      if (added.length > 0) {
        const lengths = [added[0]!, added.at(-1)!].map((op) => sharedLength(longest, op.key, prefix.length));
        const shared = Math.min(...lengths);
        const upper = prefix + label.slice(0, shared);
        const present = new Set(added);
        const lower = this.#relabel(label.slice(shared), item.oid);
        const oid = yield* this.node(
          upper,
          lower,
          ops.filter((op) => present.has(op) || op.key.startsWith(longest)),
        );
        replaceItem(item, { mode: MODE.tree, name: labelName(label.slice(0, shared)), oid }, edits);
        return;
      }
    }
    const claimed = claim && findEntry(this.#writer.format, claim, item.name);
    const oid = yield* this.node(longest, item.oid, inside, claimed?.mode === MODE.tree ? claimed.oid : undefined);
    if (oid !== item.oid) edits.push({ name: item.name, mode: MODE.tree, oid });
  }

  /** Whether an op whose key is not in the tree adds it: asked for the labels it meets below. */
  #adds(op: T): boolean {
    return this.#askEarly(op, undefined) !== undefined;
  }

  /** The resolver's answer before its turn, for which it is kept. */
  #askEarly(op: T, existing: IndexState | undefined): IndexFile | undefined {
    const after = this.#decide(op, existing);
    this.#asked.set(op, after);
    return after;
  }

  /** A branch that holds just the keys below `oid`, their labels cut anew: `rest` and whatever single directories follow it. */
  #relabel(rest: string, oid: Oid): Oid {
    let label = rest;
    let bottom = oid;
    for (;;) {
      const entries = parseTree(this.#writer.format, this.#writer.read(bottom));
      const [only] = entries;
      if (entries.length !== 1 || only!.mode !== MODE.tree) break;
      label += labelOf(only!.name);
      bottom = only!.oid;
    }
    return this.#chain(label, bottom);
  }

  /** A tree with one directory, labels of at most 64 bytes, down to `bottom`. */
  #chain(label: string, bottom: Oid): Oid {
    const start = Math.floor((label.length - 1) / LABEL_BYTES) * LABEL_BYTES;
    let oid = bottom;
    for (let at = start; at >= 0; at -= LABEL_BYTES) {
      const name = labelName(label.slice(at, at + LABEL_BYTES));
      oid = this.#writer.writeFresh(this.#writer.build([{ mode: MODE.tree, name, oid }]));
    }
    return oid;
  }

  /** Old files and ops in key order, or undefined where no op changes anything. */
  *#merge(files: readonly KeyFile[], ops: readonly T[]): Generator<void, KeyFile[] | undefined> {
    const merged: KeyFile[] = [];
    let changed = false;
    let next = 0;
    for (const op of ops) {
      if (merged.length % STEP === 0) yield;
      while (next < files.length && files[next]!.key < op.key) merged.push(files[next++]!);
      const file = next < files.length && files[next]!.key === op.key ? files[next++]! : undefined;
      const after = this.#decide(op, file === undefined ? undefined : { ...file, state: stateOf(file.fileName) });
      if (after !== undefined) merged.push({ key: op.key, fileName: after.fileName, oid: after.oid });
      else if (file !== undefined) merged.push(file);
      changed ||= after !== undefined;
    }
    while (next < files.length) merged.push(files[next++]!);
    return changed ? merged : undefined;
  }

  /** The node whose prefix is `depth` bytes long over files[from..to), sorted by key, from nothing. */
  *#buildRange(depth: number, files: readonly KeyFile[], from: number, to: number): Generator<void, Oid> {
    yield;
    const entries: TreeEntry[] = [];
    if (to - from <= LEAF_KEYS) {
      for (let i = from; i < to; i++) entries.push(fileEntry(files[i]!));
      return this.#writer.write(this.#writer.build(entries));
    }
    let at = from;
    if (files[at]!.key.length === depth) entries.push(fileEntry(files[at++]!));
    while (at < to) {
      const end = groupEnd(files, at, to, depth);
      entries.push(yield* this.#itemEntry(depth, files, at, end));
      at = end;
    }
    return this.#writer.write(this.#writer.build(entries));
  }

  *#itemEntry(depth: number, files: readonly KeyFile[], from: number, to: number): Generator<void, TreeEntry> {
    if (to - from === 1) return fileEntry(files[from]!);
    const first = files[from]!.key;
    const length = Math.min(sharedLength(first, files[to - 1]!.key, depth), LABEL_BYTES);
    const oid = yield* this.#buildRange(depth + length, files, from, to);
    return { mode: MODE.tree, name: labelName(first.slice(depth, depth + length)), oid };
  }

  /** The files of a leaf in key order. */
  #keyFiles(data: Buffer): KeyFile[] {
    const files = parseTree(this.#writer.format, data).map((entry) => this.#keyFile(entry));
    return files.sort((a, b) => compare(a.key, b.key));
  }

  #keyFile(entry: TreeEntry): KeyFile {
    return { key: readKey(this.#writer, entry), fileName: entry.name, oid: entry.oid };
  }
}

function replaceItem(before: TreeEntry | undefined, after: TreeEntry, edits: TreeEdit[]): void {
  if (before !== undefined && (before.name !== after.name || before.mode !== after.mode)) {
    edits.push({ name: before.name, mode: before.mode, oid: undefined });
  }
  edits.push(after);
}

const fileEntry = (file: KeyFile): TreeEntry => ({ mode: MODE.file, name: file.fileName, oid: file.oid });

function groupByNextByte<T extends IndexOp>(prefix: Key, ops: readonly T[]): T[][] {
  const groups: T[][] = [];
  let from = 0;
  while (from < ops.length) {
    const to = groupEnd(ops, from, ops.length, prefix.length);
    groups.push(ops.slice(from, to));
    from = to;
  }
  return groups;
}

/** End of the run of sorted items that share the byte at `depth` with the one at `from`. */
function groupEnd(items: readonly { readonly key: Key }[], from: number, to: number, depth: number): number {
  const byte = items[from]!.key.charCodeAt(depth);
  let low = from + 1;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (items[middle]!.key.charCodeAt(depth) === byte) low = middle + 1;
    else high = middle;
  }
  return low;
}
