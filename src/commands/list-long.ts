/**
 * `git kv list --long`: size, type, revision, expiry, etag and pieces of each key, with tabs between. Beside the kv-index it reads
 * the key's metadata, and of a value in pieces the manifest; never a value.
 */

import type { Context } from "../cli/context.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import { readManifest } from "../kv/chunked-value.ts";
import type { IndexEntry } from "../kv/index-list.ts";
import { keyText } from "../kv/key.ts";
import { type FoundKey, findKey } from "../kv/read.ts";
import { parseIndexRecord } from "../kv/record.ts";
import type { RemoteCopy } from "../kv/remote-copy.ts";
import type { NamespaceState } from "../kv/state.ts";
import { formatTime } from "../time.ts";

/** Prints keys of a remote that is read without a clone. */
export async function showRemote(
  context: Context,
  copy: RemoteCopy,
  state: NamespaceState,
  entries: readonly IndexEntry[],
): Promise<void> {
  const { objects } = copy.repo;
  await copy.gather(entries.map((entry) => () => readRow(objects, state, entry)));
  for (const entry of entries) await copy.through(() => showLong(context, objects, state, entry));
}

/** Prints one key. What there is none of is "-". */
export function showLong(context: Context, objects: ObjectSource, state: NamespaceState, entry: IndexEntry): void {
  showRow(context, entry, readRow(objects, state, entry));
}

/** What is known of a key: of a deleted one its last revision, of a live one the rest. */
type Row =
  | { readonly kind: "deleted"; readonly rev: number }
  | { readonly kind: "live"; readonly found: FoundKey; readonly pieces: number | undefined };

function readRow(objects: ObjectSource, state: NamespaceState, { key, state: { kind }, oid }: IndexEntry): Row {
  if (kind === "deleted") return { kind, rev: parseIndexRecord(readAs(objects, oid, "blob")).rev };
  const found = findKey(objects, state, key, { now: 0, allowExpired: true });
  return {
    kind,
    found,
    pieces: found.meta.type === "chunked" ? readManifest(objects, found).chunks.length : undefined,
  };
}

function showRow({ flags, out }: Context, entry: IndexEntry, row: Row): void {
  const key = keyText(entry.key);
  const line = (...columns: (string | number)[]): void =>
    out.answer(columns.join("\t") + (flags.on("nul") ? "\0" : "\n"));
  if (row.kind === "deleted") {
    if (out.json) out.record({ key, deleted: true, rev: row.rev });
    else line("-", "deleted", row.rev, "-", "-", "-", out.foreign(key));
    return;
  }
  const { found, pieces } = row;
  const { size, type, rev, ctype, etag, expires } = found.meta;
  if (out.json) out.record({ key, size, type, rev, ctype, oid: found.oid, etag, pieces, expires });
  else line(size, type, rev, expires === undefined ? "-" : formatTime(expires), etag, pieces ?? "-", out.foreign(key));
}
