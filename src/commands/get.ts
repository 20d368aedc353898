/** `git kv get`: the value of a key, byte for byte. */

import * as fs from "node:fs";
import * as path from "node:path";
import { decodeUtf8 } from "../bytes.ts";
import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { keyText, parseKey } from "../kv/key.ts";
import { readValue, type Value } from "../kv/read.ts";
import { parseReadFrom, stateFrom } from "../kv/read-from.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, args, out, cwd } = context;
  const keys = args.list("key").map(parseKey);
  if (keys.length > 1 && !out.json) throw new KvError("USAGE", "several keys need --json");
  const workspace = openWorkspace(context);
  const from = parseReadFrom(flags.value("read-from") ?? workspace.repo.config.get("kv.readFrom") ?? "local");
  const state = await stateFrom(workspace, from);
  const options = { now: workspace.now(), allowExpired: flags.on("allow-expired") };
  for (const key of keys) {
    const value = readValue(workspace.repo.objects, state, key, options);
    const file = flags.value("output");
    if (file !== undefined) writeWhole(path.resolve(cwd, file), value.data);
    else if (out.json) out.record(await describe(keyText(key), value));
    else out.answer(value.data);
  }
  // For eyes only: a prompt right behind a value is hard to read.
  if (out.answersTerminal && !out.json && !flags.on("raw") && flags.value("output") === undefined) out.line("");
}

/** A value with what is known of it. Throws CORRUPT where the etag that is shown is not the value's. */
async function describe(key: string, { data, oid, meta }: Value): Promise<object> {
  // Loaded here: a plain get does without BLAKE3.
  const { etagOf } = await import("../kv/etag.ts");
  if (etagOf(data) !== meta.etag) {
    throw new KvError("CORRUPT", `the value of ${JSON.stringify(key)} is not the one its etag names`);
  }
  const { size, etag, ctype, rev, expires, labels } = meta;
  const text = decodeUtf8(data);
  const value = text === undefined ? { value_b64: data.toString("base64") } : { value: text };
  return { key, ...value, oid, size, etag, ctype, rev, expires, labels };
}

/** Writes a file whole or not at all. */
function writeWhole(file: string, data: Buffer): void {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    fs.writeFileSync(temporary, data, { flag: "wx" });
    fs.renameSync(temporary, file);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}
