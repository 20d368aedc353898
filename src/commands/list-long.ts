/**
 * `git kv list --long`: size, type, revision, expiry, etag and pieces of each key, with tabs between. Beside the kv-index it reads
 * the key's metadata, and of a value in pieces the manifest; never a value.
 */

import type { Context } from "../cli/context.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import { readManifest } from "../kv/chunked-value.ts";
import type { IndexEntry } from "../kv/index-list.ts";
import { keyText } from "../kv/key.ts";
import { findKey } from "../kv/read.ts";
import { parseIndexRecord } from "../kv/record.ts";
import type { NamespaceState } from "../kv/state.ts";
import { formatTime } from "../time.ts";

/** Prints one key. What there is none of is "-". */
export function showLong(
  { flags, out }: Context,
  objects: ObjectSource,
  state: NamespaceState,
  entry: IndexEntry,
): void {
  const key = keyText(entry.key);
  const record = parseIndexRecord(readAs(objects, entry.oid, "blob"));
  const line = (...columns: (string | number)[]): void =>
    out.answer(columns.join("\t") + (flags.on("nul") ? "\0" : "\n"));
  if (record.kind === "deleted") {
    if (out.json) out.record({ key, deleted: true, rev: record.rev });
    else line("-", "deleted", record.rev, "-", "-", "-", key);
    return;
  }
  const { size, type, rev, oid, ctype } = record;
  const found = findKey(objects, state, entry.key, { now: 0, allowExpired: true });
  const { etag, expires } = found.meta;
  const pieces = type === "chunked" ? readManifest(objects, found).chunks.length : undefined;
  if (out.json) out.record({ key, size, type, rev, ctype, oid, etag, pieces, expires });
  else line(size, type, rev, expires === undefined ? "-" : formatTime(expires), etag, pieces ?? "-", key);
}
