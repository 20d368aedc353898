/** zlib streams of stored blocks, taken apart where they lie, as zlib itself reads them. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import * as zlib from "node:zlib";
import type { KvError } from "../../../src/errors.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { beginsStored, storedAt, unstore } from "../../../src/gitwire/pack/stored-stream.ts";
import { deflate, deflateBound, inflateAt } from "../../../src/gitwire/pack/zlib.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { writePack } from "../../../src/gitwire/store/object-writer.ts";
import { noise } from "../../support/noise.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

const rng = random("stored stream");

test("streams of ours and of zlib's, whatever follows them", () => {
  for (const size of [0, 1, 40, 65_535, 65_536, 65_537, 300_000]) {
    const data = noise(`stored ${size}`, size);
    for (const stream of [deflate(data, size), zlib.deflateSync(data, { level: 0 })]) {
      expect(beginsStored(stream, 0)).toBe(true);
      const found = unstore(Buffer.concat([stream, noise("what follows", 100)]), size)!;
      expect(found.equals(data)).toBe(true);
    }
  }
});

test("what is compressed, cut short or of another size is left as it is", () => {
  const data = noise("left", 100_000);
  const text = Buffer.alloc(100_000, "compresses well ");
  const stored = deflate(data, 100_000);
  const mixed = zlib.deflateSync(Buffer.concat([data, text]), { level: 6 });
  for (const [stream, size] of [
    [zlib.deflateSync(text), 100_000],
    [mixed, 200_000],
    [stored, 99_999],
    [stored, 100_001],
    ...[0, 1, 2, 6, 7, 40_000, 65_542, 65_547, stored.length - 1].map(
      (end) => [stored.subarray(0, end), 100_000] as const,
    ),
  ] as const) {
    const before = Buffer.from(stream);
    expect(unstore(stream, size)).toBeUndefined();
    expect(stream.equals(before)).toBe(true);
  }
  expect(beginsStored(zlib.deflateSync(text), 0)).toBe(false);
});

test("a flipped bit is seen, or the stream says the same to zlib", () => {
  const data = noise("flipped", 150_000);
  const stream = deflate(data, data.length);
  let seen = 0;
  const places = [...Array(14 * 8).keys()].map((bit) => (bit < 56 ? bit : stream.length * 8 - 1 - (bit - 56)));
  for (const bit of [...places, ...Array.from({ length: 100 }, () => rng.int(stream.length * 8))]) {
    const bad = Buffer.from(stream);
    bad[bit >> 3]! ^= 1 << (bit & 7);
    let found: Buffer | undefined;
    try {
      found = unstore(Buffer.from(bad), data.length);
    } catch (error) {
      expect((error as KvError).code).toBe("BAD_OBJECT");
    }
    if (found === undefined) seen++;
    else expect(found.equals(inflateAt(bad, 0, data.length).data)).toBe(true);
  }
  const bad = Buffer.from(stream);
  bad[1_000]! ^= 1;
  expect(() => unstore(Buffer.from(bad), data.length)).toThrow("incorrect data check");
  expect(unstore(bad, data.length, true)!.equals(data)).toBe(false);
  expect(seen).toBeGreaterThan(100);
});

test("one stored block is copied out of what is around it; anything else is left to zlib", () => {
  for (const size of [0, 1, 40, 160, 65_535]) {
    const data = noise(`one block ${size}`, size);
    // That of zlib is two blocks where it is as long as one can be.
    const theirs = size < 65_535 ? [zlib.deflateSync(data, { level: 0 })] : [];
    for (const stream of [deflate(data, size), ...theirs]) {
      const bytes = Buffer.concat([noise("before", 13), stream, noise("behind", 100)]);
      const end = 13 + stream.length;
      expect(storedAt(bytes, 13, end, size)!.equals(data)).toBe(true);
      expect(storedAt(bytes, 13, bytes.length, size)!.equals(data)).toBe(true);
      expect(storedAt(bytes, 13, end - 1, size)).toBeUndefined();
      expect(storedAt(bytes, 13, bytes.length, size + 1)).toBeUndefined();
      if (size > 0) expect(storedAt(bytes, 13, bytes.length, size - 1)).toBeUndefined();
    }
  }
  const data = noise("two blocks", 65_536);
  expect(storedAt(deflate(data, data.length), 0, 70_000, data.length)).toBeUndefined();
  expect(storedAt(zlib.deflateSync(Buffer.alloc(100, "text ")), 0, 100, 100)).toBeUndefined();
  const small = deflate(data.subarray(0, 60), 60);
  for (let bit = 0; bit < small.length * 8; bit++) {
    const bad = Buffer.from(small);
    bad[bit >> 3]! ^= 1 << (bit & 7);
    const found = storedAt(bad, 0, bad.length, 60);
    if (found !== undefined) expect(found.equals(inflateAt(bad, 0, 60).data)).toBe(true);
  }
});

test("an object of a pack is read to where the caller wants it, where that can be", () => {
  const store = new ObjectStore(path.join(tempDir(), "objects"), TEST_FORMAT);
  fs.mkdirSync(store.packDir, { recursive: true });
  const builder = new PackBuilder(TEST_FORMAT);
  const blobs = [noise("a", 300_000), Buffer.alloc(300_000, "text "), noise("small", 5_000), noise("b", 20_000)];
  const ids = blobs.map((data) => builder.write("blob", data));
  const changed = Buffer.concat([blobs[0]!, Buffer.from("and more")]);
  blobs.push(changed);
  ids.push(builder.writeDelta("blob", changed, ids[0]!, createDelta(blobs[0]!, changed)!));
  writePack(store, builder.finish());
  builder.dispose();
  const into = Buffer.alloc(deflateBound(300_000));
  const isInto = blobs.map((data, n) => {
    const found = store.readInto(ids[n]!, into)!;
    expect(found.kind).toBe("blob");
    expect(found.data.equals(data)).toBe(true);
    return found.data.buffer === into.buffer;
  });
  expect([isInto[0], isInto[1], isInto[4]]).toEqual([true, false, true]);
  expect(store.readInto(ids[0]!, Buffer.alloc(100))!.data.equals(blobs[0]!)).toBe(true);
  // What is in the buffer is nobody else's.
  const kept = store.read(ids[0]!)!.data;
  store.readInto(ids[3]!, into);
  into.fill(0);
  expect(kept.equals(blobs[0]!)).toBe(true);
  expect(store.read(ids[3]!)!.data.equals(blobs[3]!)).toBe(true);
  expect(store.readInto("0".repeat(TEST_FORMAT.hexSize), into)).toBeUndefined();
  store.close();
});
