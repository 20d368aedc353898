/** Where values are cut: golden vectors, a second implementation, and portions of any size. */

import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import fastCdcFile from "fastcdc-wasm/fastcdc_wasm_bg.wasm" with { type: "file" };
import { type Chunker, openChunker } from "../../src/cdc/chunker.ts";
import { type Chunking, DEFAULT_CHUNKING } from "../../src/cdc/chunking.ts";
import { GEAR, pieceSizes } from "../support/fastcdc.ts";
import { noise } from "../support/noise.ts";
import { random } from "../support/random.ts";

const MiB = 1024 * 1024;

interface Vector {
  readonly content: string;
  readonly size: number;
  readonly sha256: string;
  readonly min: number;
  readonly avg: number;
  readonly max: number;
  readonly pieces: readonly number[];
}

const VECTORS: readonly Vector[] = JSON.parse(
  fs.readFileSync(path.join(import.meta.dir, "../vectors/cdc/cuts.json"), "utf8"),
);

/** The input of a vector, made as make.py makes it. */
function content({ content, size, sha256 }: Vector): Buffer {
  const data = Buffer.alloc(size);
  if (content === "repeated") data.fill(shake("repeated", 1_000));
  else if (content === "text") {
    const raw = shake("text", Math.floor(size / 2) + 1);
    const lines = Array.from({ length: Math.ceil(raw.length / 32) }, (_, n) =>
      raw.toString("hex", n * 32, Math.min(n * 32 + 32, raw.length)),
    );
    data.write(lines.join("\n"));
  } else if (content !== "zeros") shake(content, size).copy(data);
  expect(new Bun.CryptoHasher("sha256").update(data).digest("hex")).toBe(sha256);
  return data;
}

/** The first `size` bytes of SHAKE128. */
function shake(seed: string, size: number): Buffer {
  return createHash("shake128", { outputLength: size }).update(seed).digest();
}

/** Gives `data` to a chunker in portions of at most `portion()` bytes; copies the pieces. */
function cut(chunker: Chunker, data: Buffer, portion: () => number = () => data.length): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < data.length; ) {
    const room = chunker.room();
    if (room.length === 0) throw new Error("there is no room");
    const count = Math.min(room.length, data.length - at, portion());
    data.copy(room, 0, at, at + count);
    at += count;
    pieces.push(...Array.from(chunker.take(count), (piece) => Buffer.copyBytesFrom(piece)));
  }
  return [...pieces, ...Array.from(chunker.finish(), (piece) => Buffer.copyBytesFrom(piece))];
}

const sizesOf = (pieces: readonly Buffer[]): number[] => pieces.map(({ length }) => length);

describe("golden vectors", () => {
  for (const vector of VECTORS) {
    const { min, avg, max } = vector;
    test(`${vector.size} bytes (${vector.content}), ${min}/${avg}/${max}`, () => {
      const data = content(vector);
      const pieces = cut(openChunker({ mode: "fastcdc", min, avg, max }), data);
      expect(sizesOf(pieces)).toEqual([...vector.pieces]);
      expect(Buffer.concat(pieces).equals(data)).toBe(true);
    });
  }

  test("the gear table of the format is the one in the module", () => {
    const module = fs.readFileSync(fastCdcFile);
    const table = Buffer.alloc(1_024);
    for (let byte = 0; byte < 256; byte++) table.writeUInt32LE(GEAR[byte]!, byte * 4);
    expect(GEAR.length).toBe(256);
    expect(module.includes(table)).toBe(true);
  });
});

