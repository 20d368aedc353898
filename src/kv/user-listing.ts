/** Listings for programs: the keys of a state one by one, with what is known of each where that is asked for. */

import { readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { TimeSlice } from "../time-slice.ts";
import { entryFilter } from "./entry-filter.ts";
import { type IndexEntry, type ListRange, listIndex } from "./index-list.ts";
import { keyText } from "./key.ts";
import { listLedger } from "./ledger-list.ts";
import { findKey } from "./read.ts";
import type { Metadata } from "./record.ts";
import { parseIndexRecord } from "./record.ts";
import type { NamespaceState } from "./state.ts";
import { demand, parseUserKey, parseUserPrefix } from "./user-operation.ts";
import type { ListOptions } from "./user-options.ts";
import type { Workspace } from "./workspace.ts";

/** One key of a listing. */
export interface KvEntry {
  readonly key: string;
  readonly expires: Date | undefined;
  readonly deleted: boolean;
  /** With `long`. */
  readonly rev?: number;
  /** With `long`, of a key that is not deleted. */
  readonly meta?: Metadata;
  /** With `long`: the blob that holds the value or its manifest, which is what a condition names. */
  readonly blob?: Oid;
}

/** The keys of `state`, read as of `moment` (Unix seconds; undefined: now). @internal */
export async function* listKeys(
  workspace: Workspace,
  state: NamespaceState,
  moment: number | undefined,
  options: ListOptions,
): AsyncGenerator<KvEntry, void, undefined> {
  const { prefix = "", after, limit = Number.POSITIVE_INFINITY, long = false } = options;
  const { deleted = false, expired = false, allowExpired = false } = options;
  demand(
    limit === Number.POSITIVE_INFINITY || (Number.isSafeInteger(limit) && limit >= 0),
    "limit is not a whole number",
  );
  const range = { prefix: parseUserPrefix(prefix), ...(after !== undefined && { after: parseUserKey(after) }) };
  const shows = entryFilter(workspace, state, { deleted, expired, allowExpired, moment });
  const slice = new TimeSlice(1);
  let left = limit;
  for await (const page of pagesOf(workspace, state, range, limit)) {
    const shown: IndexEntry[] = [];
    for (const entry of page) {
      if (shown.length === left) break;
      if (await shows(entry)) shown.push(entry);
    }
    const look = (entry: IndexEntry) => (): KvEntry => (long ? longEntry(workspace, state, entry) : shortEntry(entry));
    if (long) await workspace.copy?.gather(shown.map(look));
    for (const entry of shown) {
      if (slice.isOver()) await slice.pause(workspace.around.signal);
      yield look(entry)();
    }
    left -= shown.length;
    if (left === 0) return;
  }
}

/** Entries that are handed on together: as many as a remote is asked for at a time, or one that is here. */
async function* pagesOf(
  { repo: { objects }, copy }: Workspace,
  { ledger, meta }: NamespaceState,
  range: ListRange,
  limit: number,
): AsyncGenerator<readonly IndexEntry[], void, undefined> {
  const root = ledger.indexTree;
  if (copy !== undefined) return yield* (await import("./copy-listing.ts")).listPages(copy, root, range, limit);
  for (const entry of objects.has(root) ? listIndex(objects, root, range) : listLedger(objects, meta, range))
    yield [entry];
}

function shortEntry({ key, state: is }: IndexEntry): KvEntry {
  const expires = is.kind === "live" && is.expires !== undefined ? new Date(is.expires * 1000) : undefined;
  return { key: keyText(key), expires, deleted: is.kind === "deleted" };
}

function longEntry({ repo: { objects } }: Workspace, state: NamespaceState, entry: IndexEntry): KvEntry {
  const short = shortEntry(entry);
  if (short.deleted) return { ...short, rev: parseIndexRecord(readAs(objects, entry.oid, "blob")).rev };
  const { meta, oid: blob } = findKey(objects, state, entry.key, { now: 0, allowExpired: true });
  return { ...short, rev: meta.rev, meta, blob };
}
