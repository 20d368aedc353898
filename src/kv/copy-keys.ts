/** Brings what a read of keys needs from a remote that is read without a clone: one request a level of the tries, for all keys together. */

import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import { type Key, keyDigits, keyName } from "./key.ts";
import { dataFileNames, findInTrie, trieFileName } from "./ledger-trie.ts";
import type { RemoteCopy } from "./remote-copy.ts";
import type { NamespaceState } from "./state.ts";

/** Keys that are brought together; each holds on to a few hundred bytes. */
const TOGETHER = 10_000;

/** Brings the metadata of `keys`, and their values or manifests unless `only` says otherwise. A key that is not there is no error here. */
export async function bringKeys(
  copy: RemoteCopy,
  state: NamespaceState,
  keys: readonly Key[],
  only?: "metadata",
): Promise<void> {
  const { objects } = copy.repo;
  for (let from = 0; from < keys.length; from += TOGETHER) {
    const works = keys.slice(from, from + TOGETHER).flatMap((key) => keyWorks(objects, () => state, key, only));
    await copy.gather(works);
  }
}

/** What reads the metadata of a key in a state, and its value or manifest. */
export function keyWorks(
  objects: ObjectSource,
  state: () => NamespaceState,
  key: Key,
  only?: "metadata",
): readonly (() => void)[] {
  const digits = keyDigits(key);
  const find = (trie: "meta" | "data", names: readonly string[]) => (): void => {
    const root = state()[trie];
    const file = root === undefined ? undefined : findInTrie(objects, root, digits, names);
    if (file !== undefined) readAs(objects, file.oid, "blob");
  };
  const meta = find("meta", [trieFileName("meta", keyName(key, digits))]);
  return only === undefined ? [meta, find("data", dataFileNames(key, digits))] : [meta];
}
