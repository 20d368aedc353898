/** New pieces as deltas against the pieces of the value before. */

import { describe, expect, test } from "bun:test";
import { openChunker } from "../../src/cdc/chunker.ts";
import { type Chunking, DEFAULT_CHUNKING } from "../../src/cdc/chunking.ts";
import type { CutGuide } from "../../src/cdc/cut-guide.ts";
import { KvError } from "../../src/errors.ts";
import type { GitObject, ObjectSource } from "../../src/gitwire/object/object.ts";
import { hashObject, type Oid, SHA1 } from "../../src/gitwire/object/oid.ts";
import { applyDelta } from "../../src/gitwire/pack/delta.ts";
import type { Piece } from "../../src/kv/manifest.ts";
import { PieceDeltas } from "../../src/kv/piece-deltas.ts";
import { sha256Of } from "../../src/sha256.ts";
import { noise } from "../support/noise.ts";
import { fromSeed, random } from "../support/random.ts";

const MiB = 1024 * 1024;
const rng = random("piece deltas");

interface Cut {
  readonly piece: Piece;
  readonly at: number;
  readonly data: Buffer;
}

function cut(data: Buffer, chunking: Chunking = DEFAULT_CHUNKING, guide?: CutGuide): Cut[] {
  const chunker = openChunker(chunking, guide);
  const sizes: number[] = [];
  for (let at = 0; at < data.length; ) {
    const count = data.copy(chunker.room(), 0, at);
    at += count;
    sizes.push(...Array.from(chunker.take(count), ({ length }) => length));
  }
  sizes.push(...Array.from(chunker.finish(), ({ length }) => length));
  let at = 0;
  return sizes.map((size) => {
    const bytes = data.subarray(at, at + size);
    at += size;
    const sha256 = sha256Of(bytes);
    return { piece: { size, sha256, oid: hashObject(SHA1, "blob", bytes) }, at: at - size, data: bytes };
  });
}

/** A store of the pieces of a value, which counts what is read. */
function storeOf(pieces: readonly Cut[]): ObjectSource & { readonly reads: Oid[] } {
  const objects = new Map<Oid, GitObject>(pieces.map(({ piece, data }) => [piece.oid, { kind: "blob", data }]));
  const reads: Oid[] = [];
  return {
    format: SHA1,
    reads,
    has: (oid) => objects.has(oid),
    read: (oid) => {
      reads.push(oid);
      return objects.get(oid);
    },
  };
}

const everything = { holds: () => true };

/** A value as deltas are made against it. */
const manifestOf = (pieces: readonly Cut[], chunking: Chunking = DEFAULT_CHUNKING) => ({
  chunks: pieces.map(({ piece }) => piece),
  chunking,
});

/** What the pieces of `after` take that are not among those of `before`; checks every delta. */
function cost(before: Buffer, after: Buffer, chunking: Chunking = DEFAULT_CHUNKING): { bytes: number; whole: number } {
  const old = cut(before, chunking);
  const known = new Map(old.map((each) => [each.piece.sha256, each]));
  const deltas = new PieceDeltas(storeOf(old), manifestOf(old, chunking), everything, chunking);
  let bytes = 0;
  let whole = 0;
  for (const { piece, at, data } of cut(after, chunking, deltas.guide)) {
    expect(deltas.digest(at) ?? piece.sha256).toBe(piece.sha256);
    if (known.has(piece.sha256)) {
      deltas.reused(piece.sha256, at);
      continue;
    }
    const found = deltas.find(data, at);
    whole += found === undefined ? 1 : 0;
    bytes += found?.delta.length ?? data.length;
    if (found === undefined) continue;
    const base = known.get(found.base.sha256)!;
    expect(base.piece.oid).toBe(found.base.oid);
    expect(applyDelta(base.data, Buffer.from(found.delta)).equals(data)).toBe(true);
    expect(found.delta.length).toBeLessThanOrEqual((data.length * 15) / 16);
  }
  return { bytes, whole };
}

const before = noise(`value ${rng.seed}`, 12 * MiB);

/** Where a long change makes or moves a cut, the new piece shares bytes with two old ones, and a delta has one base: the smaller share is sent. */
const MOVED_CUT = DEFAULT_CHUNKING.max / 2;

