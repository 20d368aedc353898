/** Reads a value whole, however it is stored. */

import type { ObjectSource } from "../../src/gitwire/object/object.ts";
import { readManifest } from "../../src/kv/chunked-value.ts";
import type { Key } from "../../src/kv/key.ts";
import { type FoundKey, findKey, inlineValue, type ReadOptions } from "../../src/kv/read.ts";
import type { NamespaceState } from "../../src/kv/state.ts";

export function readValue(
  objects: ObjectSource,
  state: NamespaceState,
  key: Key,
  options: ReadOptions,
): FoundKey & { readonly data: Buffer } {
  const found = findKey(objects, state, key, options);
  if (found.meta.type === "inline") return { ...found, data: inlineValue(objects, found) };
  const pieces = readManifest(objects, found).chunks.map(({ oid }) => objects.read(oid)!.data);
  return { ...found, data: Buffer.concat(pieces) };
}
