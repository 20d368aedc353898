/**
 * Two trees side by side: which entries are new or changed, and which are gone (git: tree-diff.c). Equal stretches are
 * skipped without a look at the old tree's entries; 256 entries of which one changed take about 20 microseconds.
 */

import { compareRuns } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import type { ObjectFormat } from "./oid.ts";
import { TreeCursor } from "./tree.ts";

/** The cursors are the same objects in every call: what is to be kept of an entry is taken out at once. */
export interface TreeDifference {
  /** An entry of the new tree that the old one has not got. `old`: its entry of the same name and sort, where it has one. */
  added(entry: TreeCursor, old: TreeCursor | undefined): void;
  /** An entry of the old tree that the new one has not got. */
  removed(entry: TreeCursor): void;
}

/** What a comparison says of the newer tree. */
export interface ComparedTree {
  readonly entries: number;
  /** Whether its entries are in git's order and no two of one name and sort, where those of the older tree are. */
  readonly inOrder: boolean;
  /** Whether this tree or the older one has a subtree. */
  readonly hasTree: boolean;
}

/**
 * Two trees reduced to the entries that differ: comparing what is left of them tells what comparing them tells. Both are in git's
 * order.
 */
export interface ReducedTrees {
  readonly before: Buffer;
  readonly after: Buffer;
  /** Of the newer tree as it was. */
  readonly compared: ComparedTree;
}

/** Trees of which more than this share differs are as quickly compared whole. */
const MOST_REDUCED = 1 / 4;

/** The trees `before` and `after`, reduced; undefined where that is not worth it, or one of them is malformed or out of order. */
export function reduceTrees(format: ObjectFormat, before: Buffer, after: Buffer): ReducedTrees | undefined {
  const gone: number[] = [];
  const came: number[] = [];
  try {
    const compared = compareTrees(format, before, after, {
      added: ({ start, end }) => void came.push(start, end),
      removed: ({ start, end }) => void gone.push(start, end),
    });
    if (!compared.inOrder) return undefined;
    const [was, is] = [takeOut(before, gone), takeOut(after, came)];
    const isWorthIt = was.length + is.length <= (before.length + after.length) * MOST_REDUCED;
    return isWorthIt ? { before: was, after: is, compared } : undefined;
  } catch (error) {
    if (error instanceof KvError && error.code === "BAD_OBJECT") return undefined;
    throw error;
  }
}

/** The stretches of `data` between each two of `bounds`, one after the other. */
function takeOut(data: Buffer, bounds: readonly number[]): Buffer {
  let size = 0;
  for (let i = 0; i < bounds.length; i += 2) size += bounds[i + 1]! - bounds[i]!;
  const out = Buffer.allocUnsafe(size);
  let at = 0;
  for (let i = 0; i < bounds.length; i += 2) at += data.copy(out, at, bounds[i]!, bounds[i + 1]!);
  return out;
}

/**
 * Compares the trees `before` and `after`. Throws BAD_OBJECT where one is malformed. In trees that are not in git's order
 * an entry may be called new and gone at once, but none that is new is passed over.
 */
export function compareTrees(
  format: ObjectFormat,
  before: Buffer,
  after: Buffer,
  difference: TreeDifference,
): ComparedTree {
  const old = new TreeCursor(format, before);
  const entry = new TreeCursor(format, after);
  let equal = equalRun(before, 0, after, 0);
  // `old` stands at its entry not yet passed; it is parsed where `hasOld` is true.
  let hasOld = false;
  let oldStart = 0;
  // Stretches of the old tree follow each other as they did there: only what was added can be out of order.
  const previous = new TreeCursor(format, after);
  let wasAdded = false;
  let entries = 0;
  let inOrder = true;
  let hasTree = false;
  const check = (isAdded: boolean): void => {
    if ((isAdded || wasAdded) && entries > 0) {
      previous.end = previousStart;
      previous.next();
      if (order(previous, entry) >= 0) inOrder = false;
    }
    entries++;
    if (entry.isTree()) hasTree = true;
    previousStart = entry.start;
    wasAdded = isAdded;
  };
  let previousStart = 0;
  const remove = (): void => {
    if (old.isTree()) hasTree = true;
    difference.removed(old);
  };
  while (entry.next()) {
    const size = entry.end - entry.start;
    if (!hasOld && size <= equal) {
      check(false);
      equal -= size;
      oldStart += size;
      continue;
    }
    if (!hasOld) hasOld = advance(old, oldStart);
    while (hasOld && order(old, entry) < 0) {
      remove();
      hasOld = advance(old, old.end);
    }
    if (!hasOld || order(old, entry) > 0) {
      check(true);
      difference.added(entry, undefined);
      if (!hasOld) {
        oldStart = before.length;
        equal = 0;
      }
      continue;
    }
    // Of one name and sort with the old entry, so in its place.
    check(false);
    if (!isSame(old, entry)) {
      difference.added(entry, old);
      difference.removed(old);
    }
    oldStart = old.end;
    hasOld = false;
    equal = equalRun(before, oldStart, after, entry.end);
  }
  if (!hasOld) hasOld = advance(old, oldStart);
  while (hasOld) {
    remove();
    hasOld = advance(old, old.end);
  }
  return { entries, inOrder, hasTree };
}

/** Moves a cursor to the entry at `start`; false where there is none. */
function advance(cursor: TreeCursor, start: number): boolean {
  cursor.end = start;
  return cursor.next();
}

function isSame(a: TreeCursor, b: TreeCursor): boolean {
  return a.mode === b.mode && a.data.compare(b.data, b.oidStart, b.end, a.oidStart, a.end) === 0;
}

/** Git's order of entries: by name, a tree's as if it ended in a slash. */
function order(a: TreeCursor, b: TreeCursor): number {
  const [sizeA, sizeB] = [a.nameEnd - a.nameStart, b.nameEnd - b.nameStart];
  const size = Math.min(sizeA, sizeB);
  const prefix = compareRuns(a.data, a.nameStart, b.data, b.nameStart, size);
  if (prefix !== 0) return prefix;
  return byteAfter(a, size) - byteAfter(b, size);
}

function byteAfter(cursor: TreeCursor, size: number): number {
  const at = cursor.nameStart + size;
  if (at < cursor.nameEnd) return cursor.data[at]!;
  return cursor.isTree() ? 0x2f : 0;
}

/** Bytes that are compared one by one first: of entries that are left of a reduced tree no more are equal. */
const NEAR = 48;

/**
 * Number of equal bytes from `a[aStart]` and `b[bStart]` on, found by halving: a few native comparisons cost a tenth of
 * a loop over the bytes.
 */
function equalRun(a: Buffer, aStart: number, b: Buffer, bStart: number): number {
  const most = Math.min(a.length - aStart, b.length - bStart);
  let low = 0;
  for (const near = Math.min(NEAR, most); low < near; low++) if (a[aStart + low] !== b[bStart + low]) return low;
  let high = most;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    const order = a.compare(b, bStart + low, bStart + middle, aStart + low, aStart + middle);
    if (order === 0) low = middle;
    else high = middle - 1;
  }
  return low;
}