describe("FastCDC", () => {
  test("a second implementation cuts at the same places", () => {
    const rng = random("second FastCDC");
    for (let run = 0; run < 30; run++) {
      const min = 1024 + rng.int(20_000);
      const avg = min + rng.int(100_000);
      const sizes = { min, avg, max: avg + rng.int(200_000) };
      const data = noise(`second ${rng.seed} ${run}`, rng.int(1_500_000));
      // Stretches of one byte and repetitions, so that the largest size comes up as well.
      for (let at = rng.int(data.length + 1); at < data.length; at += 1 + rng.int(data.length)) {
        if (rng.int(2) === 0) data.subarray(at, at + rng.int(300_000)).fill(rng.int(256));
        else data.copyWithin(at, 0, rng.int(300_000));
      }
      expect(sizesOf(cut(openChunker({ mode: "fastcdc", ...sizes }), data))).toEqual(pieceSizes(data, sizes));
    }
  });

  test("pieces over several windows are cut as if they were one", () => {
    const data = noise("windows", 35 * MiB);
    for (const sizes of [
      { min: MiB, avg: 4 * MiB, max: 16 * MiB },
      { min: 16 * MiB, avg: 16 * MiB, max: 16 * MiB },
    ]) {
      const pieces = cut(openChunker({ mode: "fastcdc", ...sizes }), data, () => 5_000_011);
      expect(sizesOf(pieces)).toEqual(pieceSizes(data, sizes));
      expect(Buffer.concat(pieces).equals(data)).toBe(true);
    }
  });

  test("an insertion moves the cuts around it only", () => {
    const before = noise("insertion", 8 * MiB);
    const after = Buffer.concat([before.subarray(0, 4 * MiB), noise("inserted", 10_000), before.subarray(4 * MiB)]);
    const hash = (piece: Buffer): string => new Bun.CryptoHasher("sha256").update(piece).digest("hex");
    const known = new Set(cut(openChunker(DEFAULT_CHUNKING), before).map(hash));
    const fresh = cut(openChunker(DEFAULT_CHUNKING), after).filter((piece) => !known.has(hash(piece)));
    expect(fresh.length).toBeLessThan(4);
  });
});

describe("portions", () => {
  const chunkings: readonly Chunking[] = [
    { mode: "fixed", size: 1_024 },
    { mode: "fixed", size: 100_003 },
    { mode: "fixed", size: 5 * MiB },
    DEFAULT_CHUNKING,
    { mode: "fastcdc", min: 1_024, avg: 2_000, max: 1 * MiB },
  ];
  for (const chunking of chunkings) {
    test(`do not move a cut: ${JSON.stringify(chunking)}`, () => {
      const rng = random("portions");
      const data = noise(`portions ${rng.seed}`, 17 * MiB + rng.int(MiB));
      const whole = cut(openChunker(chunking), data);
      expect(Buffer.concat(whole).equals(data)).toBe(true);
      for (const most of [3, 200_000, 10 * MiB]) {
        const given = most === 3 ? data.subarray(0, 200_000) : data;
        const pieces = cut(openChunker(chunking), given, () => 1 + rng.int(most));
        const expected = given === data ? whole : cut(openChunker(chunking), given);
        expect(sizesOf(pieces)).toEqual(sizesOf(expected));
        expect(Buffer.concat(pieces).equals(given)).toBe(true);
      }
    });
  }

  test("chunkers side by side do not mix their bytes", () => {
    const inputs = ["x", "y", "z"].map((seed) => noise(seed, 17 * MiB));
    const chunkers = inputs.map(() => openChunker(DEFAULT_CHUNKING));
    const pieces: Buffer[][] = inputs.map(() => []);
    for (let at = 0; at < 17 * MiB; at += MiB) {
      for (const [n, chunker] of chunkers.entries()) {
        let given = 0;
        while (given < MiB) {
          const room = chunker.room();
          const count = inputs[n]!.copy(room, 0, at + given, at + MiB);
          given += count;
          pieces[n]!.push(...Array.from(chunker.take(count), (piece) => Buffer.copyBytesFrom(piece)));
        }
      }
    }
    for (const [n, chunker] of chunkers.entries()) {
      pieces[n]!.push(...Array.from(chunker.finish(), (piece) => Buffer.copyBytesFrom(piece)));
      expect(sizesOf(pieces[n]!)).toEqual(pieceSizes(inputs[n]!, DEFAULT_CHUNKING));
      expect(Buffer.concat(pieces[n]!).equals(inputs[n]!)).toBe(true);
    }
  });
});

test("pieces of one size: all but the last", () => {
  const chunking: Chunking = { mode: "fixed", size: 1_000_000 };
  for (const [size, sizes] of [
    [0, []],
    [1, [1]],
    [1_000_000, [1_000_000]],
    [4_000_000, [1_000_000, 1_000_000, 1_000_000, 1_000_000]],
    [1_000_001, [1_000_000, 1]],
  ] as const) {
    expect(sizesOf(cut(openChunker(chunking), Buffer.alloc(size)))).toEqual([...sizes]);
  }
});
