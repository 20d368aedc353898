/**
 * What changed between two tries, in time proportional to the change: equal subtrees are skipped by their ids. The newer trie
 * may come from anybody: every path in what changed must be a key's own path (in a chunk tree: a piece's), and the number of
 * changes is limited.
 */

import { KvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { findEntry, hasSubtree, MODE, TreeCursor } from "../gitwire/object/tree.ts";
import { compareTrees } from "../gitwire/object/tree-difference.ts";
import { type TrieKind, trieDigits } from "./ledger-trie.ts";

/** A file that is not the same on both sides. */
export interface FileChange {
  readonly fileName: string;
  readonly before: Oid | undefined;
  readonly after: Oid | undefined;
}

/** Levels of a trie: one for each hex digit of SHA-256, and the files. */
const DEPTH = 65;

/**
 * Files that differ between the tries `before` and `after`, in no particular order.
 * Throws KEY_INVALID for a path in `after` that is no key's own path, TXN_TOO_LARGE past `limit` changes.
 */
export function diffTries(
  source: ObjectSource,
  kind: TrieKind,
  before: Oid | undefined,
  after: Oid | undefined,
  limit: number,
): FileChange[] {
  const diff = new TrieDiff(source, kind, limit);
  diff.nodes(before, after, "");
  return diff.changes;
}

class TrieDiff {
  readonly changes: FileChange[] = [];
  readonly #source: ObjectSource;
  readonly #kind: TrieKind;
  readonly #limit: number;

  constructor(source: ObjectSource, kind: TrieKind, limit: number) {
    this.#source = source;
    this.#kind = kind;
    this.#limit = limit;
  }

  nodes(before: Oid | undefined, after: Oid | undefined, path: string): void {
    if (before === after) return;
    const left = this.#read(before);
    const right = this.#read(after);
    // Else one empty tree, reached through trees that name one child sixteen times, would be walked for ever.
    if (right?.length === 0) throw this.#notAKey(path, "");
    const { format } = this.#source;
    const branches = [left, right].filter((data) => data !== undefined && hasSubtree(format, data)).length;
    if (branches === 2) this.#branches(left!, right!, path);
    else if (branches === 0) this.#leaves(left, right, path);
    else this.#reshaped(before, after, path);
  }

  #read(oid: Oid | undefined): Buffer | undefined {
    return oid === undefined ? undefined : readAs(this.#source, oid, "tree");
  }

  #branches(left: Buffer, right: Buffer, path: string): void {
    const { format } = this.#source;
    for (const [digit, after] of this.#children(right, path))
      this.nodes(findEntry(format, left, digit)?.oid, after, path + digit);
    for (const [digit, before] of this.#children(left, path)) {
      if (findEntry(format, right, digit) === undefined) this.nodes(before, undefined, path + digit);
    }
  }

  #children(data: Buffer, path: string): Map<string, Oid> {
    const children = new Map<string, Oid>();
    const cursor = new TreeCursor(this.#source.format, data);
    while (cursor.next()) {
      const name = cursor.name();
      if (!cursor.isTree() || !/^[0-9a-f]$/.test(name) || path.length + 1 >= DEPTH || children.has(name)) {
        throw this.#notAKey(path, name);
      }
      children.set(name, cursor.oid());
    }
    return children;
  }

  /** Two sorted lists of files. */
  #leaves(left: Buffer | undefined, right: Buffer | undefined, path: string): void {
    // What was replaced is told as added and, right after that, as removed.
    let replaced = false;
    compareTrees(this.#source.format, left ?? NOTHING, right ?? NOTHING, {
      added: (entry, old) => {
        this.#checkPath(entry, path);
        this.#add(entry.name(), old?.oid(), entry.oid());
        replaced = old !== undefined;
      },
      removed: (entry) => {
        if (!replaced) this.#add(entry.name(), entry.oid(), undefined);
        replaced = false;
      },
    });
  }

  #checkPath(cursor: TreeCursor, path: string): void {
    const fileName = cursor.name();
    const digits = cursor.mode === MODE.file ? trieDigits(this.#kind, fileName) : undefined;
    if (digits === undefined || !digits.startsWith(path)) throw this.#notAKey(path, fileName);
  }

  #add(fileName: string, before: Oid | undefined, after: Oid | undefined): void {
    if (this.changes.length >= this.#limit) throw this.#tooMany();
    this.changes.push({ fileName, before, after });
  }

  /** A node that was split or folded. */
  #reshaped(oldNode: Oid | undefined, newNode: Oid | undefined, path: string): void {
    // The old node was checked when it was new.
    const before = this.#collect(oldNode, path, () => {});
    // So a file that stays below the node is in its place, unless it is deeper now.
    const after = this.#collect(newNode, path, (cursor, name, at) => {
      if (at !== path || cursor.mode !== MODE.file || !before.has(name)) this.#checkPath(cursor, at);
    });
    for (const [name, oid] of after) if (before.get(name) !== oid) this.#add(name, before.get(name), oid);
    for (const [name, oid] of before) if (!after.has(name)) this.#add(name, oid, undefined);
  }

  /** All files below a node, whatever its shape: a split or a fold touches at most a few hundred. */
  #collect(
    oid: Oid | undefined,
    path: string,
    check: (cursor: TreeCursor, name: string, path: string) => void,
    files = new Map<string, Oid>(),
  ): Map<string, Oid> {
    const data = this.#read(oid);
    if (data === undefined) return files;
    if (data.length === 0) throw this.#notAKey(path, "");
    if (hasSubtree(this.#source.format, data)) {
      for (const [digit, child] of this.#children(data, path)) this.#collect(child, path + digit, check, files);
      return files;
    }
    const cursor = new TreeCursor(this.#source.format, data);
    while (cursor.next()) {
      const name = cursor.name();
      check(cursor, name, path);
      if (files.has(name)) throw this.#notAKey(path, name);
      if (files.size >= this.#limit + MAX_FOLD) throw this.#tooMany();
      files.set(name, cursor.oid());
    }
    return files;
  }

  #tooMany(): KvError {
    return new KvError("TXN_TOO_LARGE", `the transaction changes more than ${this.#limit} files of ${this.#kind}/`);
  }

  #notAKey(path: string, name: string): KvError {
    const directory = [...path].map((digit) => `${digit}/`).join("");
    return new KvError("KEY_INVALID", `${JSON.stringify(`${this.#kind}/${directory}${name}`)} is no key's own path`);
  }
}

/** Files a fold or split may move that did not change themselves. */
const MAX_FOLD = 256;

const NOTHING = Buffer.alloc(0);
