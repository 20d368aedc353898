/** Which parts of the key space a transaction changed. */

import { KvError } from "../../errors.ts";
import { type ObjectSource, readAs } from "../../gitwire/object/object.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import { type Key, keyText, parseName } from "../../kv/key.ts";
import { trieKeyName } from "../../kv/ledger-trie.ts";
import { parseMetadata } from "../../kv/record.ts";
import { stateAt } from "../../kv/state.ts";
import { diffTries, type FileChange } from "../../kv/trie-diff.ts";

/** Changed keys that are looked at, and prefixes that are told. */
const MOST_KEYS = 10_000;
const MOST_PREFIXES = 100;

/**
 * The prefixes of the keys that differ between two ledger commits, sorted: a key's prefix ends with its first `:` or `/`, and is
 * "" where it has neither. undefined where that is too much to say.
 */
export function changedPrefixes(objects: ObjectSource, before: Oid | undefined, after: Oid): string[] | undefined {
  const meta = (oid: Oid | undefined): Oid | undefined => (oid === undefined ? undefined : stateAt(objects, oid).meta);
  let changes: FileChange[];
  try {
    changes = diffTries(objects, "meta", meta(before), meta(after), MOST_KEYS);
  } catch (error) {
    if (error instanceof KvError && error.code === "TXN_TOO_LARGE") return undefined;
    throw error;
  }
  const prefixes = new Set(changes.map((change) => prefixOf(keyOf(objects, change))));
  return prefixes.size > MOST_PREFIXES ? undefined : [...prefixes].sort();
}

function keyOf(objects: ObjectSource, { fileName, before, after }: FileChange): string {
  const named = parseName(trieKeyName("meta", fileName) ?? "");
  if (named?.kind === "key") return keyText(named.key satisfies Key);
  // The name of a long key is cut; its metadata has it whole.
  return parseMetadata(readAs(objects, (after ?? before)!, "blob")).key;
}

function prefixOf(key: string): string {
  return /^[^:/]*[:/]/.exec(key)?.[0] ?? "";
}
