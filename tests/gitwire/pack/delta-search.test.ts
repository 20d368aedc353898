/** Deltas that are searched for: right whatever the bytes are, small where there is something in common, read by git. */

import { describe, expect, test } from "bun:test";
import * as path from "node:path";
import { hashObject, SHA1 } from "../../../src/gitwire/object/oid.ts";
import { applyDelta } from "../../../src/gitwire/pack/delta.ts";
import { createDelta, DeltaBase } from "../../../src/gitwire/pack/delta-search.ts";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { git, gitBytes, tryGit } from "../../support/git.ts";
import { noise } from "../../support/noise.ts";
import { type Random, random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";

const rng = random("delta search");
let seeds = 0;
const fresh = (size: number): Buffer => noise(`${rng.seed} ${seeds++}`, size);

interface Edited {
  readonly data: Buffer;
  readonly edits: number;
  /** Bytes that the edits brought. */
  readonly changed: number;
}

/** `base` with bytes overwritten, inserted and taken out at some places in a row. */
function scattered(base: Buffer, from: Random, edits: number, longest: number): Edited {
  const parts: Buffer[] = [];
  let changed = 0;
  let at = 0;
  for (let edit = 0; edit < edits; edit++) {
    const next = at + from.int(Math.max(1, Math.floor((2 * (base.length - at)) / (edits - edit + 1))));
    const length = 1 + from.int(longest);
    const bytes = fresh(length);
    parts.push(base.subarray(at, next));
    const how = from.int(3);
    if (how !== 2) {
      parts.push(bytes);
      changed += length;
    }
    at = how === 1 ? next : Math.min(base.length, next + length);
  }
  parts.push(base.subarray(at));
  return { data: Buffer.concat(parts), edits, changed };
}

/** Base and target of shapes that are hard in one way or another. */
function hardPair(from: Random): [base: Buffer, target: Buffer] {
  const size = 1 + from.int(200_000);
  switch (from.int(6)) {
    case 0:
      return [Buffer.alloc(size, from.int(256)), Buffer.alloc(1 + from.int(200_000), from.int(256))];
    case 1: // one pattern, out of step
      return [Buffer.alloc(size, fresh(17)), Buffer.concat([fresh(5), Buffer.alloc(size, fresh(17))])];
    case 2: // few different bytes
      return [Buffer.from(fresh(size).map((byte) => byte & 1)), Buffer.from(fresh(size).map((byte) => byte & 1))];
    case 3: // pieces in another order
      {
        const base = fresh(size);
        const cuts = Array.from({ length: 8 }, () => from.int(size)).sort((a, b) => a - b);
        const parts = [0, ...cuts].map((start, i) => base.subarray(start, [...cuts, size][i]));
        return [base, Buffer.concat(from.shuffle(parts))];
      }
    case 4: // nothing in common
      return [fresh(size), fresh(1 + from.int(200_000))];
    default: {
      const base = fresh(size);
      return [base, scattered(base, from, 1 + from.int(40), 400).data];
    }
  }
}

describe("createDelta", () => {
  test("what it makes applies and keeps to its limit, whatever the bytes and the hint are", () => {
    let made = 0;
    for (let round = 0; round < 150; round++) {
      const [base, target] = hardPair(rng);
      const limit = rng.int(2) === 0 ? undefined : rng.int(target.length + 1);
      const hint = rng.int(2) === 0 ? 0 : rng.int(base.length * 2);
      const delta = createDelta(base, target, { hint, ...(limit !== undefined && { limit }) });
      if (delta === undefined) continue;
      made++;
      expect(delta.length).toBeLessThan(target.length);
      expect(delta.length).toBeLessThanOrEqual(limit ?? target.length);
      expect(applyDelta(base, delta).equals(target)).toBe(true);
    }
    expect(made).toBeGreaterThan(30);
  });

  test("scattered edits cost about what they change", () => {
    for (const size of [65_536, 262_144, 1_048_576]) {
      for (const longest of [1, 50, 6_000]) {
        const base = fresh(size);
        const { data, edits, changed } = scattered(
          base,
          rng,
          1 + Math.min(100, Math.floor(size / 16 / longest)),
          longest,
        );
        const delta = createDelta(base, data)!;
        expect(applyDelta(base, delta).equals(data)).toBe(true);
        // An edit costs a copy of 7 bytes and an opcode; between two that are near, under two windows are lost.
        expect(delta.length).toBeLessThan(changed * (1 + 1 / 127) + edits * 40 + 16);
      }
    }
  });

  test("content that has moved is found", () => {
    const base = fresh(262_144);
    const target = Buffer.concat([fresh(1_000), base.subarray(100_000), base.subarray(0, 99_990)]);
    expect(createDelta(base, target)!.length).toBeLessThan(1_100);
    const part = createDelta(base, base.subarray(77_777, 177_777), { hint: 77_777 })!;
    expect(part.length).toBeLessThan(20);
    expect(applyDelta(base, part).equals(base.subarray(77_777, 177_777))).toBe(true);
  });

  test("one base serves many targets", () => {
    const bytes = fresh(1_048_576);
    const base = new DeltaBase(bytes);
    for (let round = 0; round < 20; round++) {
      const start = rng.int(900_000);
      const target = scattered(bytes.subarray(start, start + 65_536 + rng.int(60_000)), rng, 3, 200).data;
      const delta = createDelta(base, target, { hint: start })!;
      expect(delta.length).toBeLessThan(1_000);
      expect(delta.equals(createDelta(bytes, target, { hint: start })!)).toBe(true);
      expect(applyDelta(bytes, delta).equals(target)).toBe(true);
    }
  });

  test("a small edit of a large text costs a few bytes", () => {
    const base = Buffer.from(Array.from({ length: 2_000 }, (_, i) => `line ${i} ${(i * 7919) % 997}\n`).join(""));
    const target = Buffer.concat([base.subarray(0, 9_000), Buffer.from("an insertion"), base.subarray(9_010)]);
    const delta = createDelta(base, target)!;
    expect(delta.length).toBeLessThan(60);
    expect(applyDelta(base, delta).equals(target)).toBe(true);
  });

  test("nothing in common, or too little data, makes none", () => {
    expect(createDelta(fresh(100_000), fresh(100_000))).toBeUndefined();
    expect(createDelta(Buffer.from("short"), Buffer.from("shorter"))).toBeUndefined();
    expect(createDelta(Buffer.alloc(0), fresh(100))).toBeUndefined();
    expect(createDelta(fresh(100), Buffer.alloc(0))).toBeUndefined();
  });

  test("bytes that repeat do not cost the square of their number", () => {
    // Every window of the base is a candidate for every window of the target. With the square this would not end.
    const period = fresh(16);
    const base = Buffer.alloc(4_000_000, period);
    const target = Buffer.concat(
      Array.from({ length: 400 }, () => Buffer.concat([Buffer.alloc(5_000, period), fresh(10)])),
    );
    const delta = createDelta(base, target)!;
    expect(delta.length).toBeLessThan(400 * 60);
    expect(applyDelta(base, delta).equals(target)).toBe(true);
  });
});

test("git indexes and unpacks packs with such deltas", () => {
  const dir = tempDir();
  git(dir, "init", "-q", "--object-format=sha1");
  const base = fresh(1_048_576);
  const builder = new PackBuilder(SHA1);
  const baseId = builder.write("blob", base);
  const targets = [65_536, 262_144, 1_048_576].flatMap((size) => [
    scattered(base.subarray(1_048_576 - size), rng, 40, 500).data,
    scattered(base.subarray(0, size), rng, 1, 10_000).data,
  ]);
  const ids = targets.map((target) => builder.writeDelta("blob", target, baseId, createDelta(base, target)!));
  const pack = Buffer.concat([...builder.finish().chunks()]);
  builder.dispose();
  expect(pack.length).toBeLessThan(base.length + 200_000);
  const unpacked = path.join(dir, "unpacked.git");
  git(dir, "init", "-q", "--bare", "--object-format=sha1", unpacked);
  expect(tryGit(unpacked, ["unpack-objects", "-q", "--strict"], { input: pack })).toMatchObject({
    status: 0,
    stderr: "",
  });
  expect(tryGit(dir, ["index-pack", "--stdin", "--strict"], { input: pack }).status).toBe(0);
  for (const repo of [dir, unpacked]) {
    for (const [n, id] of ids.entries()) {
      expect(id).toBe(hashObject(SHA1, "blob", targets[n]!));
      expect(gitBytes(repo, "cat-file", "blob", id).equals(targets[n]!)).toBe(true);
    }
  }
});
