/** `git kv list`: keys in byte order, from the kv-index alone. */

import { utf8ToByteString } from "../bytes.ts";
import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { type IndexEntry, listIndex } from "../kv/index-list.ts";
import { keyText, parseKey } from "../kv/key.ts";
import { parseReadFrom, stateFrom } from "../kv/read-from.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out } = context;
  const limit = parseLimit(flags.value("limit"));
  const prefix = utf8ToByteString(flags.value("prefix") ?? "");
  const after = flags.value("after");
  const workspace = openWorkspace(context);
  const { objects, config } = workspace.repo;
  const state = await stateFrom(
    workspace,
    parseReadFrom(flags.value("read-from") ?? config.get("kv.readFrom") ?? "local"),
  );
  const shows = filter(context, workspace.now());
  const range = { prefix, ...(after !== undefined && { after: parseKey(after) }) };
  // Loaded here: names alone are read from the kv-index, without a look at any value.
  const long = flags.on("long") ? (await import("./list-long.ts")).showLong : undefined;
  let count = 0;
  for (const entry of listIndex(objects, state.ledger.indexTree, range)) {
    if (!shows(entry)) continue;
    if (count === limit) break;
    count++;
    if (flags.on("count")) continue;
    if (long === undefined) show(context, entry);
    else long(context, objects, state, entry);
  }
  if (!flags.on("count")) return;
  if (out.json) out.record({ count });
  else out.line(String(count));
}

function parseLimit(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new KvError("USAGE", `--limit: '${text}' is not a number`);
}

/** Live keys; with --deleted and --expired those instead or as well. */
function filter({ flags }: Context, now: number): (entry: IndexEntry) => boolean {
  const [deleted, expired] = [flags.on("deleted"), flags.on("expired")];
  return ({ state }) => {
    if (state.kind === "deleted") return deleted;
    if (state.expires !== undefined && state.expires <= now) return expired;
    return !deleted && !expired;
  };
}

function show({ flags, out }: Context, entry: IndexEntry): void {
  const key = keyText(entry.key);
  const expires = entry.state.kind === "live" ? entry.state.expires : undefined;
  const deleted = entry.state.kind === "deleted" ? { deleted: true } : {};
  if (out.json) out.record({ key, expires, ...deleted });
  else out.answer(key + (flags.on("nul") ? "\0" : "\n"));
}
