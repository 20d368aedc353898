/** The last revision of a key in a state: its metadata, or what the kv-index says of a deleted one (docs/formats/data-format.md, sections 4 and 5). */

import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { findInIndex } from "./index-list.ts";
import { type Key, keyDigits, keyName } from "./key.ts";
import { findInTrie, trieFileName } from "./ledger-trie.ts";
import { type Metadata, parseIndexRecord, parseMetadata } from "./record.ts";
import type { NamespaceState } from "./state.ts";

/** What a state says of a key that was ever set: its last revision. */
export interface KeyRecord {
  /** The ledger commit that the revision's transaction was built on; undefined in the first one. */
  readonly base: Oid | undefined;
  readonly rev: number;
  /** Undefined where it is deleted. */
  readonly meta: Metadata | undefined;
}

/** What `state` says of `key`; undefined where it was never set in this epoch. */
export function recordOf(objects: ObjectSource, state: NamespaceState, key: Key): KeyRecord | undefined {
  const digits = keyDigits(key);
  const name = trieFileName("meta", keyName(key, digits));
  const file = state.meta === undefined ? undefined : findInTrie(objects, state.meta, digits, [name]);
  if (file !== undefined) {
    const meta = parseMetadata(readAs(objects, file.oid, "blob"));
    return { base: meta.base, rev: meta.rev, meta };
  }
  const entry = findInIndex(objects, state.ledger.indexTree, key);
  if (entry?.state.kind !== "deleted") return undefined;
  const record = parseIndexRecord(readAs(objects, entry.oid, "blob"));
  return { base: "base" in record ? record.base : undefined, rev: record.rev, meta: undefined };
}
