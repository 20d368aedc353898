import { describe, expect, spyOn, test } from "bun:test";
import { KvError } from "../../../src/errors.ts";
import { applyDelta, DeltaBuilder, deltaSizes } from "../../../src/gitwire/pack/delta.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { type Random, random } from "../../support/random.ts";

const rng = random("delta");

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
}

/** A plain second implementation, byte by byte, of what the format says; undefined where the delta is not right. */
function reference(base: Buffer, delta: Buffer): number[] | undefined {
  let at = 0;
  const byte = (): number => delta[at++] ?? Number.NaN;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const next = byte();
      if (Number.isNaN(next)) return Number.NaN;
      value += (next % 128) * scale;
      if (next < 128) return value;
    }
  };
  if (varint() !== base.length) return undefined;
  const size = varint();
  const out: number[] = [];
  while (at < delta.length) {
    const op = byte();
    if (op === 0) return undefined;
    if (op < 128) {
      for (let i = 0; i < op; i++) out.push(byte());
      continue;
    }
    let offset = 0;
    let length = 0;
    for (let i = 0; i < 4; i++) if ((op >> i) % 2 === 1) offset += byte() * 256 ** i;
    for (let i = 0; i < 3; i++) if ((op >> (i + 4)) % 2 === 1) length += byte() * 256 ** i;
    if (length === 0) length = 0x10000;
    if (!(offset + length <= base.length)) return undefined;
    for (let i = 0; i < length; i++) out.push(base[offset + i]!);
  }
  return out.length === size && !out.some(Number.isNaN) ? out : undefined;
}

/** `base` with a few random edits. */
function edited(base: Buffer, from: Random): Buffer {
  const pieces: Buffer[] = [];
  for (let edits = from.int(6); edits >= 0; edits--) {
    const start = from.int(base.length + 1);
    pieces.push(base.subarray(start, start + from.int(base.length - start + 1)));
    if (from.int(2) === 0) pieces.push(from.bytes(from.int(300)));
  }
  return Buffer.concat(pieces);
}

describe("applyDelta", () => {
  const base = Buffer.from("0123456789abcdefghijklmnopqrstuvwxyz");

  test("a delta written by hand", () => {
    // 36 -> 13: copy 4 at 10, insert "-->", copy 6 at 0
    const delta = Buffer.from([36, 13, 0x91, 10, 4, 3, 0x2d, 0x2d, 0x3e, 0x90, 6]);
    expect(applyDelta(base, delta).toString()).toBe("abcd-->012345");
    expect(deltaSizes(delta)).toEqual({ baseSize: 36, targetSize: 13, start: 2 });
  });

  test("an empty target, and a size of 0 that means 65,536", () => {
    expect(applyDelta(base, Buffer.from([36, 0])).length).toBe(0);
    const large = rng.bytes(70_000);
    const delta = Buffer.from([0xf0, 0xa2, 0x04, 0x80, 0x80, 0x04, 0x81, 5]);
    expect(applyDelta(large, delta).equals(large.subarray(5, 5 + 65_536))).toBe(true);
  });

  test("refuses what the format does not allow", () => {
    const cases: Record<string, number[]> = {
      "no sizes": [],
      "one size": [36],
      "a size that does not end": [36, 0x80],
      "a size beyond reason": [36, ...Array(10).fill(0xff), 1],
      "another base": [35, 1, 1, 65],
      "opcode 0": [36, 1, 0, 65],
      "too little": [36, 5, 1, 65],
      "too much by insert": [36, 1, 2, 65, 66],
      "too much by copy": [36, 3, 0x90, 4],
      "a copy past the base": [36, 4, 0x91, 33, 4],
      "a copy far past the base": [36, 4, 0x9f, 255, 255, 255, 255, 4],
      "an insert cut short": [36, 5, 5, 65],
      "a copy cut short": [36, 4, 0x91, 3],
      "an opcode at the end": [36, 4, 0x90, 4, 0x91],
    };
    for (const [name, bytes] of Object.entries(cases)) {
      expect([name, codeOf(() => applyDelta(base, Buffer.from(bytes)))]).toEqual([name, "BAD_OBJECT"]);
    }
  });

  test("a few bytes that declare a huge result get no memory for it", () => {
    const allocate = spyOn(Buffer, "allocUnsafe");
    // 36 -> 0x1fffffff (512 MiB - 1), made of one insert
    const bomb = Buffer.from([36, 0xff, 0xff, 0xff, 0xff, 0x01, 1, 65]);
    expect(codeOf(() => applyDelta(base, bomb))).toBe("BAD_OBJECT");
    const over = Buffer.from([36, 0x81, 0x80, 0x80, 0x80, 0x02, 1, 65]);
    expect(codeOf(() => applyDelta(base, over))).toBe("LIMIT_EXCEEDED");
    expect(codeOf(() => applyDelta(base, Buffer.from([36, 5, 0x90, 5]), 4))).toBe("LIMIT_EXCEEDED");
    const largest = Math.max(0, ...allocate.mock.calls.map(([size]) => size));
    allocate.mockRestore();
    expect(largest).toBeLessThan(1_000);
  });

  test("cut and flipped deltas agree with the reference", () => {
    const source = rng.bytes(400);
    const delta = createDelta(source, edited(Buffer.concat([source, source]), rng)) ?? Buffer.from([0x90, 3, 0]);
    const check = (bad: Buffer): void => {
      const want = reference(source, bad);
      let got: Buffer | undefined;
      try {
        got = applyDelta(source, bad);
      } catch (error) {
        expect((error as KvError).code).toMatch(/^(BAD_OBJECT|LIMIT_EXCEEDED)$/);
      }
      expect(got === undefined ? undefined : [...got]).toEqual(want);
    };
    check(delta);
    for (let end = 0; end < delta.length; end++) check(delta.subarray(0, end));
    for (let bit = 0; bit < delta.length * 8; bit++) {
      const bad = Buffer.from(delta);
      bad[bit >> 3]! ^= 1 << (bit & 7);
      // A flip in a size may ask for more than the reference should be made to build.
      if (deltaOrZero(bad) < 1e6) check(bad);
    }
  });
});

