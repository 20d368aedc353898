/** What a node of the kv-index holds, entry by entry (docs/formats/data-format.md, section 5). */

import { utf8ToByteString } from "../bytes.ts";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { findByPrefix, MODE, type TreeEntry } from "../gitwire/object/tree.ts";
import { isFileOf, type KeyState, parseIndexFileName, parseLabelName } from "./index-file.ts";
import { type Key, parseName } from "./key.ts";
import type { NodeWriter } from "./node-writer.ts";
import { parseIndexRecord } from "./record.ts";

/** Most keys in a leaf. */
export const LEAF_KEYS = 256;

/** A key's file in the kv-index. */
export interface IndexFile {
  readonly fileName: string;
  readonly oid: Oid;
}

/** What the kv-index knows of a key before the change. */
export interface IndexState extends IndexFile {
  readonly state: KeyState;
  /** The file's content, where it has been read. */
  readonly record?: Buffer | undefined;
}

/** State that a file's name tells. Throws CORRUPT where it is none. */
export function stateOf(fileName: string): KeyState {
  const parsed = parseIndexFileName(fileName);
  if (parsed === undefined) throw notAnIndex(fileName);
  return parsed.state;
}

/** What a file says by its name: its key, which of a long one the record tells that it names, and the key's state. */
export function readFile(
  source: Pick<NodeWriter, "readBlob">,
  entry: TreeEntry,
): { readonly key: Key; readonly state: KeyState } {
  const parsed = entry.mode === MODE.file ? parseIndexFileName(entry.name) : undefined;
  const named = parsed && parseName(parsed.name);
  if (named === undefined) throw notAnIndex(entry.name);
  const key = named.kind === "key" ? named.key : utf8ToByteString(parseIndexRecord(source.readBlob(entry.oid)).key);
  return { key, state: parsed!.state };
}

/** The key of a file. */
export function readKey(source: Pick<NodeWriter, "readBlob">, entry: TreeEntry): Key {
  return readFile(source, entry).key;
}

/** Label of a directory of the kv-index. Throws CORRUPT where its name is none. */
export function labelOf(name: string): string {
  const label = parseLabelName(name);
  if (label === undefined) throw notAnIndex(name);
  return label;
}

function notAnIndex(name: string): KvError {
  return new KvError("CORRUPT", `the kv-index holds ${JSON.stringify(name)}, which does not belong there`);
}

/** The file of the key named `name` in the node `data`. */
export function findIndexFile(writer: Pick<NodeWriter, "format">, data: Buffer, name: string): IndexState | undefined {
  const found = findByPrefix(writer.format, data, name, (fileName) => isFileOf(fileName, name));
  if (found === undefined || found.mode !== MODE.file) return undefined;
  return { fileName: found.name, oid: found.oid, state: stateOf(found.name) };
}