describe("a value with changes", () => {
  test("a byte here and there costs next to nothing", () => {
    const after = Buffer.from(before);
    for (let edit = 0; edit < 60; edit++) after[rng.int(after.length)]! ^= 1 + rng.int(255);
    expect(cost(before, after).bytes).toBeLessThan(5_000);
    const fixed = cost(before, after, { mode: "fixed", size: 131_072 });
    expect(fixed.whole).toBe(0);
    expect(fixed.bytes).toBeLessThan(5_000);
  });

  test("one run costs its length", () => {
    const length = 600_000;
    const at = rng.int(before.length - length);
    const after = Buffer.from(before);
    noise(`run ${rng.seed}`, length).copy(after, at);
    expect(cost(before, after).bytes).toBeLessThan(length * 1.02 + MOVED_CUT);
  });

  test("runs all over cost their length, those that hit a cut too", () => {
    for (const [runs, length] of [
      [12, 52_428],
      [120, 5_242],
    ] as const) {
      const after = Buffer.from(before);
      const part = before.length / runs;
      for (let run = 0; run < runs; run++) {
        noise(`run ${rng.seed} ${run}`, length).copy(after, Math.floor(run * part) + rng.int(part - length));
      }
      expect(cost(before, after).bytes).toBeLessThan(runs * length * 1.05);
    }
  });

  test("what is inserted costs its length, and what comes after it is found where it has moved to", () => {
    for (const length of [10, 5_000, 700_000]) {
      const at = rng.int(before.length);
      const after = Buffer.concat([before.subarray(0, at), noise(`${length}`, length), before.subarray(at)]);
      for (const edit of [0.2, 0.5, 0.9]) after[Math.floor(edit * after.length)]! ^= 1;
      expect(cost(before, after).bytes).toBeLessThan(length * 1.02 + MOVED_CUT);
    }
  });

  /** 3 MiB less at `at`: what it costs, and what it would where nothing is a delta and no cut follows an old one. */
  function takenOut(value: Buffer, at: number): { follows: number; plain: number } {
    const after = Buffer.concat([value.subarray(0, at), value.subarray(at + 3 * MiB)]);
    const known = new Set(cut(value).map(({ piece }) => piece.sha256));
    const fresh = cut(after).filter(({ piece }) => !known.has(piece.sha256));
    return { follows: cost(value, after).bytes, plain: fresh.reduce((sum, { data }) => sum + data.length, 0) };
  }

  test("what is taken out costs the pieces until the cuts are the old ones again", () => {
    const { follows, plain } = takenOut(before, rng.int(6 * MiB));
    expect(follows).toBeLessThan(plain + DEFAULT_CHUNKING.max);
  });

  test("and less than without deltas, over several values", () => {
    // Of one value a cut that follows may come later than one that does not; so these are always the same eight.
    const fixed = fromSeed(8);
    const costs = Array.from({ length: 8 }, (_, each) =>
      takenOut(noise(`value ${each}`, 12 * MiB), fixed.int(6 * MiB)),
    );
    const total = (which: "follows" | "plain") => costs.reduce((sum, each) => sum + each[which], 0);
    expect(total("follows")).toBeLessThan(0.9 * total("plain"));
  });
});

test("another value is written whole, after a look at few old pieces", () => {
  const old = cut(before);
  const store = storeOf(old);
  const deltas = new PieceDeltas(store, manifestOf(old), everything, DEFAULT_CHUNKING);
  const fresh = cut(noise("another", 12 * MiB));
  for (const { data, at } of fresh) expect(deltas.find(data, at)).toBeUndefined();
  expect(store.reads.length).toBeLessThan(fresh.length * 4);
});

test("no base is taken that the receiver does not have, or that is missing or damaged here", () => {
  const old = cut(before.subarray(0, 2 * MiB));
  const of = (objects: ObjectSource, store = everything): PieceDeltas =>
    new PieceDeltas(objects, manifestOf(old), store, DEFAULT_CHUNKING);
  const changed = Buffer.from(old[0]!.data);
  changed[1_000]! ^= 1;
  expect(of(storeOf(old)).find(changed, 0)).toBeDefined();
  const asked = storeOf(old);
  expect(of(asked, { holds: () => false }).find(changed, 0)).toBeUndefined();
  expect(asked.reads).toEqual([]);
  expect(of(storeOf([])).find(changed, 0)).toBeUndefined();
  const damaged: ObjectSource = {
    format: SHA1,
    has: () => true,
    read: () => {
      throw new KvError("CORRUPT", "a damaged object");
    },
  };
  expect(of(damaged).find(changed, 0)).toBeUndefined();
});
