/** Cuts that follow those of an older version: within the sizes, whatever the bytes are and however they come. */

import { describe, expect, test } from "bun:test";
import { openChunker } from "../../src/cdc/chunker.ts";
import type { Chunking } from "../../src/cdc/chunking.ts";
import { OldCuts, type OldPieces } from "../../src/cdc/old-cuts.ts";
import { sha256Of } from "../../src/sha256.ts";
import { noise } from "../support/noise.ts";
import { type Random, random } from "../support/random.ts";

type Sizes = Extract<Chunking, { mode: "fastcdc" }>;
const SMALL: Sizes = { mode: "fastcdc", min: 1_024, avg: 4_096, max: 16_384 };

/** Old pieces as they are found in a store; `isHere` tells which of them can be read. */
function oldOf(parts: readonly Buffer[], isHere: (number: number) => boolean = () => true): OldPieces {
  let at = 0;
  const starts = parts.map(({ length }) => {
    at += length;
    return at - length;
  });
  const pieces = parts.map((data) => ({ size: data.length, sha256: sha256Of(data) }));
  return {
    pieces,
    starts,
    find: (sha256, expected) => {
      if (pieces[expected]?.sha256 === sha256) return expected;
      const number = pieces.findIndex((piece) => piece.sha256 === sha256);
      return number < 0 ? undefined : number;
    },
    read: (number) => (isHere(number) ? parts[number] : undefined),
  };
}

/** The pieces of `data`, given to the chunker in portions; checks sizes, digests and that nothing is lost. */
function cut(data: Buffer, sizes: Sizes, old?: OldPieces, portion: () => number = () => data.length): Buffer[] {
  const guide = old && new OldCuts(old, sizes);
  const chunker = openChunker(sizes, guide);
  const parts: Buffer[] = [];
  let at = 0;
  const keep = (pieces: Iterable<Buffer>): void => {
    for (const piece of pieces) {
      const trace = guide?.trace(at);
      if (trace?.sha256 !== undefined) expect(trace.sha256).toBe(sha256Of(piece));
      parts.push(Buffer.copyBytesFrom(piece));
      at += piece.length;
    }
  };
  for (let done = 0; done < data.length; ) {
    const count = data.copy(chunker.room(), 0, done, done + portion());
    done += count;
    keep(chunker.take(count));
  }
  keep(chunker.finish());
  expect(Buffer.concat(parts).equals(data)).toBe(true);
  for (const [i, { length }] of parts.entries()) {
    expect(length).toBeLessThanOrEqual(sizes.max);
    if (i < parts.length - 1) expect(length).toBeGreaterThanOrEqual(sizes.min);
  }
  return parts;
}

const sizesOf = (parts: readonly Buffer[]): number[] => parts.map(({ length }) => length);

/** Some edits of every kind. */
function edited(data: Buffer, rng: Random): Buffer {
  let result = Buffer.from(data);
  for (let edit = rng.int(12); edit >= 0; edit--) {
    const at = rng.int(result.length + 1);
    const length = 1 + rng.int(rng.int(4) === 0 ? 60_000 : 600);
    const fresh = rng.int(3) === 0 ? Buffer.alloc(length, rng.int(3)) : Buffer.from(rng.bytes(length));
    const kind = rng.int(4);
    if (kind === 0) fresh.copy(result, at);
    else if (kind === 1) result = Buffer.concat([result.subarray(0, at), fresh, result.subarray(at)]);
    else if (kind === 2) result = Buffer.concat([result.subarray(0, at), result.subarray(at + length)]);
    else result.copyWithin(at, rng.int(result.length + 1), result.length);
  }
  return result;
}

describe("whatever is edited", () => {
  test("sizes stay within the bounds over many versions, and no portion moves a cut", () => {
    const rng = random("old cuts");
    for (let run = 0; run < 8; run++) {
      const min = 1_024 + rng.int(1_500);
      const avg = min + rng.int(4_000);
      const sizes: Sizes = { mode: "fastcdc", min, avg, max: avg + rng.int(12_000) };
      let data: Buffer = noise(`old cuts ${rng.seed} ${run}`, rng.int(300_000));
      let parts = cut(data, sizes);
      for (let version = 0; version < 8; version++) {
        data = edited(data, rng);
        const isHere = rng.int(3) === 0 ? () => rng.int(2) === 0 : () => true;
        const here = parts.map((_, number) => isHere.call(undefined) && number >= 0);
        const old = oldOf(parts, (number) => here[number]!);
        parts = cut(data, sizes, old);
        expect(sizesOf(cut(data, sizes, old, () => 1 + rng.int(90_000)))).toEqual(sizesOf(parts));
      }
    }
  });

  test("a window that is filled again and again, and pieces as large as it", () => {
    const data = noise("windows of old cuts", 21 * 1024 * 1024);
    for (const sizes of [
      { mode: "fastcdc", min: 65_536, avg: 262_144, max: 1_048_576 },
      { mode: "fastcdc", min: 1_048_576, avg: 4_194_304, max: 16_777_216 },
    ] as const) {
      const parts = cut(data, sizes);
      const after = Buffer.from(data);
      for (let at = 5; at < after.length; at += 100_000) after[at]! ^= 1;
      expect(sizesOf(cut(after, sizes, oldOf(parts), () => 5_000_011))).toEqual(sizesOf(parts));
    }
  });
});

