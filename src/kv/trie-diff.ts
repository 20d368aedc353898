/**
 * What changed between two of the ledger's tries, in time proportional to the change: equal subtrees are skipped by their ids.
 * The newer trie may come from anybody: every path in what changed must be a key's own path (or a piece's), the number of
 * changes is limited, and each tree that is new must be the one that the format makes of its files: no other bytes would do
 * (docs/formats/data-format.md, section 4). So where the older trie has its form, the newer one has it too, and is the one that
 * updateTrie makes of the older one and the changes, without being made once more.
 */

import { compareRuns } from "../bytes.ts";
import { KvError } from "../errors.ts";
import { type ObjectSource, readAs, readObject } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { countEntries, hasSubtree, MODE, TreeCursor } from "../gitwire/object/tree.ts";
import { type ComparedTree, compareTrees } from "../gitwire/object/tree-difference.ts";
import type { KeyNames, KnownName } from "./key.ts";
import { LEAF_FILES, type TrieKind, trieDigits, trieKeyName } from "./ledger-trie.ts";

/** A file that is not the same on both sides. */
export interface FileChange<T = unknown> {
  readonly fileName: string;
  readonly before: Oid | undefined;
  readonly after: Oid | undefined;
  /** Its key's name, where that was read back on the way. */
  readonly known?: KnownName<T> | undefined;
}

/** Levels of a trie: one for each hex digit of SHA-256, and the files. */
const DEPTH = 65;

/** Files below a node: exactly, or "many" where all that is known is that they do not fit in one directory. */
type Size = number | "many";

/** What became of a node: how many files more it has now, and how many that makes. */
interface Outcome {
  readonly more: number;
  readonly size: Size;
}

/**
 * Files that differ between the tries `before` and `after`, in no particular order.
 * `names`: those of the files' keys that were met before, and will be. Throws KEY_INVALID for a path in `after` that is no key's own path, REPLAY_MISMATCH where `after` has not the form of a trie,
 * TXN_TOO_LARGE past `limit` changes.
 */
export function diffTries<T>(
  source: ObjectSource,
  kind: TrieKind,
  before: Oid | undefined,
  after: Oid | undefined,
  limit: number,
  names?: KeyNames<T>,
): FileChange<T>[] {
  const diff = new TrieDiff(source, kind, limit, names);
  diff.nodes(before, after, "");
  return diff.changes;
}

class TrieDiff<T> {
  readonly changes: FileChange<T>[] = [];
  readonly #source: ObjectSource;
  readonly #kind: TrieKind;
  readonly #limit: number;
  readonly #names: KeyNames<T> | undefined;

  constructor(source: ObjectSource, kind: TrieKind, limit: number, names: KeyNames<T> | undefined) {
    this.#source = source;
    this.#kind = kind;
    this.#limit = limit;
    this.#names = names;
  }

