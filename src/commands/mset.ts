/** `git kv mset`: a batch of operations in one transaction. */

import * as fs from "node:fs";
import * as path from "node:path";
import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { type BatchContext, BatchReader } from "../kv/batch.ts";
import { commit } from "../kv/commit.ts";
import type { Condition } from "../kv/operation.ts";
import { openFile, sizeOfFile, type ValueSource } from "../kv/value-source.ts";
import type { Workspace } from "../kv/workspace.ts";
import { LIMITS } from "../limits.ts";
import { type ByteReader, readLines } from "../lines.ts";
import { expectedTree, openToWrite, showOutcome } from "./conditions.ts";
import { readable } from "./set.ts";

export async function run(context: Context): Promise<void> {
  const { flags, cwd } = context;
  const name = flags.value("file");
  if (name === undefined)
    throw new KvError("USAGE", "mset needs --file BATCH.jsonl", { hint: "--file - reads standard input" });
  const input = openBatch(context, name);
  const workspace = await openToWrite(context);
  const { format } = workspace.repo;
  const base = name === "-" ? cwd : path.dirname(path.resolve(cwd, name));
  const options = {
    message: flags.value("message"),
    expectTree: expectedTree(format, flags),
    ignoreMissing: flags.on("ignore-missing"),
    bytes: input.size,
  };
  const ifAbsent = flags.on("if-absent");
  const refusal = await refusalByPolicy(workspace);
  const outcome = await commit(workspace, options, async (use) => {
    const reader = new BatchReader(
      { format, now: workspace.now(), file: (file) => readable(path.resolve(base, file), file), refusal },
      (line) => use(ifAbsent && line.op === "set" ? { ...line, condition: line.condition ?? ABSENT } : line),
    );
    await readLines(input.read, LIMITS.batchLine, (line) => reader.add(line));
    reader.finish();
  });
  await showOutcome(context, workspace, outcome);
}

/** What the policy this clone knows has against a line; undefined: nothing against any. */
async function refusalByPolicy(workspace: Workspace): Promise<BatchContext["refusal"]> {
  if (!workspace.hasStargate) return undefined;
  const rules = await (await import("../kv/known-rules.ts")).KnownRules.open(workspace);
  if (rules === undefined) return undefined;
  return (line) => {
    if (line.op === "check") return undefined;
    if (line.op === "del") return rules.refusalOf(line.key);
    const { value } = line;
    if (value.kind === "bytes") return rules.refusalOf(line.key, { size: value.data.length, data: value.data });
    return rules.refusalOf(line.key, { size: sizeOfFile(value.path), path: value.path });
  };
}

/** What `--if-absent` demands of each set that has no condition of its own. */
const ABSENT: Condition = { kind: "absent" };

export interface BatchInput {
  readonly read: ByteReader;
  /** Bytes, or a guess. */
  readonly size: number;
}

const CHUNK = 256 * 1024;

/** The batch in the file `name`, or on standard input for `-`. Throws INPUT_INVALID. */
export function openBatch({ stdin, cwd, signal }: Context, name: string): BatchInput {
  if (name === "-") return { read: () => stdin.read(), size: CHUNK };
  const file = readable(path.resolve(cwd, name), name);
  if (sizeOfFile(file) === undefined) return { read: pipeReader(file, signal), size: CHUNK };
  const descriptor = fs.openSync(file, "r");
  const buffer = Buffer.allocUnsafe(CHUNK);
  const read = (): Buffer | undefined => {
    const length = fs.readSync(descriptor, buffer, 0, CHUNK, null);
    if (length > 0) return buffer.subarray(0, length);
    fs.closeSync(descriptor);
    return undefined;
  };
  return { read, size: fs.statSync(file).size };
}

/** Reads a named pipe, which is opened when it is first read: that waits for the other end. */
function pipeReader(file: string, signal: AbortSignal): ByteReader {
  const buffer = Buffer.allocUnsafe(CHUNK);
  let source: ValueSource | undefined;
  return async () => {
    source ??= await openFile(file, signal);
    const length = await source.read(buffer);
    if (length > 0) return buffer.subarray(0, length);
    source.close();
    return undefined;
  };
}
