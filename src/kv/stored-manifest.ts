/** The manifests of a transaction, as a replay reads them: none of them is believed to be one. */

import { KvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { LIMITS } from "../limits.ts";
import { type Key, keyDigits, keyName, keyText } from "./key.ts";
import { findInTrie, trieFileName } from "./ledger-trie.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import type { KeyChange } from "./operation.ts";
import type { NamespaceState } from "./state.ts";

/** A piece or manifest is not what it says. */
export const chunkMismatch = (text: string): KvError => new KvError("CHUNK_MISMATCH", text);

/** A manifest that a transaction brought. */
export interface NewManifest {
  readonly key: Key;
  readonly oid: Oid;
  /** Whether its pieces are read; left out: they are. */
  readonly isRead?: boolean;
}

/** The manifests that the changes of a transaction on `base` brought. */
export function newManifests(
  objects: ObjectSource,
  base: Pick<NamespaceState, "data"> | undefined,
  changes: readonly KeyChange[],
): NewManifest[] {
  return changes.flatMap(({ key, value, before }) => {
    if (value?.type !== "chunked") return [];
    const isOld = before === "chunked" && manifestOf(objects, base, key) === value.oid;
    return isOld ? [] : [{ key, oid: value.oid }];
  });
}

function manifestOf(objects: ObjectSource, state: Pick<NamespaceState, "data"> | undefined, key: Key): Oid | undefined {
  if (state?.data === undefined) return undefined;
  const digits = keyDigits(key);
  return findInTrie(objects, state.data, digits, [trieFileName("manifest", keyName(key, digits))])?.oid;
}

/** The manifest of `key` in the blob `oid`. Throws CHUNK_MISMATCH where it is none, or speaks of another key. */
export function readManifest(objects: ObjectSource, key: Key, oid: Oid): Manifest {
  const text = JSON.stringify(keyText(key));
  const size = objects.size?.(oid) ?? 0;
  if (size > LIMITS.manifestBytes) {
    throw chunkMismatch(`the manifest of ${text} has ${size} bytes, at most ${LIMITS.manifestBytes} are allowed`);
  }
  const data = readAs(objects, oid, "blob");
  let manifest: Manifest;
  try {
    manifest = parseManifest(objects.format, data);
  } catch (error) {
    if (!(error instanceof KvError && error.code === "CORRUPT")) throw error;
    throw chunkMismatch(`${text}: ${error.message}`);
  }
  if (manifest.key !== keyText(key))
    throw chunkMismatch(`the manifest of ${text} is that of ${JSON.stringify(manifest.key)}`);
  return manifest;
}

/** A piece in a message: `index` is its place in the manifest, from 0. */
export function pieceName(key: Key, index: number, sha256: string): string {
  return `piece ${index + 1} (${sha256}) of the value of ${JSON.stringify(keyText(key))}`;
}
