/** `git kv set`: sets one key in one atomic commit. */

import * as fs from "node:fs";
import * as path from "node:path";
import type { Context } from "../cli/context.ts";
import { KvError, toKvError } from "../errors.ts";
import type { ValueInput } from "../kv/batch.ts";
import { commit } from "../kv/commit.ts";
import { parseKey } from "../kv/key.ts";
import { expectedTree, keyCondition, openToWrite, setOptions, showOutcome } from "./conditions.ts";

export async function run(context: Context): Promise<void> {
  const { flags, args } = context;
  const key = parseKey(args.one("key"));
  const value = readInput(context);
  const workspace = await openToWrite(context);
  const { format } = workspace.repo;
  const line = {
    op: "set" as const,
    key,
    value,
    options: setOptions(flags, workspace.now()),
    condition: keyCondition(format, flags, flags.on("if-absent")),
  };
  const options = { message: flags.value("message"), expectTree: expectedTree(format, flags) };
  await showOutcome(context, workspace, await commit(workspace, options, (use) => use(line)));
}

/** The value: an argument, `--file PATH`, or standard input for `-`. */
function readInput({ args, flags, stdin, cwd }: Context): ValueInput {
  const given = args.optional("value");
  const file = flags.value("file");
  if (given !== undefined && file !== undefined) throw new KvError("USAGE", "a value and --file are both given");
  if (file !== undefined) return { kind: "file", path: readable(path.resolve(cwd, file), file) };
  if (given === undefined) {
    throw new KvError("USAGE", "set needs a value", {
      hint: "git kv set KEY VALUE, set KEY --file PATH, or set KEY - for standard input",
    });
  }
  return given === "-" ? { kind: "stream", read: () => stdin.read() } : { kind: "bytes", data: Buffer.from(given) };
}

/** `file` where it is a file or a pipe that can be read; `name` is what the user called it. Throws INPUT_INVALID. */
export function readable(file: string, name: string): string {
  try {
    const stat = fs.statSync(file);
    if (stat.isDirectory()) throw new KvError("INPUT_INVALID", `${name} is a folder, not a file`);
    if (stat.isSocket() || stat.isBlockDevice())
      throw new KvError("INPUT_INVALID", `${name} is neither a file nor a pipe`);
    fs.accessSync(file, fs.constants.R_OK);
    return file;
  } catch (error) {
    if (error instanceof KvError) throw error;
    throw new KvError("INPUT_INVALID", `cannot read ${name}: ${toKvError(error).message}`);
  }
}