test("the same where digests are waited for that another thread computes ahead, of a window that is written over", async () => {
  const sizes: Sizes = { mode: "fastcdc", min: 65_536, avg: 131_072, max: 262_144 };
  const data = noise("ahead", 33 * 1024 * 1024);
  const after = Buffer.from(data);
  for (const at of [1_000_000, 9_000_000, 16_777_300, 20_000_000]) noise(`ahead ${at}`, 300_000).copy(after, at);
  const old = oldOf(cut(data, sizes));
  const guide = new OldCuts(old, sizes);
  const chunker = openChunker(sizes, guide);
  const found: [size: number, sha256: string | undefined][] = [];
  let at = 0;
  let foreseen = 0;
  const keep = async (pieces: Iterable<Buffer>): Promise<void> => {
    for (const piece of pieces) {
      const trace = guide.trace(at);
      if (trace?.sha256 !== undefined) foreseen++;
      found.push([piece.length, trace?.sha256 ?? sha256Of(piece)]);
      at += piece.length;
      await guide.ready();
    }
  };
  for (let done = 0; done < after.length; ) {
    const count = after.copy(chunker.room(), 0, done, done + 3_000_000);
    done += count;
    await keep(chunker.take(count));
  }
  await keep(chunker.finish());
  expect(found).toEqual(cut(after, sizes, old).map((piece) => [piece.length, sha256Of(piece)]));
  expect(foreseen).toBeGreaterThan(found.length / 2);
});

describe("the same bytes are cut as they were", () => {
  const rng = random("same cuts");
  const data = noise(`same ${rng.seed}`, 400_000);
  // Cut where no content would; two pieces are seen at once, or the one behind a cut could not tell.
  const strange: Buffer[] = [];
  for (let at = 0; at < data.length; ) {
    const size = 1_024 + rng.int(7_000);
    strange.push(data.subarray(at, at + size));
    at += size;
  }

  test("whether the old bytes are here or not", () => {
    expect(sizesOf(cut(data, SMALL, oldOf(strange)))).toEqual(sizesOf(strange));
    expect(
      sizesOf(
        cut(
          data,
          SMALL,
          oldOf(strange, () => false),
        ),
      ),
    ).toEqual(sizesOf(strange));
  });

  test("around bytes that are overwritten at a cut", () => {
    const after = Buffer.from(data);
    let at = 0;
    for (const [number, { length }] of strange.entries()) {
      if (number % 4 === 2) noise(`over ${number}`, 900).copy(after, at - 450);
      at += length;
    }
    expect(sizesOf(cut(after, SMALL, oldOf(strange)))).toEqual(sizesOf(strange));
  });

  test("behind and before what is put in or taken out", () => {
    const at = strange[0]!.length + strange[1]!.length + Math.floor(strange[2]!.length / 2);
    for (const [from, to] of [
      [0, at + 100],
      [300, at],
      [300, at + 100],
    ] as const) {
      const put = noise(`put in ${from}`, from);
      const after = Buffer.concat([data.subarray(0, at), put, data.subarray(to)]);
      const sizes = sizesOf(cut(after, SMALL, oldOf(strange)));
      const expected = sizesOf(strange);
      expected[2]! += from - (to - at);
      // The piece that grew or shrank may no longer be a possible one: then the cuts around it are others.
      if (expected[2]! >= SMALL.min && expected[2]! <= SMALL.max) expect(sizes).toEqual(expected);
      expect(sizes.slice(-(strange.length - 8))).toEqual(sizesOf(strange.slice(8)));
    }
  });

  test("in place, by the digest of the piece behind, where the old bytes are not here", () => {
    const after = Buffer.from(data);
    after[strange[0]!.length + 5]! ^= 1;
    expect(
      sizesOf(
        cut(
          after,
          SMALL,
          oldOf(strange, () => false),
        ),
      ),
    ).toEqual(sizesOf(strange));
  });
});

test("bytes that tell nothing are no sign: what follows an insertion into zeros is found again by content", () => {
  const telling = noise("telling", 100_000);
  const before = Buffer.concat([Buffer.alloc(50_000), telling, Buffer.alloc(50_000), telling.subarray(0, 60_000)]);
  const parts = cut(before, SMALL);
  const after = Buffer.concat([Buffer.alloc(10), before]);
  const known = new Set(parts.map(sha256Of));
  const fresh = cut(after, SMALL, oldOf(parts)).filter((piece) => !known.has(sha256Of(piece)));
  expect(fresh.length).toBeLessThan(6);
});

test("another value is cut by its content, and so is one that was cut by other sizes", () => {
  const old = cut(noise("before", 300_000), SMALL);
  const data = noise("another", 300_000);
  expect(sizesOf(cut(data, SMALL, oldOf(old)))).toEqual(sizesOf(cut(data, SMALL)));
  const other: Sizes = { mode: "fastcdc", min: 20_000, avg: 30_000, max: 60_000 };
  const same = Buffer.concat(old);
  cut(same, other, oldOf(old));
});
