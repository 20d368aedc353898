/** Finds one key of a state, and reads a value that is stored as one blob. */

import { KvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import { hashObject, type Oid } from "../gitwire/object/oid.ts";
import { formatTime } from "../time.ts";
import { isExpired } from "./expiry.ts";
import { type Key, keyDigits, keyName, keyText } from "./key.ts";
import { dataFileNames, findInTrie, trieFileName } from "./ledger-trie.ts";
import { type Metadata, parseMetadata } from "./record.ts";
import type { NamespaceState } from "./state.ts";

/** A live key. How its value is stored, `meta.type` says. */
export interface FoundKey {
  readonly key: Key;
  /** The blob that holds the value, or its manifest. */
  readonly oid: Oid;
  readonly meta: Metadata;
}

/** How to read. */
export interface ReadOptions {
  /** Unix seconds now. */
  readonly now: number;
  /** Returns a value that has expired as if it had not. */
  readonly allowExpired: boolean;
}

/** What the state has of `key`. Throws KEY_NOT_FOUND, KEY_EXPIRED, or CORRUPT where value and metadata do not fit. */
export function findKey(objects: ObjectSource, state: NamespaceState, key: Key, options: ReadOptions): FoundKey {
  const digits = keyDigits(key);
  const [inline, manifest] = dataFileNames(key, digits);
  const metaName = trieFileName("meta", keyName(key, digits));
  const metaFile = state.meta === undefined ? undefined : findInTrie(objects, state.meta, digits, [metaName]);
  if (metaFile === undefined) throw notFound(key);
  const meta = parseMetadata(readAs(objects, metaFile.oid, "blob"));
  if (meta.expires !== undefined && isExpired(meta.expires, options.now) && !options.allowExpired) {
    throw hasExpired(key, meta.expires);
  }
  const file = state.data === undefined ? undefined : findInTrie(objects, state.data, digits, [inline, manifest]);
  if (file === undefined) throw wrong(key, "has metadata and no value");
  if ((file.name === manifest) !== (meta.type === "chunked"))
    throw wrong(key, `is ${meta.type} by its metadata and not by its file`);
  return { key, oid: file.oid, meta };
}

/** The value of a key that is stored inline. Throws CORRUPT where it is not the one its id and metadata name. */
export function inlineValue(objects: ObjectSource, { key, oid, meta }: FoundKey): Buffer {
  const data = readAs(objects, oid, "blob");
  if (data.length !== meta.size) throw wrong(key, "has a value of a wrong size");
  // The trees name the value by its object id, which is native to check; the etag, BLAKE3, is compared when a transaction is
  // replayed. Loading and warming that up for one value would take as long as the whole read.
  if (hashObject(objects.format, "blob", data) !== oid)
    throw wrong(key, "has a value that is not the one its id names");
  return data;
}

/** The key is there and its time is over. */
export function hasExpired(key: Key, expires: number): KvError {
  const when = `it expired at ${formatTime(expires)}`;
  return new KvError("KEY_EXPIRED", `not found: ${JSON.stringify(keyText(key))} (${when})`, {
    hint: "--allow-expired reads it all the same",
    data: { key: keyText(key), expires },
  });
}

function notFound(key: Key): KvError {
  return new KvError("KEY_NOT_FOUND", `not found: ${JSON.stringify(keyText(key))}`);
}

function wrong(key: Key, what: string): KvError {
  return new KvError("CORRUPT", `${JSON.stringify(keyText(key))} ${what}`);
}
