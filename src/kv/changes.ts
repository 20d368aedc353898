/** The keys a transaction changed, found by comparing the two ledger trees by the ids of their subtrees: O(changes). */

import { utf8ToByteString } from "../bytes.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import { LIMITS } from "../limits.ts";
import { type Key, parseName } from "./key.ts";
import { trieKeyName } from "./ledger-trie.ts";
import { type Metadata, parseMetadata } from "./record.ts";
import type { NamespaceState } from "./state.ts";
import { diffTries } from "./trie-diff.ts";

/** One key's change; `meta` is what the key has now, undefined where it is deleted. */
export interface ChangedKey {
  readonly key: Key;
  /** The key's revision after the change: a deletion counts as one. */
  readonly rev: number;
  readonly meta: Metadata | undefined;
}

/**
 * What changed from `before` (undefined: nothing was there) to `after`, of keys that begin with `prefix`, in key order. Throws
 * KEY_INVALID, CORRUPT and so on where a tree is not one of ours.
 */
export function changesBetween(
  objects: ObjectSource,
  before: NamespaceState | undefined,
  after: NamespaceState,
  prefix = "",
): ChangedKey[] {
  const changes: ChangedKey[] = [];
  for (const change of diffTries(objects, "meta", before?.meta, after.meta, LIMITS.packObjects)) {
    const name = trieKeyName("meta", change.fileName);
    const parsed = name === undefined ? undefined : parseName(name);
    // A key that its name tells need not be read to be left out.
    if (parsed?.kind === "key" && !parsed.key.startsWith(prefix)) continue;
    const record = parseMetadata(readAs(objects, (change.after ?? change.before)!, "blob"));
    const key = parsed?.kind === "key" ? parsed.key : (utf8ToByteString(record.key) as Key);
    if (!key.startsWith(prefix)) continue;
    const isLive = change.after !== undefined;
    changes.push({ key, rev: isLive ? record.rev : record.rev + 1, meta: isLive ? record : undefined });
  }
  return changes.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
}
