/** `git kv get` of a value in pieces, of a part of a value, or into a file: the value is streamed, never held whole. */

import * as fs from "node:fs";
import * as path from "node:path";
import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { bringPieces } from "../kv/bring-pieces.ts";
import { type ByteRange, parseRange } from "../kv/byte-range.ts";
import { readManifest, streamValue } from "../kv/chunked-value.ts";
import { keyName, keyText } from "../kv/key.ts";
import type { Manifest } from "../kv/manifest.ts";
import { ProgressMeter } from "../kv/progress-meter.ts";
import { type FoundKey, inlineValue } from "../kv/read.ts";
import { facts, jsonValue } from "../kv/value-record.ts";
import type { Workspace } from "../kv/workspace.ts";
import { OutputFile } from "./output-file.ts";

/** Largest value that is put into one line of JSON. */
const MOST_JSON = 16 * 1024 * 1024;

/** A value, its bytes to be had in order. */
interface Opened {
  /** Undefined: it is stored as one blob. */
  readonly manifest: Manifest | undefined;
  stream(range: ByteRange, use: (bytes: Buffer) => void): Promise<void>;
}

/** Prints the value or a part of it, or writes it to the file that is asked for. */
export async function showPart(context: Context, workspace: Workspace, found: FoundKey): Promise<void> {
  const { flags, out, cwd } = context;
  const { size } = found.meta;
  const given = flags.value("range");
  const range = given === undefined ? { start: 0, end: size } : parseRange(given, size);
  const value = open(workspace, found);
  const about = { ...(given !== undefined && { range: `${range.start}-${range.end - 1}` }) };
  const pieces = value.manifest?.chunks.length;
  const told = showsProgress(context, range.end - range.start);
  const file = targetOf(context, found);
  if (file !== undefined) {
    await writeTo(path.resolve(cwd, file), (use) => value.stream(range, told(use)));
    if (out.json) out.record({ key: keyText(found.key), file, ...about, ...facts(found, pieces) });
    return;
  }
  if (!out.json) {
    const print = (bytes: Buffer): void => {
      out.answer(bytes);
      // The bytes are good until here.
      out.flush();
    };
    // On a terminal the value itself shows how far it is.
    await value.stream(range, out.answersTerminal ? print : told(print));
    return;
  }
  const data = await gather(found, range, value);
  out.record({ key: keyText(found.key), ...jsonValue(data), ...about, ...facts(found, pieces) });
}

/** Tells how much of `size` bytes has been used. */
function showsProgress({ out, clock }: Context, size: number): (use: (bytes: Buffer) => void) => typeof use {
  const meter = new ProgressMeter(
    "writing",
    (text) => out.progress(text),
    () => clock.now(),
  );
  let done = 0;
  return (use) => (bytes) => {
    use(bytes);
    done += bytes.length;
    meter.tell(done, size);
  };
}

function open(workspace: Workspace, found: FoundKey): Opened {
  const { objects } = workspace.repo;
  if (found.meta.type === "inline") {
    const data = inlineValue(objects, found);
    return { manifest: undefined, stream: async ({ start, end }, use) => use(data.subarray(start, end)) };
  }
  const manifest = readManifest(objects, found);
  // Not over as soon as other gets are, for which the compiler is held back (cli/runner.ts).
  Bun.unsafe.setJITPolicy(1);
  return {
    manifest,
    stream: async (range, use) => {
      await bringPieces(workspace, manifest, range);
      await streamValue(objects, manifest, range, use, workspace.around.signal);
    },
  };
}

async function gather({ key }: FoundKey, range: ByteRange, value: Opened): Promise<Buffer> {
  const size = range.end - range.start;
  if (size > MOST_JSON) {
    throw new KvError(
      "LIMIT_EXCEEDED",
      `${JSON.stringify(keyText(key))} has ${size} bytes, too many for a line of JSON`,
      {
        hint: "--output FILE writes the value to a file, --range takes a part of it",
      },
    );
  }
  const parts: Buffer[] = [];
  await value.stream(range, (bytes) => void parts.push(Buffer.from(bytes)));
  return Buffer.concat(parts, size);
}

/** The file the value goes to, as the user would call it; `-` is standard output. */
function targetOf({ flags }: Context, { key }: FoundKey): string | undefined {
  const dir = flags.value("output-dir");
  const file = flags.value("output");
  if (dir !== undefined) return path.join(dir, keyName(key));
  return file === "-" ? undefined : file;
}

/** Writes a file whole or not at all. */
async function writeTo(file: string, produce: (use: (bytes: Buffer) => void) => Promise<void>): Promise<void> {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const output = OutputFile.create(file);
  try {
    await produce((bytes) => output.write(bytes));
    output.commit({ fsync: false });
  } finally {
    output.discard();
  }
}
