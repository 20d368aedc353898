/** `git kv get`: the value of a key, byte for byte. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { isExpired } from "../kv/expiry.ts";
import { type Key, keyText, parseKey } from "../kv/key.ts";
import { type FoundKey, findKey, hasExpired, inlineValue } from "../kv/read.ts";
import { parseReadFrom, stateFrom } from "../kv/read-from.ts";
import type { NamespaceState } from "../kv/state.ts";
import { facts, jsonValue } from "../kv/value-record.ts";
import type { Workspace } from "../kv/workspace.ts";
import { formatTime } from "../time.ts";
import { withReader } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, args, out } = context;
  const keys = args.list("key").map(parseKey);
  const single = [flags.value("output"), flags.value("range")].some((value) => value !== undefined);
  if (keys.length > 1 && (single || !(out.json || flags.value("output-dir") !== undefined))) {
    throw new KvError(
      "USAGE",
      single ? "--output and --range go with one key" : "several keys need --json or --output-dir",
    );
  }
  await withReader(context, (workspace) => showAll(context, workspace, keys));
}

async function showAll(context: Context, workspace: Workspace, keys: readonly Key[]): Promise<void> {
  const { flags, out } = context;
  const from = parseReadFrom(flags.value("read-from") ?? workspace.repo.config.get("kv.readFrom") ?? "local");
  const newest = await stateFrom(workspace, from);
  const at = flags.value("at");
  // Loaded here: most read the newest state.
  const then = at === undefined ? undefined : await (await import("./read-at.ts")).readAt(workspace, newest, at);
  const state = then?.state ?? newest;
  if (workspace.copy !== undefined) await (await import("../kv/copy-keys.ts")).bringKeys(workspace.copy, state, keys);
  for (const key of keys) await show(context, workspace, await find(context, workspace, state, key, then?.now));
  // For eyes only: a prompt right behind a value is hard to read.
  const isPrinted = !out.json && !toFile(context);
  if (out.answersTerminal && isPrinted && !flags.on("raw")) out.line("");
}

/** What the state has of `key` now, or `then`; an expired key is there where the caller or the policy lets it be. */
async function find(
  { flags }: Context,
  workspace: Workspace,
  state: NamespaceState,
  key: Key,
  then: number | undefined,
): Promise<FoundKey> {
  const allowExpired = flags.on("allow-expired");
  const found = findKey(workspace.repo.objects, state, key, { now: 0, allowExpired: true });
  const { expires } = found.meta;
  if (expires === undefined) return found;
  // Loaded here: most keys never expire.
  const { hidesExpired, warnOfLedgerTime } = await import("../kv/read-expiry.ts");
  if (then === undefined) warnOfLedgerTime(workspace, state);
  if (!isExpired(expires, then ?? workspace.now()) || allowExpired) return found;
  if (await hidesExpired(workspace, state)) throw hasExpired(key, expires);
  workspace.around.warn(
    `${JSON.stringify(keyText(key))} expired at ${formatTime(expires)}; the policy lets it be read`,
  );
  return found;
}

async function show(context: Context, workspace: Workspace, found: FoundKey): Promise<void> {
  const { flags, out } = context;
  const isPlain = found.meta.type === "inline" && flags.value("range") === undefined && !toFile(context);
  if (!isPlain) {
    // Loaded here: a small value is printed without it.
    const { showPart } = await import("./get-part.ts");
    return showPart(context, workspace, found);
  }
  const data = inlineValue(workspace.repo.objects, found);
  if (out.json) out.record(await describe(found, data));
  else out.answer(data);
}

/** Whether the value goes to a file. */
function toFile({ flags }: Context): boolean {
  return flags.value("output") !== undefined || flags.value("output-dir") !== undefined;
}

/** A value with what is known of it. Throws CORRUPT where the etag that is shown is not the value's. */
async function describe(found: FoundKey, data: Buffer): Promise<object> {
  // Loaded here: a plain get does without BLAKE3.
  const { etagOf } = await import("../kv/etag.ts");
  if (etagOf(data) !== found.meta.etag) {
    throw new KvError("CORRUPT", `the value of ${JSON.stringify(keyText(found.key))} is not the one its etag names`);
  }
  return { key: keyText(found.key), ...jsonValue(data), ...facts(found) };
}
