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
import { type Metadata, parseIndexRecord } from "../kv/record.ts";
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

interface Row {
  readonly record: ReturnType<typeof parseIndexRecord>;
  /** Of a live key. */
  readonly meta?: Metadata;
  readonly pieces?: number | undefined;
}

function readRow(objects: ObjectSource, state: NamespaceState, entry: IndexEntry): Row {
  const record = parseIndexRecord(readAs(objects, entry.oid, "blob"));
  if (record.kind === "deleted") return { record };
  const found = findKey(objects, state, entry.key, { now: 0, allowExpired: true });
  const pieces = record.type === "chunked" ? readManifest(objects, found).chunks.length : undefined;
  return { record, meta: found.meta, pieces };
}

function showRow({ flags, out }: Context, entry: IndexEntry, { record, meta, pieces }: Row): void {
  const key = keyText(entry.key);
  const line = (...columns: (string | number)[]): void =>
    out.answer(columns.join("\t") + (flags.on("nul") ? "\0" : "\n"));
  if (record.kind === "deleted" || meta === undefined) {
    if (out.json) out.record({ key, deleted: true, rev: record.rev });
    else line("-", "deleted", record.rev, "-", "-", "-", key);
    return;
  }
  const { size, type, rev, oid, ctype } = record;
  const { etag, expires } = meta;
  if (out.json) out.record({ key, size, type, rev, ctype, oid, etag, pieces, expires });
  else line(size, type, rev, expires === undefined ? "-" : formatTime(expires), etag, pieces ?? "-", key);
}
