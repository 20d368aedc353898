/** Running indexPack in tests. */

import { expect } from "bun:test";
import { KvError } from "../../../src/errors.ts";
import type { GitObject, ObjectSource } from "../../../src/gitwire/object/object.ts";
import type { ObjectFormat, Oid } from "../../../src/gitwire/object/oid.ts";
import { type IndexedPack, type IndexPackOptions, indexPack } from "../../../src/gitwire/pack/index-pack.ts";
import type { PackSource } from "../../../src/gitwire/pack/pack-input.ts";
import { fromSeed } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { listDir } from "./fixtures.ts";

/** `bytes` in chunks of `step`, or of random lengths for 0. */
export function inChunks(bytes: Buffer, step: number): PackSource {
  let at = 0;
  const lengths = fromSeed(bytes.length);
  return {
    read: async () => {
      if (at >= bytes.length) return undefined;
      const chunk = bytes.subarray(at, at + (step > 0 ? step : 1 + lengths.int(5_000)));
      at += chunk.length;
      return chunk;
    },
  };
}

export function sourceOf(format: ObjectFormat, objects: ReadonlyMap<Oid, GitObject>): ObjectSource {
  return { format, read: (oid) => objects.get(oid), has: (oid) => objects.has(oid) };
}

export function options(format: ObjectFormat, more: Partial<IndexPackOptions> = {}): IndexPackOptions {
  return { format, dir: tempDir("indexed"), bases: undefined, ...more };
}

export async function index(bytes: Buffer, use: IndexPackOptions, step = 65_536): Promise<IndexedPack> {
  return (await indexPack(inChunks(bytes, step), use))!;
}

/** The error code of indexing `bytes`; nothing may be left behind then. */
export async function refusal(
  bytes: Buffer,
  more: Partial<IndexPackOptions> = {},
  format = TEST_FORMAT,
  step = 65_536,
): Promise<string> {
  const use = options(format, more);
  try {
    await index(bytes, use, step);
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    expect(listDir(use.dir)).toEqual([]);
    return error.code;
  }
  return "accepted";
}
