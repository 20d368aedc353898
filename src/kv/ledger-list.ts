/**
 * The live keys of a state, from the ledger's own tree: for states whose kv-index is not here, as in the archive of an epoch. All
 * metadata of the range are read, since the order of the trie is not that of keys.
 */

import { compare, utf8ToByteString } from "../bytes.ts";
import { KvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { MODE, parseTree } from "../gitwire/object/tree.ts";
import { LIMITS } from "../limits.ts";
import type { IndexEntry, ListRange } from "./index-list.ts";
import { parseName } from "./key.ts";
import { trieKeyName } from "./ledger-trie.ts";
import { parseMetadata } from "./record.ts";

/** Digits of a key's place in the trie. */
const DEPTH = 64;

/** Live keys of the range below the metadata trie `root`, in byte order. Throws CORRUPT where it is no such trie. */
export function listLedger(
  objects: ObjectSource,
  root: Oid | undefined,
  { prefix = "", after }: ListRange,
): IndexEntry[] {
  const found: IndexEntry[] = [];
  const walk = (oid: Oid, depth: number): void => {
    if (depth > DEPTH) throw new KvError("CORRUPT", "meta/ is deeper than any key's place");
    for (const { mode, name, oid: child } of parseTree(objects.format, readAs(objects, oid, "tree"))) {
      if (mode === MODE.tree) walk(child, depth + 1);
      else file(name, child);
    }
  };
  const file = (fileName: string, oid: Oid): void => {
    const name = trieKeyName("meta", fileName);
    const parsed = name === undefined ? undefined : parseName(name);
    if (parsed === undefined)
      throw new KvError("CORRUPT", `meta/ holds ${JSON.stringify(fileName)}, which does not belong there`);
    const fits = (key: string): boolean => key.startsWith(prefix) && (after === undefined || key > after);
    if (parsed.kind === "key" && !fits(parsed.key)) return;
    const meta = parseMetadata(readAs(objects, oid, "blob"));
    const key = parsed.kind === "key" ? parsed.key : utf8ToByteString(meta.key);
    if (!fits(key)) return;
    if (found.length >= LIMITS.packObjects)
      throw new KvError("LIMIT_EXCEEDED", `there are more than ${found.length} keys`);
    found.push({ key, state: { kind: "live", expires: meta.expires }, oid });
  };
  if (root !== undefined) walk(root, 0);
  return found.sort((a, b) => compare(a.key, b.key));
}
