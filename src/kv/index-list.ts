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
import type { KeyState } from "./index-file.ts";
import { findIndexFile, type IndexState, labelOf, readFile } from "./index-node.ts";
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
  const listing = new Listing(source, { prefix: range.prefix ?? "", after: range.after });
  // The nodes from the root down, what is left of each from its last item on: a generator below another costs every key a turn of both.
  const nodes = [listing.items("", root)];
  for (let node = nodes.at(-1); node !== undefined; node = nodes.at(-1)) {
    const item = node.pop();
    if (item === undefined) nodes.pop();
    else if (item.state === undefined) nodes.push(listing.items(item.key, item.oid));
    else yield item as IndexEntry;
  }
}

/** A key's file, or a directory of the keys that begin with `key`, which has no state. */
interface Item {
  readonly key: Key;
  readonly state: KeyState | undefined;
  readonly oid: Oid;
}

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

  /** What is wanted of the node of `prefix`, the last first. */
  items(prefix: Key, oid: Oid): Item[] {
    if (prefix.length > LIMITS.keyBytes) throw new KvError("CORRUPT", "the kv-index is deeper than any key is long");
    const items: Item[] = [];
    for (const entry of parseTree(this.#source.format, readAs(this.#source, oid, "tree"))) {
      const item = this.#item(prefix, entry);
      if (this.#wanted(item)) items.push(item);
    }
    // Names sort otherwise than keys do (`%` and suffixes): order by what they stand for.
    return items.sort((a, b) => compare(b.key, a.key));
  }

  #item(prefix: Key, entry: TreeEntry): Item {
    if (entry.mode === MODE.tree) return { key: prefix + labelOf(entry.name), state: undefined, oid: entry.oid };
    return { ...readFile(this.#blobs, entry), oid: entry.oid };
  }

  #wanted({ key, state }: Item): boolean {
    if (state !== undefined) return key.startsWith(this.#prefix) && (this.#after === undefined || key > this.#after);
    if (!key.startsWith(this.#prefix) && !this.#prefix.startsWith(key)) return false;
    return this.#after === undefined || key > this.#after || this.#after.startsWith(key);
  }
}
