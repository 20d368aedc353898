/** `git kv get`: the value of a key, byte for byte. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { findLive } from "../kv/find-live.ts";
import { type Key, keyText, parseKey } from "../kv/key.ts";
import { type FoundKey, inlineValue } from "../kv/read.ts";
import { stateToRead } from "../kv/read-from.ts";
import { facts, jsonValue } from "../kv/value-record.ts";
import type { Workspace } from "../kv/workspace.ts";
import { withReader } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, args, out } = context;
  const keys: Key[] = [];
  for (const text of args.list("key")) keys.push(parseKey(text));
  const single = flags.value("output") !== undefined || flags.value("range") !== undefined;
  if (keys.length > 1 && (single || !(out.json || flags.value("output-dir") !== undefined))) {
    throw new KvError(
      "USAGE",
      single ? "--output and --range go with one key" : "several keys need --json or --output-dir",
    );
  }
  if (flags.value("output") !== undefined && flags.value("output-dir") !== undefined) {
    throw new KvError("USAGE", "--output and --output-dir do not go together");
  }
  await withReader(context, (workspace) => showAll(context, workspace, keys));
}

async function showAll(context: Context, workspace: Workspace, keys: readonly Key[]): Promise<void> {
  const { flags, out } = context;
  const newest = await stateToRead(workspace, flags.value("read-from"));
  const at = flags.value("at");
  // Loaded here: most read the newest state.
  const then = at === undefined ? undefined : await (await import("../kv/at.ts")).momentAt(workspace, newest, at);
  const state = then?.state ?? newest;
  if (workspace.copy !== undefined) await (await import("../kv/copy-keys.ts")).bringKeys(workspace.copy, state, keys);
  const options = { moment: then?.now, allowExpired: flags.on("allow-expired") };
  for (const key of keys) await show(context, workspace, await findLive(workspace, state, key, options));
  // For eyes only: a prompt right behind a value is hard to read.
  const isPrinted = !out.json && !toFile(context);
  if (out.answersTerminal && isPrinted && !flags.on("raw")) out.line("");
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

/** Whether the value goes to a file: `--output -` is standard output. */
function toFile({ flags }: Context): boolean {
  return (flags.value("output") ?? "-") !== "-" || flags.value("output-dir") !== undefined;
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
