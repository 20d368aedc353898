/** `git kv list`: keys in byte order, from the kv-index alone. */

import { utf8ToByteString } from "../bytes.ts";
import type { Context } from "../cli/context.ts";
import { entryFilter } from "../kv/entry-filter.ts";
import { type IndexEntry, type ListRange, listIndex } from "../kv/index-list.ts";
import { keyText, parseKey } from "../kv/key.ts";
import { stateToRead } from "../kv/read-from.ts";
import type { NamespaceState } from "../kv/state.ts";
import type { Workspace } from "../kv/workspace.ts";
import { TimeSlice } from "../time-slice.ts";
import { parseCount } from "./count.ts";
import { withReader } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags } = context;
  const limit = parseCount("--limit", flags.value("limit"));
  await withReader(context, (workspace) => showAll(context, workspace, limit));
}

async function showAll(context: Context, workspace: Workspace, limit: number): Promise<void> {
  const { flags, out, signal } = context;
  const prefix = utf8ToByteString(flags.value("prefix") ?? "");
  const after = flags.value("after");
  const { objects } = workspace.repo;
  const newest = await stateToRead(workspace, flags.value("read-from"));
  const at = flags.value("at");
  // Loaded here: most read the newest state.
  const then = at === undefined ? undefined : await (await import("../kv/at.ts")).momentAt(workspace, newest, at);
  const state = then?.state ?? newest;
  const shows = entryFilter(workspace, state, {
    deleted: flags.on("deleted"),
    expired: flags.on("expired"),
    allowExpired: flags.on("allow-expired"),
    moment: then?.now,
  });
  const range = { prefix, ...(after !== undefined && { after: parseKey(after) }) };
  // Loaded here: names alone are read from the kv-index, without a look at any value.
  const long = flags.on("long") ? await import("./list-long.ts") : undefined;
  const slice = new TimeSlice();
  const counts = flags.on("count");
  const show = shower(context);
  let count = 0;
  // Where the keys themselves do not show how far it is.
  const isSilent = counts || !out.answersTerminal;
  let seen = 0;
  for await (const page of await pagesOf(workspace, state, range, limit)) {
    const listed = [];
    for (const entry of page) {
      seen++;
      if (slice.isOver()) {
        if (isSilent) out.progress(`listing: ${seen} keys`);
        await slice.pause(signal);
      }
      const shown = shows(entry);
      if (!(shown instanceof Promise ? await shown : shown)) continue;
      if (count === limit) break;
      count++;
      if (counts) continue;
      if (long === undefined) show(entry);
      else if (workspace.copy === undefined) long.showLong(context, objects, state, entry);
      else listed.push(entry);
    }
    if (listed.length > 0) await long?.showRemote(context, workspace.copy!, state, listed);
    if (count === limit) break;
  }
  out.progress("");
  if (!counts) return;
  if (out.json) out.record({ count });
  else out.line(String(count));
}

/** All entries at once, or page by page as they are brought from a remote. Where an archive came without its kv-index, the ledger tells. */
async function pagesOf({ repo, copy }: Workspace, { ledger, meta }: NamespaceState, range: ListRange, limit: number) {
  const root = ledger.indexTree;
  if (copy !== undefined) return (await import("../kv/copy-listing.ts")).listPages(copy, root, range, limit);
  if (repo.objects.has(root)) return [listIndex(repo.objects, root, range)];
  return [(await import("../kv/ledger-list.ts")).listLedger(repo.objects, meta, range)];
}

/** What shows an entry as the flags say. */
function shower({ flags, out }: Context): (entry: IndexEntry) => void {
  const end = flags.on("nul") ? "\0" : "\n";
  return ({ key: bytes, state }) => {
    const key = keyText(bytes);
    if (!out.json) return out.answer(out.foreign(key) + end);
    const expires = state.kind === "live" ? state.expires : undefined;
    const deleted = state.kind === "deleted" ? { deleted: true } : {};
    out.record({ key, expires, ...deleted });
  };
}
