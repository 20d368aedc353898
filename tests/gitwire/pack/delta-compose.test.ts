import { expect, test } from "bun:test";
import { KvError } from "../../../src/errors.ts";
import { applyDelta, DeltaBuilder, deltaSizes } from "../../../src/gitwire/pack/delta.ts";
import { composeDeltas } from "../../../src/gitwire/pack/delta-compose.ts";
import { random } from "../../support/random.ts";

const rng = random("delta-compose");

/** A delta of random copies and inserts, and what it makes. */
function randomDelta(base: Buffer): { delta: Buffer; target: Buffer } {
  const builder = new DeltaBuilder();
  const pieces: Buffer[] = [];
  for (let count = rng.int(12); count > 0; count--) {
    if (rng.int(3) > 0 && base.length > 0) {
      const offset = rng.int(base.length);
      const size = rng.int(Math.min(base.length - offset, rng.pick([5, 300, 100_000])) + 1);
      builder.copy(offset, size);
      pieces.push(base.subarray(offset, offset + size));
    } else {
      const bytes = rng.bytes(rng.pick([0, 1, 20, 127, 128, 400]));
      builder.insert(bytes);
      pieces.push(bytes);
    }
  }
  const target = Buffer.concat(pieces);
  return { delta: builder.finish(base.length, target.length), target };
}

test("what two deltas make one after the other, one makes at once", () => {
  for (let round = 0; round < 2_000; round++) {
    const base = rng.bytes(rng.pick([0, 1, 50, 1_000]));
    let last = base;
    let composed: Buffer | undefined;
    for (let links = 2 + rng.int(4); links > 0; links--) {
      const { delta, target } = randomDelta(last);
      composed = composed === undefined ? delta : composeDeltas(composed, delta);
      last = target;
      expect(applyDelta(base, composed).equals(target)).toBe(true);
    }
  }
});

test("the other way round too: the last two first", () => {
  for (let round = 0; round < 300; round++) {
    const base = rng.bytes(200);
    const a = randomDelta(base);
    const b = randomDelta(a.target);
    const c = randomDelta(b.target);
    expect(applyDelta(base, composeDeltas(a.delta, composeDeltas(b.delta, c.delta))).equals(c.target)).toBe(true);
  }
});

test("objects past 16 MiB, and copies past 64 KiB", () => {
  const base = Buffer.alloc(20_000_000, "abcdefg");
  base.writeUInt32BE(rng.int(2 ** 32), 17_000_000);
  const first = new DeltaBuilder();
  first.copy(1_000_000, 18_000_000);
  first.insert(Buffer.from("in the middle"));
  first.copy(0, 1_000_000);
  const one = first.finish(base.length, 19_000_013);
  const second = new DeltaBuilder();
  second.copy(0x1_0000, 0x1_0000);
  second.copy(15_900_000, 3_000_000);
  const two = second.finish(19_000_013, 3_065_536);
  const composed = composeDeltas(one, two);
  expect(composed.length).toBeLessThan(80);
  expect(applyDelta(base, composed).equals(applyDelta(applyDelta(base, one), two))).toBe(true);
});

test("edits of one place leave no more than the last of them", () => {
  const base = Buffer.alloc(5_000, "x");
  let composed: Buffer | undefined;
  let size = 0;
  for (let i = 0; i < 40; i++) {
    const builder = new DeltaBuilder();
    builder.copy(0, 2_000);
    builder.insert(Buffer.from(`edit number ${String(i).padStart(3, "0")}`));
    builder.copy(2_015, 2_985);
    const delta = builder.finish(5_000, 5_000);
    composed = composed === undefined ? delta : composeDeltas(composed, delta);
    size = delta.length;
  }
  expect(composed!.length).toBe(size);
  expect(applyDelta(base, composed!).includes("edit number 039")).toBe(true);
});

test("damaged deltas, and those that do not fit, are refused or make what they say", () => {
  const base = rng.bytes(300);
  const first = randomDelta(base);
  const second = randomDelta(first.target);
  const attempt = (a: Buffer, b: Buffer): void => {
    let composed: Buffer;
    try {
      composed = composeDeltas(a, b);
    } catch (error) {
      expect((error as KvError).code).toBe("BAD_OBJECT");
      return;
    }
    const { baseSize, targetSize } = deltaSizes(composed);
    if (baseSize < 1_000_000) expect(applyDelta(Buffer.alloc(baseSize), composed).length).toBe(targetSize);
  };
  for (const [good, make] of [
    [first.delta, (bad: Buffer) => attempt(bad, second.delta)],
    [second.delta, (bad: Buffer) => attempt(first.delta, bad)],
  ] as const) {
    for (let length = 0; length < good.length; length++) make(good.subarray(0, length));
    for (let at = 0; at < good.length; at++) {
      for (const flip of [0x01, 0x10, 0x80, 0xff]) {
        const bad = Buffer.from(good);
        bad[at]! ^= flip;
        make(bad);
      }
    }
  }
  expect(() => composeDeltas(first.delta, randomDelta(rng.bytes(first.target.length + 1)).delta)).toThrow(KvError);
});
