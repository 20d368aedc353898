/**
 * Where the files of every key lie: the blobs of metadata and value by the key's name, gathered in one walk over the tries. An export
 * asks in key order, and the tries are in the order of hashes: looked up one by one, each key costs two searches in trees of
 * some 250 entries. A million keys take 76 MB here.
 */

import { type ObjectSource, readOnceAs } from "../../gitwire/object/object.ts";
import { type ObjectFormat, type Oid, SHA1 } from "../../gitwire/object/oid.ts";
import { OidTable } from "../../gitwire/object/oid-table.ts";
import { MODE, parseTree } from "../../gitwire/object/tree.ts";
import { GarbageMeter } from "../../memory.ts";
import { type Key, keyDigits, keyName } from "../key.ts";
import { dataFileNames, findInTrie, MANIFEST, META, trieFileName } from "../ledger-trie.ts";
import type { NamespaceState } from "../state.ts";

/** The blobs of a key. */
export interface KeyFiles {
  readonly meta: Oid;
  /** The value, or its manifest. */
  readonly data: Oid;
}

/** Finds the blobs of a key; undefined where one of the two is missing. */
export type FindFiles = (key: Key) => KeyFiles | undefined;

/** Looks each key up by itself: for few of them. */
export function filesByKey(objects: ObjectSource, { data, meta }: NamespaceState): FindFiles {
  return (key) => {
    const digits = keyDigits(key);
    const metaFile =
      meta === undefined ? undefined : findInTrie(objects, meta, digits, [trieFileName("meta", keyName(key, digits))]);
    const dataFile = data === undefined ? undefined : findInTrie(objects, data, digits, dataFileNames(key, digits));
    return metaFile === undefined || dataFile === undefined ? undefined : { meta: metaFile.oid, data: dataFile.oid };
  };
}

/** Gathers all of them first, yielding after each tree; `told` hears how many files there are so far. */
export function* allFiles(
  objects: ObjectSource,
  { data, meta }: NamespaceState,
  told: (files: number) => void,
): Generator<void, FindFiles> {
  const table = new NameTable();
  const metas = new OidColumn(objects.format);
  const values = new OidColumn(objects.format);
  const garbage = new GarbageMeter();
  let files = 0;
  const gather = function* (root: Oid | undefined, suffix: string, column: OidColumn): Generator<void> {
    if (root === undefined) return;
    const put = (name: string, oid: Oid): void => {
      column.set(table.add(cut(name, suffix)), oid);
      garbage.add(1);
      files++;
    };
    for (const _ of walk(objects, root, put)) {
      told(files);
      yield;
    }
  };
  yield* gather(meta, META, metas);
  yield* gather(data, MANIFEST, values);
  return (key) => {
    const row = table.find(keyName(key));
    const [metaOid, dataOid] = [metas.get(row), values.get(row)];
    return metaOid === undefined || dataOid === undefined ? undefined : { meta: metaOid, data: dataOid };
  };
}

const cut = (name: string, suffix: string): string => (name.endsWith(suffix) ? name.slice(0, -suffix.length) : name);

function* walk(objects: ObjectSource, root: Oid, use: (name: string, oid: Oid) => void): Generator<void> {
  for (const { mode, name, oid } of parseTree(objects.format, readOnceAs(objects, root, "tree", treeRoom))) {
    if (mode === MODE.tree) yield* walk(objects, oid, use);
    else use(name, oid);
  }
  yield;
}

const treeRoom = Buffer.allocUnsafeSlow(64 * 1024);
const DIGEST = Buffer.alloc(32);

/** Numbers names by 20 bytes of their SHA-256. */
class NameTable {
  readonly #table = new OidTable(SHA1);

  add(name: string): number {
    Bun.SHA256.hash(name, DIGEST);
    return this.#table.addRaw(DIGEST, 0);
  }

  /** The number, or -1. */
  find(name: string): number {
    Bun.SHA256.hash(name, DIGEST);
    return this.#table.indexOfRaw(DIGEST, 0);
  }
}

/** Object ids by number, raw. */
class OidColumn {
  readonly #size: number;
  #bytes: Buffer;

  constructor({ rawSize }: ObjectFormat) {
    this.#size = rawSize;
    this.#bytes = Buffer.alloc(rawSize * 256);
  }

  set(row: number, oid: Oid): void {
    const at = row * this.#size;
    if (at >= this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(this.#bytes.length * 2, at + this.#size));
      this.#bytes.copy(grown);
      this.#bytes = grown;
    }
    this.#bytes.write(oid, at, "hex");
  }

  get(row: number): Oid | undefined {
    const at = row * this.#size;
    if (row < 0 || at >= this.#bytes.length) return undefined;
    const oid = this.#bytes.hexSlice(at, at + this.#size);
    return /^0+$/.test(oid) ? undefined : oid;
  }
}
