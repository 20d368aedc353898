/** Whatever the sizes of the writes, the file holds them in their order and the hash is that of the file. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { newHasher } from "../../../src/gitwire/object/oid.ts";
import { EntryWriter } from "../../../src/gitwire/pack/entry-writer.ts";
import { fileOf } from "../../../src/gitwire/pack/temp-file.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

/** Writes pieces of the given sizes; returns the file, what it should be, and the hasher's digest. */
function written(sizes: readonly number[], at = 0): { file: Buffer; expected: Buffer; digest: string } {
  const name = path.join(tempDir("writer"), "f");
  const fd = fs.openSync(name, "w+");
  const hasher = newHasher(TEST_FORMAT);
  const writer = new EntryWriter(fileOf(fd), at, hasher);
  const pieces = sizes.map((size, i) => Buffer.alloc(size, i + 1));
  let position = at;
  for (const piece of pieces) {
    expect(writer.position).toBe(position);
    writer.write(piece);
    position += piece.length;
  }
  writer.flush();
  expect(writer.position).toBe(position);
  fs.closeSync(fd);
  return { file: fs.readFileSync(name).subarray(at), expected: Buffer.concat(pieces), digest: hasher.digest("hex") };
}

function check(sizes: readonly number[], at?: number): void {
  const { file, expected, digest } = written(sizes, at);
  expect(file.equals(expected)).toBe(true);
  expect(digest).toBe(newHasher(TEST_FORMAT).update(expected).digest("hex"));
}

test("a large piece after a small one, whether it fits beside it or not", () => {
  for (let power = 10; power <= 21; power++) {
    for (const size of [2 ** power - 12, 2 ** power, 2 ** power + 1, 1.5 * 2 ** power])
      check([12, size, 3, size, size, 5]);
  }
});

test("from an offset on", () => {
  check([5, 700_000, 1, 300_000, 9], 1_000);
});

test("pieces of random sizes", () => {
  const seeded = random("entry writer");
  for (let round = 0; round < 20; round++) {
    check(Array.from({ length: 1 + seeded.int(20) }, () => Math.floor(2 ** (seeded.next() * 20))));
  }
});

test("what was written is read back, from memory and from the file", () => {
  const seeded = random("read back");
  const fd = fs.openSync(path.join(tempDir("writer"), "f"), "w+");
  const writer = new EntryWriter(fileOf(fd), 0, newHasher(TEST_FORMAT));
  let expected = Buffer.alloc(0);
  const into = Buffer.alloc(1_000);
  for (let round = 0; round < 400; round++) {
    const piece = seeded.bytes(seeded.pick([10, 3_000, 8_000]));
    writer.write(piece);
    expected = Buffer.concat([expected, piece]);
    // Some that end with what was written last, and some all over the file.
    const back = seeded.pick([1, 20, 999, 5_000, 600_000, expected.length]);
    const position = Math.max(0, expected.length - back);
    const length = seeded.int(into.length) + 1;
    const got = writer.readBack(into, length, position);
    expect(got).toBe(Math.min(length, expected.length - position));
    expect(into.subarray(0, got).equals(expected.subarray(position, position + got))).toBe(true);
  }
  expect(expected.length).toBeGreaterThan(1_000_000);
  fs.closeSync(fd);
});
