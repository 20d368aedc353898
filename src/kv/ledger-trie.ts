/**
 * The ledger's two tries, `data/` and `meta/` (docs/formats/data-format.md, section 4), and the chunk tree, which is one too
 * (section 6).
 *
 * A trie runs over the hex digits of SHA-256(key), that of the chunk tree over those of SHA-256(piece), and is a function of its set of files alone: a directory holds files where
 * there are at most 256 of them, otherwise one directory for each next digit that occurs and no file. Splits and folds here
 * keep that true, whatever order changes come in.
 */

import { KvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import { readAs } from "../gitwire/object/object.ts";
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
import { keyName, nameDigits } from "./key.ts";
import type { NodeWriter, TreeDraft } from "./node-writer.ts";
import { TrieRun } from "./trie-run.ts";

/** Most files in one directory. */
export const LEAF_FILES = 256;

/** One file to set, or to remove where `oid` is undefined. */
export interface TrieChange {
  /** SHA-256 of the key or piece, 64 hex digits. */
  readonly digits: string;
  /** The file's name, suffix included. */
  readonly name: string;
  readonly oid: Oid | undefined;
}

/** A child after the changes: a tree that stays as it was, or a draft not written yet. */
type Child =
  | { readonly kind: "kept"; readonly oid: Oid }
  | { readonly kind: "draft"; readonly draft: TreeDraft; readonly leaf: boolean };

/** Which of the tries: what its files' names look like. */
export type TrieKind = "data" | "meta" | "chunks";

export const MANIFEST = ".manifest.json";
export const META = ".meta";

/** What a key may have in the ledger's tries: its value or, chunked, its manifest, and its metadata. */
export type FileSort = "data" | "manifest" | "meta";

/** File name of a key's value (or, chunked, of its manifest) or metadata. */
export function trieFileName(sort: FileSort, name: string): string {
  return sort === "data" ? name : name + (sort === "meta" ? META : MANIFEST);
}

/** Name of the key a file belongs to, or undefined where no file of this trie is called that. */
export function trieKeyName(kind: "data" | "meta", fileName: string): string | undefined {
  if (kind === "meta") return fileName.endsWith(META) ? fileName.slice(0, -META.length) : undefined;
  return fileName.endsWith(MANIFEST) ? fileName.slice(0, -MANIFEST.length) : fileName;
}

const DIGITS = /^[0-9a-f]{64}$/;

/** Place of a file in its trie, 64 hex digits, or undefined where no file of this trie is called that. */
export function trieDigits(kind: TrieKind, fileName: string): string | undefined {
  if (kind === "chunks") return DIGITS.test(fileName) ? fileName : undefined;
  const name = trieKeyName(kind, fileName);
  return name === undefined ? undefined : nameDigits(name);
}

/** Applies `changes` (each file at most once) to the trie `root`; returns the new root, undefined where nothing is left. */
export function updateTrie(
  writer: NodeWriter,
  kind: TrieKind,
  root: Oid | undefined,
  changes: readonly TrieChange[],
): Oid | undefined {
  return atOnce(updateTrieInSteps(writer, kind, root, changes));
}

/** As {@link updateTrie}, yielding now and then so that others may run. */
export function* updateTrieInSteps(
  writer: NodeWriter,
  kind: TrieKind,
  root: Oid | undefined,
  changes: readonly TrieChange[],
): Generator<void, Oid | undefined> {
  if (changes.length === 0) return root;
  const removes = changes.some((change) => !isSet(change));
  const child = yield* new TrieUpdate(writer, kind, removes).node(root, TrieRun.of(changes), 0);
  return child === undefined ? undefined : child.kind === "kept" ? child.oid : writer.write(child.draft);
}

class TrieUpdate {
  readonly #writer: NodeWriter;
  readonly #kind: TrieKind;
  /** Whether any change removes a file. */
  readonly #removes: boolean;

  constructor(writer: NodeWriter, kind: TrieKind, removes: boolean) {
    this.#writer = writer;
    this.#kind = kind;
    this.#removes = removes;
  }

  *node(oid: Oid | undefined, changes: TrieRun<TrieChange>, depth: number): Generator<void, Child | undefined> {
    yield;
    if (oid === undefined) return yield* this.#build(this.#onlySet(changes), depth);
    const data = this.#writer.read(oid);
    if (hasSubtree(this.#writer.format, data)) return yield* this.#branch(oid, data, changes, depth);
    const draft = this.#writer.edit(oid, data, changes.map(toEdit));
    if (draft.entries === 0) return undefined;
    if (draft.entries <= LEAF_FILES) return { kind: "draft", draft, leaf: true };
    const files = parseTree(this.#writer.format, draft.data).map((entry) => this.#withDigits(entry));
    return yield* this.#build(TrieRun.of(files), depth);
  }

  *#branch(oid: Oid, data: Buffer, changes: TrieRun<TrieChange>, depth: number): Generator<void, Child | undefined> {
    const children = this.#children(data);
    const removes = this.#removes && changes.some((change) => !isSet(change));
    const touched: string[] = [];
    for (const [digit, group] of changes.byDigit(depth)) {
      const before = children.get(digit);
      const after = yield* this.node(before?.kind === "kept" ? before.oid : undefined, group, depth + 1);
      if (after === undefined) children.delete(digit);
      else children.set(digit, after);
      touched.push(digit);
    }
    if (removes) {
      const folded = this.#fold(children);
      if (folded !== "too many") return folded;
    }
    const edits = touched.map(
      (digit): TreeEdit => ({ name: digit, mode: MODE.tree, oid: this.#written(children.get(digit)) }),
    );
    return { kind: "draft", draft: this.#writer.edit(oid, data, edits), leaf: false };
  }

  /** The children of a branch by digit; throws where it holds anything but one directory for each digit. */
  #children(data: Buffer): Map<string, Child> {
    const children = new Map<string, Child>();
    for (const entry of parseTree(this.#writer.format, data)) {
      if (entry.mode !== MODE.tree || !/^[0-9a-f]$/.test(entry.name)) throw notATrie(this.#kind, entry.name);
      children.set(entry.name, { kind: "kept", oid: entry.oid });
    }
    return children;
  }

  /** All files of a branch's children in one leaf, where they fit. Stops reading as soon as they do not. */
  #fold(children: ReadonlyMap<string, Child>): Child | undefined | "too many" {
    const drafts = [...children.values()].sort((a, b) => (a.kind === b.kind ? 0 : a.kind === "draft" ? -1 : 1));
    // First only counted: in most cases two leaves are too many.
    const leaves: Buffer[] = [];
    let count = 0;
    for (const child of drafts) {
      if (child.kind === "draft" && !child.leaf) return "too many";
      const data = child.kind === "draft" ? child.draft.data : this.#writer.read(child.oid);
      if (hasSubtree(this.#writer.format, data)) return "too many";
      count += child.kind === "draft" ? child.draft.entries : countEntries(this.#writer.format, data);
      if (count > LEAF_FILES) return "too many";
      leaves.push(data);
    }
    const entries = leaves.flatMap((data) => parseTree(this.#writer.format, data));
    return entries.length === 0 ? undefined : { kind: "draft", draft: this.#writer.build(entries), leaf: true };
  }

  *#build(files: TrieRun<SetChange>, depth: number): Generator<void, Child | undefined> {
    yield;
    if (files.length === 0) return undefined;
    if (files.length <= LEAF_FILES) {
      const entries = files.map(({ name, oid }): TreeEntry => ({ mode: MODE.file, name, oid }));
      return { kind: "draft", draft: this.#writer.build(entries), leaf: true };
    }
    const entries: TreeEntry[] = [];
    for (const [digit, group] of files.byDigit(depth)) {
      entries.push({ mode: MODE.tree, name: digit, oid: this.#written(yield* this.#build(group, depth + 1))! });
    }
    return { kind: "draft", draft: this.#writer.build(entries), leaf: false };
  }

  #onlySet(changes: TrieRun<TrieChange>): TrieRun<SetChange> {
    if (!this.#removes) return changes as TrieRun<SetChange>;
    return TrieRun.of(changes.map((change) => change).filter(isSet));
  }

  #written(child: Child | undefined): Oid | undefined {
    if (child === undefined) return undefined;
    return child.kind === "kept" ? child.oid : this.#writer.write(child.draft);
  }

  #withDigits(entry: TreeEntry): SetChange {
    const digits = trieDigits(this.#kind, entry.name);
    if (digits === undefined || entry.mode !== MODE.file) throw notATrie(this.#kind, entry.name);
    return { digits, name: entry.name, oid: entry.oid };
  }
}

type SetChange = TrieChange & { readonly oid: Oid };

const isSet = (change: TrieChange): change is SetChange => change.oid !== undefined;

const toEdit = (change: TrieChange): TreeEdit => ({ name: change.name, mode: MODE.file, oid: change.oid });

function notATrie(kind: TrieKind, name: string): KvError {
  return new KvError("CORRUPT", `${kind}/ holds ${JSON.stringify(name)}, which does not belong there`);
}

/** A file found in a trie. */
export interface TrieFile {
  readonly name: string;
  readonly oid: Oid;
}

/** The file of the key with these digits called one of `names`, or undefined. Reads one tree a level. */
export function findInTrie(
  source: ObjectSource,
  root: Oid,
  digits: string,
  names: readonly string[],
): TrieFile | undefined {
  let oid = root;
  for (let depth = 0; depth <= digits.length; depth++) {
    const data = readAs(source, oid, "tree");
    const first = new TreeCursor(source.format, data);
    if (!first.next()) return undefined;
    if (!first.isTree()) return findFile(source, data, names);
    const child = findEntry(source.format, data, digits[depth] ?? "");
    if (child === undefined) return undefined;
    oid = child.oid;
  }
  return undefined;
}

function findFile(source: ObjectSource, data: Buffer, names: readonly string[]): TrieFile | undefined {
  for (const name of names) {
    const entry = findEntry(source.format, data, name);
    if (entry !== undefined) return { name, oid: entry.oid };
  }
  return undefined;
}

/** Names the value of a key may be stored under: inline, or as a manifest. */
export function dataFileNames(key: string, digits: string): [inline: string, manifest: string] {
  const name = keyName(key, digits);
  return [name, name + MANIFEST];
}
