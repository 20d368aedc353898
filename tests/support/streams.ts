/** Byte streams for tests: sources that split their bytes anyhow, sinks that remember, and errors as values. */

import { KvError } from "../../src/errors.ts";
import type { ByteSink, ByteSource } from "../../src/gitwire/protocol/byte-stream.ts";
import { bytesSource } from "../../src/gitwire/protocol/byte-stream.ts";
import type { Random } from "./random.ts";

/** `bytes` in random pieces, single bytes among them. */
export function splitSource(bytes: Buffer, random: Random): ByteSource {
  const most = random.pick([1, 3, 10, 100, 5_000]);
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + random.int(most);
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return bytesSource(...pieces);
}

/** All bytes of a source. */
export async function drain(source: ByteSource): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let chunk = await source.read(); chunk !== undefined; chunk = await source.read()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A sink that keeps what is written. */
export function memorySink(): ByteSink & { bytes(): Buffer } {
  const chunks: Buffer[] = [];
  return {
    write: async (bytes) => {
      chunks.push(Buffer.from(bytes));
    },
    bytes: () => Buffer.concat(chunks),
  };
}

/** The code of the KvError `run` fails with, or "no error"; any other error is thrown on. */
export async function codeOf(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
  return "no error";
}

/** Every proper prefix of `bytes` makes `parse` fail with one of `codes`. */
export async function everyTruncation(
  bytes: Buffer,
  parse: (source: ByteSource) => Promise<unknown>,
  codes: readonly string[],
): Promise<void> {
  for (let length = 1; length < bytes.length; length++) {
    const code = await codeOf(() => parse(bytesSource(bytes.subarray(0, length))));
    if (!codes.includes(code)) throw new Error(`cut at ${length} of ${bytes.length}: ${code}`);
  }
}

/** Every byte of `bytes` turned into a few others: `parse` gives a value or a typed error, never anything else. */
export async function everyFlip(bytes: Buffer, parse: (source: ByteSource) => Promise<unknown>): Promise<number> {
  let errors = 0;
  for (let at = 0; at < bytes.length; at++) {
    for (const flip of [0x01, 0x20, 0x80, 0xff]) {
      const bad = Buffer.from(bytes);
      bad[at] = bad[at]! ^ flip;
      if ((await codeOf(() => parse(bytesSource(bad)))) !== "no error") errors++;
    }
  }
  return errors;
}