function deltaOrZero(delta: Buffer): number {
  try {
    return deltaSizes(delta).targetSize;
  } catch {
    return 0;
  }
}

describe("DeltaBuilder", () => {
  test("neighbours are merged", () => {
    const builder = new DeltaBuilder();
    builder.copy(0, 4);
    builder.copy(4, 6);
    builder.insert(Buffer.from("xxabyy"), 2, 4);
    builder.insert(Buffer.from("c"));
    builder.copy(20, 0);
    builder.insert(Buffer.from("d"));
    builder.copy(3, 1);
    expect([...builder.finish(36, 15)]).toEqual([36, 15, 0x90, 10, 4, 97, 98, 99, 100, 0x91, 3, 1]);
  });

  test("long copies and inserts are split, and offsets above 2^31 are kept", () => {
    const builder = new DeltaBuilder();
    builder.copy(0, 0xff_ffff + 0x1_0000);
    builder.insert(Buffer.alloc(300, 65));
    builder.copy(0xfff0_0201, 0x1_0001);
    const delta = builder.finish(0x1_0000_0000, 0x100_ffff + 300 + 0x1_0001);
    const { baseSize, start } = deltaSizes(delta);
    expect(baseSize).toBe(0x1_0000_0000);
    const copies = delta.subarray(start);
    expect([...copies.subarray(0, 8)]).toEqual([0xf0, 0xff, 0xff, 0xff, 0x87, 0xff, 0xff, 0xff]);
    const inserts = copies.subarray(8);
    expect([inserts[0], inserts[128], inserts[256]]).toEqual([127, 127, 46]);
    expect([...inserts.subarray(303)]).toEqual([0xdf, 0x01, 0x02, 0xf0, 0xff, 0x01, 0x01]);
  });

  test("any sequence of pieces makes the target it says, in a new builder and in one that was used before", () => {
    const used = new DeltaBuilder(8);
    used.copy(0, 5);
    for (let round = 0; round < 200; round++) {
      const base = rng.bytes(1 + rng.int(3_000));
      const builder = round % 2 === 0 ? new DeltaBuilder(rng.int(600)) : used.restart();
      const target: Buffer[] = [];
      for (let pieces = rng.int(20); pieces > 0; pieces--) {
        if (rng.int(2) === 0) {
          const offset = rng.int(base.length);
          const size = rng.int(base.length - offset + 1);
          builder.copy(offset, size);
          target.push(base.subarray(offset, offset + size));
        } else {
          const bytes = rng.bytes(rng.int(400));
          builder.insert(bytes);
          target.push(bytes);
        }
      }
      const whole = Buffer.concat(target);
      expect(applyDelta(base, builder.finish(base.length, whole.length)).equals(whole)).toBe(true);
    }
  });

  test("copies of 16 MiB and more", () => {
    const base = Buffer.alloc(40_000_000, "0123456789");
    const builder = new DeltaBuilder();
    builder.copy(3, 35_000_000);
    const delta = builder.finish(base.length, 35_000_000);
    expect(delta.length).toBeLessThan(40);
    expect(applyDelta(base, delta).equals(base.subarray(3, 35_000_003))).toBe(true);
  });
});
