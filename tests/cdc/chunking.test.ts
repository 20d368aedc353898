/** The numbers by which values are cut. */

import { expect, test } from "bun:test";
import { openChunker } from "../../src/cdc/chunker.ts";
import { type Chunking, checkChunking, completeChunking, DEFAULT_CHUNKING } from "../../src/cdc/chunking.ts";
import { failureOf } from "../support/failure.ts";

const MiB = 1024 * 1024;

const fastcdc = (min: number, avg: number, max: number): Chunking => ({ mode: "fastcdc", min, avg, max });

test("what can be cut passes", () => {
  for (const chunking of [
    DEFAULT_CHUNKING,
    fastcdc(1_024, 1_024, 1_024),
    fastcdc(16 * MiB, 16 * MiB, 16 * MiB),
    fastcdc(1_024, 1_025, 16 * MiB),
    { mode: "fixed", size: 1_024 },
    { mode: "fixed", size: 16 * MiB },
  ] as const) {
    checkChunking(chunking);
  }
});

test("what cannot be cut is refused in words", async () => {
  for (const [chunking, words] of [
    [fastcdc(1_023, 4_096, 4_096), "chunking needs a min of 1024 to 16777216 bytes, not 1023"],
    [fastcdc(0, 4_096, 4_096), "chunking needs a min of 1024 to 16777216 bytes, not 0"],
    [fastcdc(-4_096, 4_096, 4_096), "chunking needs a min of 1024 to 16777216 bytes, not -4096"],
    [fastcdc(4_096.5, 8_192, 8_192), "chunking needs a min of 1024 to 16777216 bytes, not 4096.5"],
    [fastcdc(Number.NaN, 8_192, 8_192), "chunking needs a min of 1024 to 16777216 bytes, not NaN"],
    [fastcdc(4_096, 4_096, 16 * MiB + 1), "chunking needs a max of 1024 to 16777216 bytes, not 16777217"],
    [fastcdc(4_096, 4_096, 2 ** 40), "chunking needs a max of 1024 to 16777216 bytes, not 1099511627776"],
    [fastcdc(8_192, 4_096, 9_000), "chunking needs a min (8192) that is not larger than avg (4096)"],
    [fastcdc(1_024, 4_096, 4_095), "chunking needs an avg (4096) that is not larger than max (4095)"],
    [{ mode: "fixed", size: 1 }, "chunking needs a size of 1024 to 16777216 bytes, not 1"],
    [{ mode: "fixed", size: 2 ** 31 }, "chunking needs a size of 1024 to 16777216 bytes, not 2147483648"],
  ] as const) {
    for (const act of [() => checkChunking(chunking), () => void openChunker(chunking)]) {
      const error = await failureOf(Promise.resolve().then(act));
      expect(error.code).toBe("INPUT_INVALID");
      expect(error.message).toBe(words);
    }
  }
});

test("what a policy leaves out has the format's default", () => {
  expect(completeChunking(undefined)).toEqual(DEFAULT_CHUNKING);
  expect(completeChunking({ mode: "fastcdc" })).toEqual(DEFAULT_CHUNKING);
  expect(completeChunking({ mode: "fastcdc", avg: 131_072 })).toEqual(fastcdc(65_536, 131_072, MiB));
  expect(completeChunking({ mode: "fixed", size: 4_096 })).toEqual({ mode: "fixed", size: 4_096 });
});