  nodes(before: Oid | undefined, after: Oid | undefined, path: string): Outcome {
    if (before === after) return { more: 0, size: 0 };
    const tree = after === undefined ? undefined : readObject(this.#source, after, "tree");
    const change = tree?.change;
    if (change !== undefined && change.base === before && !change.compared.hasTree && tree!.data.length > 0)
      return this.#leaves(change.before, change.after, path, change.compared);
    const left = this.#read(before);
    const right = tree?.data;
    // Else one empty tree, reached through trees that name one child sixteen times, would be walked for ever.
    if (right?.length === 0) throw this.#notAKey(path, "");
    const { format } = this.#source;
    const branches = [left, right].filter((data) => data !== undefined && hasSubtree(format, data)).length;
    if (branches === 2) return this.#branches(left!, right!, path);
    return branches === 0 ? this.#leaves(left, right, path) : this.#reshaped(before, after, path);
  }

  #read(oid: Oid | undefined): Buffer | undefined {
    return oid === undefined ? undefined : readAs(this.#source, oid, "tree");
  }

  #branches(left: Buffer, right: Buffer, path: string): Outcome {
    const { rawSize } = this.#source.format;
    const [before, after] = [this.#children(left, path), this.#children(right, path)];
    const sizes = new Map<number, Size>();
    let more = 0;
    for (let digit = 0; digit < 16; digit++) {
      const [from, to] = [before[digit]!, after[digit]!];
      if (from === to && from < 0) continue;
      if (from >= 0 && to >= 0 && compareRuns(left, from, right, to, rawSize) === 0) continue;
      const outcome = this.nodes(idAt(left, from, rawSize), idAt(right, to, rawSize), path + HEX[digit]);
      more += outcome.more;
      if (to >= 0) sizes.set(digit, outcome.size);
    }
    // Where it has not fewer files than before it is a branch as before.
    if (more < 0 && !this.#isMany(right, after, sizes)) throw this.#misshapen(path, "is to be folded");
    return { more, size: "many" };
  }

  /** Whether the `children` of the branch `data` have more files than one directory holds; `sizes` are known of some of them. */
  #isMany(data: Buffer, children: readonly number[], sizes: ReadonlyMap<number, Size>): boolean {
    const { format } = this.#source;
    let sum = 0;
    for (const size of sizes.values()) {
      if (size === "many") return true;
      sum += size;
    }
    for (const [digit, at] of children.entries()) {
      if (sum > LEAF_FILES) return true;
      if (at < 0 || sizes.has(digit)) continue;
      const child = this.#read(idAt(data, at, format.rawSize))!;
      if (hasSubtree(format, child)) return true;
      sum += countEntries(format, child);
    }
    return sum > LEAF_FILES;
  }

  /** Where in the branch `data` the ids of its children begin, by their digit; -1 where there is none. */
  #children(data: Buffer, path: string): readonly number[] {
    const children = new Array<number>(16).fill(-1);
    const cursor = new TreeCursor(this.#source.format, data);
    let last = -1;
    while (cursor.next()) {
      const digit = cursor.nameEnd - cursor.nameStart === 1 ? hexDigit(data[cursor.nameStart]!) : -1;
      if (!cursor.isTree() || digit < 0 || path.length + 1 >= DEPTH || children[digit]! >= 0) {
        throw this.#notAKey(path, cursor.name());
      }
      if (digit < last || cursor.nameStart - cursor.start !== TREE_MODE_BYTES)
        throw this.#misshapen(path, "is not written as git writes it");
      last = digit;
      children[digit] = cursor.oidStart;
    }
    return children;
  }

  /** Two sorted lists of files; `whole`, where they are reduced to what differs, what a comparison of all says. */
  #leaves(left: Buffer | undefined, right: Buffer | undefined, path: string, whole?: ComparedTree): Outcome {
    // What was replaced is told as added and, right after that, as removed.
    let replaced = false;
    let more = 0;
    const compared = compareTrees(this.#source.format, left ?? NOTHING, right ?? NOTHING, {
      added: (entry, old) => {
        const fileName = entry.name();
        this.#add(fileName, old?.oid(), entry.oid(), this.#checkPath(entry, fileName, path));
        replaced = old !== undefined;
        if (!replaced) more++;
      },
      removed: (entry) => {
        if (!replaced) {
          this.#add(entry.name(), entry.oid(), undefined);
          more--;
        }
        replaced = false;
      },
    });
    const { entries, inOrder } = whole ?? compared;
    if (!inOrder) throw this.#misshapen(path, "is not in order");
    if (entries > LEAF_FILES) throw this.#misshapen(path, "is to be split");
    return { more, size: entries };
  }

  /** Throws where the file's path is no key's own; returns what its name says, where names are read. */
  #checkPath(cursor: TreeCursor, fileName: string, path: string): KnownName<T> | undefined {
    const known = this.#known(fileName);
    const digits = cursor.mode === MODE.file ? (known?.digits ?? trieDigits(this.#kind, fileName)) : undefined;
    if (digits === undefined || !digits.startsWith(path)) throw this.#notAKey(path, fileName);
    return known;
  }

  #known(fileName: string): KnownName<T> | undefined {
    if (this.#names === undefined || this.#kind === "chunks") return undefined;
    const name = trieKeyName(this.#kind, fileName);
    return name === undefined ? undefined : this.#names.read(name);
  }

  #add(fileName: string, before: Oid | undefined, after: Oid | undefined, known?: KnownName<T>): void {
    if (this.changes.length >= this.#limit) throw this.#tooMany();
    this.changes.push({ fileName, before, after, known });
  }

  /** A node that was split or folded, or that came or went with all below it. */
  #reshaped(oldNode: Oid | undefined, newNode: Oid | undefined, path: string): Outcome {
    // The old node was checked when it was new.
    const before = this.#collect(oldNode, path, undefined);
    let last = "";
    // So a file that stays below the node is in its place, unless it is deeper now.
    const after = this.#collect(newNode, path, (cursor, name, at) => {
      if (at !== path || cursor.mode !== MODE.file || !before.has(name)) this.#checkPath(cursor, name, at);
      if (cursor.start > 0 && name < last) throw this.#misshapen(at, "is not in order");
      last = name;
    });
    for (const [name, oid] of after) if (before.get(name) !== oid) this.#add(name, before.get(name), oid);
    for (const [name, oid] of before) if (!after.has(name)) this.#add(name, oid, undefined);
    return { more: after.size - before.size, size: after.size > LEAF_FILES ? "many" : after.size };
  }

  /**
   * All files below a node: a split or a fold touches at most a few hundred. With `check`, which is told of each file, the node
   * is a new one, and its directories must hold as many files as they may.
   */
  #collect(
    oid: Oid | undefined,
    path: string,
    check: ((cursor: TreeCursor, name: string, path: string) => void) | undefined,
    files = new Map<string, Oid>(),
  ): Map<string, Oid> {
    const from = files.size;
    const data = this.#read(oid);
    if (data === undefined) return files;
    if (data.length === 0) throw this.#notAKey(path, "");
    if (hasSubtree(this.#source.format, data)) {
      const { rawSize } = this.#source.format;
      for (const [digit, at] of this.#children(data, path).entries()) {
        if (at >= 0) this.#collect(idAt(data, at, rawSize), path + HEX[digit], check, files);
      }
      if (check !== undefined && files.size - from <= LEAF_FILES) throw this.#misshapen(path, "is to be folded");
      return files;
    }
    const cursor = new TreeCursor(this.#source.format, data);
    while (cursor.next()) {
      const name = cursor.name();
      check?.(cursor, name, path);
      if (files.has(name)) throw this.#notAKey(path, name);
      if (files.size >= this.#limit + MAX_FOLD) throw this.#tooMany();
      files.set(name, cursor.oid());
    }
    if (check !== undefined && files.size - from > LEAF_FILES) throw this.#misshapen(path, "is to be split");
    return files;
  }

  #tooMany(): KvError {
    return new KvError("TXN_TOO_LARGE", `the transaction changes more than ${this.#limit} files of ${this.#kind}/`);
  }

  #misshapen(path: string, what: string): KvError {
    return new KvError("REPLAY_MISMATCH", `the directory ${this.#directory(path)} ${what}`);
  }

  #notAKey(path: string, name: string): KvError {
    return new KvError("KEY_INVALID", `${JSON.stringify(this.#directory(path) + name)} is no key's own path`);
  }

  #directory(path: string): string {
    return `${this.#kind}/${[...path].map((digit) => `${digit}/`).join("")}`;
  }
}

/** Bytes of `40000 `; git reads a mode with leading zeros too. */
const TREE_MODE_BYTES = 6;

/** Files a fold or split may move that did not change themselves. */
const MAX_FOLD = 256;

const NOTHING = Buffer.alloc(0);

const HEX = "0123456789abcdef";

/** The value of a lower-case hex digit, given as its ASCII code; -1 where it is none. */
function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  return code >= 0x61 && code <= 0x66 ? code - 0x57 : -1;
}

/** The id that begins at `at`; undefined where that is negative. */
function idAt(data: Buffer, at: number, rawSize: number): Oid | undefined {
  return at < 0 ? undefined : data.hexSlice(at, at + rawSize);
}
