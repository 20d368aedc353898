/**
 * Reads the kv-index: one key's state, or the keys of a prefix in byte order. A listing reads the trees that hold the answer
 * and no blob, except the records of keys too long for their names.
 */

import { compare } from "../bytes.ts";
import { KvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { MODE, parseTree, type TreeEntry } from "../gitwire/object/tree.ts";
import { LIMITS } from "../limits.ts";
import { type KeyState, parseIndexFileName } from "./index-file.ts";
import { findIndexFile, type IndexState, labelOf, readKey } from "./index-tree.ts";
import { type Key, keyName } from "./key.ts";

/** One key of a listing. */
export interface IndexEntry {
  readonly key: Key;
  readonly state: KeyState;
  /** The pointer or tombstone. */
  readonly oid: Oid;
}

/** Which keys to list: those that begin with `prefix` and sort after `after`. */
export interface ListRange {
  readonly prefix?: Key;
  readonly after?: Key;
}

/** What the kv-index `root` holds of `key`, or undefined where it was never set in this epoch. */
export function findInIndex(source: ObjectSource, root: Oid, key: Key): IndexState | undefined {
  const name = keyName(key);
  let oid = root;
  let prefix = "";
  for (;;) {
    const data = readAs(source, oid, "tree");
    const state = findIndexFile(source, data, name);
    if (state !== undefined) return state;
    const below = parseTree(source.format, data).find((entry) => isAbove(entry, prefix, key));
    if (below === undefined) return undefined;
    prefix += labelOf(below.name);
    oid = below.oid;
  }
}

function isAbove(entry: TreeEntry, prefix: Key, key: Key): boolean {
  return entry.mode === MODE.tree && key.startsWith(labelOf(entry.name), prefix.length);
}

/** Keys of the range in byte order. Throws CORRUPT where a tree is no kv-index. */
export function* listIndex(
  source: ObjectSource,
  root: Oid,
  range: ListRange = {},
): Generator<IndexEntry, void, undefined> {
  const wanted = { prefix: range.prefix ?? "", after: range.after };
  yield* new Listing(source, wanted).node("", root);
}

type Item =
  | { readonly kind: "file"; readonly key: Key; readonly entry: TreeEntry }
  | { readonly kind: "directory"; readonly key: Key; readonly entry: TreeEntry };

class Listing {
  readonly #source: ObjectSource;
  readonly #prefix: Key;
  readonly #after: Key | undefined;
  readonly #blobs: { readBlob(oid: Oid): Buffer };

  constructor(source: ObjectSource, range: { readonly prefix: Key; readonly after: Key | undefined }) {
    this.#source = source;
    this.#prefix = range.prefix;
    this.#after = range.after;
    this.#blobs = { readBlob: (oid) => readAs(source, oid, "blob") };
  }

  *node(prefix: Key, oid: Oid): Generator<IndexEntry, void, undefined> {
    if (prefix.length > LIMITS.keyBytes) throw new KvError("CORRUPT", "the kv-index is deeper than any key is long");
    for (const item of this.#items(prefix, readAs(this.#source, oid, "tree"))) {
      if (item.kind === "directory") yield* this.node(item.key, item.entry.oid);
      else yield { key: item.key, state: parseIndexFileName(item.entry.name)!.state, oid: item.entry.oid };
    }
  }

  #items(prefix: Key, data: Buffer): Item[] {
    const items: Item[] = [];
    for (const entry of parseTree(this.#source.format, data)) {
      const item = this.#item(prefix, entry);
      if (this.#wanted(item)) items.push(item);
    }
    // Names sort otherwise than keys do (`%` and suffixes): order by what they stand for.
    return items.sort((a, b) => compare(a.key, b.key));
  }

  #item(prefix: Key, entry: TreeEntry): Item {
    if (entry.mode === MODE.tree) return { kind: "directory", key: prefix + labelOf(entry.name), entry };
    return { kind: "file", key: readKey(this.#blobs, entry), entry };
  }

  #wanted({ kind, key }: Item): boolean {
    if (kind === "file") return key.startsWith(this.#prefix) && (this.#after === undefined || key > this.#after);
    if (!key.startsWith(this.#prefix) && !this.#prefix.startsWith(key)) return false;
    return this.#after === undefined || key > this.#after || this.#after.startsWith(key);
  }
}
