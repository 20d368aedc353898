/** An index of which only heads are kept in memory finds what the whole one finds. */

import { afterEach, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { IdHeads } from "../../../src/gitwire/pack/id-heads.ts";
import { limitKeptIndexes, mayKeepIndex } from "../../../src/gitwire/pack/kept-indexes.ts";
import { PackIndex } from "../../../src/gitwire/pack/pack-index.ts";
import { writePackIndex } from "../../../src/gitwire/pack/pack-index-writer.ts";
import { fileOf } from "../../../src/gitwire/pack/temp-file.ts";
import { atOnce } from "../../../src/time-slice.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";

const rng = random("id-heads");

afterEach(() => limitKeptIndexes(Number.POSITIVE_INFINITY));

/** An index of `count` objects, more than are read whole at once; every tenth id differs from the one before in its last byte alone. */
function someIndex(format: typeof SHA1, count = 6_000): { file: string; ids: Buffer } {
  const file = path.join(tempDir("heads"), "pack-x.idx");
  const ids = rng.bytes(count * format.rawSize);
  for (let i = 10; i < count; i += 10) {
    ids.copy(ids, i * format.rawSize, (i - 1) * format.rawSize, i * format.rawSize);
    ids[(i + 1) * format.rawSize - 1]! ^= 1;
  }
  const fd = fs.openSync(file, "wx+");
  const offsets = Float64Array.from({ length: count }, (_, i) => 12 + i * 100);
  const objects = { count, ids, offsets, crcs: new Uint32Array(count) };
  atOnce(writePackIndex(fileOf(fd), format, objects, Buffer.alloc(format.rawSize)));
  fs.closeSync(fd);
  return { file, ids };
}

for (const format of [SHA1, SHA256]) {
  test(`what is there is found, what is not is not, ${format.name}`, () => {
    const { file, ids } = someIndex(format);
    limitKeptIndexes(0);
    const index = new PackIndex(file, format);
    const { rawSize } = format;
    const check = (): void => {
      for (let i = 0; i < index.count; i++) {
        const position = index.findRaw(ids, i * rawSize);
        expect(index.offset(position)).toBe(12 + i * 100);
      }
      const others = rng.bytes(2_000 * rawSize);
      // As many whose first bytes are those of an id that is there.
      for (let i = 0; i < 1_000; i++) ids.copy(others, i * rawSize, i * 2 * rawSize, i * 2 * rawSize + 12);
      for (let i = 0; i < 2_000; i++) expect(index.findRaw(others, i * rawSize)).toBe(-1);
    };
    // From the file at first, then by heads, then in a sweep.
    check();
    check();
    index.sweep(check);
    // Heads alone say that an id is not there: nothing is read.
    index.release();
    fs.renameSync(file, `${file}.away`);
    expect(index.findRaw(rng.bytes(rawSize), 0)).toBe(-1);
    expect(() => index.findRaw(ids, 0)).toThrow("ENOENT");
    fs.renameSync(`${file}.away`, file);
    index.close();
    check();
  });
}

test("so many bytes of whole indexes are kept, and room is there again when one is closed", () => {
  const [one, two] = [someIndex(SHA1), someIndex(SHA1)];
  const size = fs.statSync(one.file).size;
  const used = room();
  limitKeptIndexes(used + size + size / 2);
  const [first, second] = [one, two].map(({ file }) => new PackIndex(file, SHA1));
  for (let i = 0; i < 1_000; i++) {
    expect(first!.findRaw(one.ids, i * 20)).toBeGreaterThanOrEqual(0);
    expect(second!.findRaw(two.ids, i * 20)).toBeGreaterThanOrEqual(0);
  }
  expect(mayKeepIndex(size)).toBe(false);
  for (const { file } of [one, two]) fs.renameSync(file, `${file}.away`);
  for (const index of [first!, second!]) index.release();
  expect(first!.findRaw(one.ids, 0)).toBeGreaterThanOrEqual(0);
  expect(() => second!.findRaw(two.ids, 0)).toThrow("ENOENT");
  // Whoever wants all of it gets it for itself, and what is kept stays.
  fs.renameSync(`${two.file}.away`, two.file);
  expect(second!.inMemory()).not.toBe(second!);
  expect(first!.inMemory()).toBe(first!);
  first!.close();
  expect(mayKeepIndex(size)).toBe(true);
  expect(second!.inMemory()).toBe(second!);
  second!.close();
  expect(room()).toBe(used);
});

/** Bytes that are kept now: other tests in this process may have left some. */
function room(): number {
  let [low, high] = [0, 2 ** 32];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    limitKeptIndexes(middle);
    if (mayKeepIndex(0)) high = middle;
    else low = middle + 1;
  }
  limitKeptIndexes(Number.POSITIVE_INFINITY);
  return low;
}

test("the first of several ids with the same head", () => {
  const ids = Buffer.from(["0100000001aa", "0100000001bb", "0100000002aa", "0200000001aa"].join(""), "hex");
  const heads = new IdHeads(4, 6, (from, count, into) => ids.copy(into, 0, from * 6, (from + count) * 6));
  const at = (hex: string, low: number, high: number): number => heads.first(Buffer.from(hex, "hex"), 0, low, high);
  expect(at("0100000001bb", 0, 3)).toBe(0);
  expect(at("0100000002aa", 0, 3)).toBe(2);
  expect(at("0100000003aa", 0, 3)).toBe(3);
  expect(at("0200000001aa", 3, 4)).toBe(3);
  expect([heads.areAlike(0, 1), heads.areAlike(1, 2)]).toEqual([true, false]);
});
