import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../../src/errors.ts";
import { type ObjectFormat, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { PackIndex } from "../../../src/gitwire/pack/pack-index.ts";
import { type IndexedObjects, writePackIndex } from "../../../src/gitwire/pack/pack-index-writer.ts";
import { entryEnds, PackOrder } from "../../../src/gitwire/pack/pack-order.ts";
import { fileOf } from "../../../src/gitwire/pack/temp-file.ts";
import { atOnce } from "../../../src/time-slice.ts";
import { git, tryGit } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { makeRepo, repackOnce } from "./fixtures.ts";

const rng = random("pack-index");

/** What git reads in an index: offset, id and CRC of each object. */
function showIndex(format: ObjectFormat, file: string): { offset: number; oid: string; crc: number | undefined }[] {
  const run = tryGit(tempDir(), ["show-index", `--object-format=${format.name}`], { input: fs.readFileSync(file) });
  if (run.status !== 0) throw new Error(run.stderr);
  return run.stdout
    .toString()
    .trim()
    .split("\n")
    .map((line) => {
      const [offset, oid, crc] = line.split(" ");
      return {
        offset: Number(offset),
        oid: oid!,
        crc: crc === undefined ? undefined : Number.parseInt(crc.slice(1), 16),
      };
    });
}

function write(format: ObjectFormat, objects: IndexedObjects, largeFrom?: number): string {
  const file = path.join(tempDir(), "test.idx");
  const fd = fs.openSync(file, "w");
  atOnce(writePackIndex(fileOf(fd), format, objects, Buffer.alloc(format.rawSize, 7), { largeFrom }));
  fs.closeSync(fd);
  return file;
}

function objectsOf(format: ObjectFormat, ids: readonly Buffer[], offsets?: readonly number[]): IndexedObjects {
  return {
    count: ids.length,
    ids: Buffer.concat([...ids, Buffer.alloc(0)], ids.length * format.rawSize),
    offsets: Float64Array.from(ids, (_, i) => offsets?.[i] ?? 12 + i * 100),
    crcs: Uint32Array.from(ids, (_, i) => (i * 2_654_435_761) % 2 ** 32),
  };
}

for (const format of [SHA1, SHA256]) {
  describe(`an index by git, ${format.name}`, () => {
    const repo = makeRepo(format);
    const pack = repackOnce(repo, "ofs");

    for (const version of [1, 2] as const) {
      test(`version ${version}: every lookup and table agrees with git show-index`, () => {
        const file = path.join(tempDir(), "v.idx");
        git(repo, "index-pack", `--index-version=${version}`, "-o", file, pack);
        const index = new PackIndex(file, format);
        const shown = showIndex(format, file);
        expect(index.version).toBe(version);
        expect(index.count).toBe(shown.length);
        expect(index.packChecksum.equals(fs.readFileSync(pack).subarray(-format.rawSize))).toBe(true);
        shown.forEach(({ offset, oid, crc }, position) => {
          expect(index.find(oid)).toBe(position);
          expect(index.oid(position)).toBe(oid);
          expect(index.offset(position)).toBe(offset);
          expect(index.crc(position)).toBe(crc);
        });
        expect([...index.loadOffsets()]).toEqual(shown.map((row) => row.offset));
        expect(index.loadIds().toString("hex")).toBe(shown.map((row) => row.oid).join(""));
        expect(index.find(format.zeroOid)).toBe(-1);
        expect(index.find("f".repeat(format.hexSize))).toBe(-1);
        index.release();
        expect(index.find(shown[3]!.oid)).toBe(3);
      });
    }

    test("ours has the same bytes, 64-bit offsets included", () => {
      for (const largeFrom of [undefined, 0x400]) {
        const file = path.join(tempDir(), "g.idx");
        const version = largeFrom === undefined ? "2" : `2,0x${largeFrom.toString(16)}`;
        git(repo, "index-pack", `--index-version=${version}`, "-o", file, pack);
        const shown = rng.shuffle(showIndex(format, file));
        const ids = shown.map((row) => Buffer.from(row.oid, "hex"));
        const objects = {
          ...objectsOf(
            format,
            ids,
            shown.map((row) => row.offset),
          ),
          crcs: Uint32Array.from(shown, (row) => row.crc!),
        };
        const ours = path.join(tempDir(), "o.idx");
        const fd = fs.openSync(ours, "w");
        atOnce(
          writePackIndex(fileOf(fd), format, objects, fs.readFileSync(pack).subarray(-format.rawSize), { largeFrom }),
        );
        fs.closeSync(fd);
        expect(fs.readFileSync(ours).equals(fs.readFileSync(file))).toBe(true);
      }
    });

    test("a prefix finds the ids that git finds", () => {
      const index = new PackIndex(pack.replace(/\.pack$/, ".idx"), format);
      const oids = showIndex(format, index.path).map((row) => row.oid);
      for (const oid of oids.slice(0, 20)) {
        for (const length of [1, 4, 7, format.hexSize]) {
          const prefix = oid.slice(0, length);
          expect(index.startingWith(prefix, 100)).toEqual(oids.filter((other) => other.startsWith(prefix)));
        }
      }
      expect(index.startingWith(oids[0]!.slice(0, 1), 1)).toEqual([oids[0]!]);
      expect(index.startingWith(format.zeroOid, 5)).toEqual([]);
      expect(index.startingWith("f".repeat(format.hexSize), 5)).toEqual([]);
    });
  });

  test(`offsets past 2^31 and 2^32, ${format.name}`, () => {
    const offsets = [12, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 5, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 77, 2 ** 40 + 3];
    const ids = offsets.map(() => rng.bytes(format.rawSize));
    const file = write(format, objectsOf(format, ids, offsets));
    const index = new PackIndex(file, format);
    ids.forEach((id, i) => {
      expect(index.offset(index.findRaw(id, 0))).toBe(offsets[i]!);
    });
    expect([...index.loadOffsets()].sort((a, b) => a - b)).toEqual(offsets);
    const shown = new Map(showIndex(format, file).map((row) => [row.oid, row.offset]));
    ids.forEach((id, i) => {
      expect(shown.get(id.toString("hex"))).toBe(offsets[i]!);
    });
  });

  test(`tens of thousands of ids, spread and clustered, ${format.name}`, () => {
    const spread = Array.from({ length: 6_000 }, () => rng.bytes(format.rawSize));
    // Ids whose computed place is far from the true one: all but a few crowd at one end of the bucket.
    const low = Array.from({ length: 3_000 }, () =>
      Buffer.concat([Buffer.from("4200000000", "hex"), rng.bytes(format.rawSize - 5)]),
    );
    const high = Array.from({ length: 3_000 }, () =>
      Buffer.concat([Buffer.from("42fffffff0", "hex"), rng.bytes(format.rawSize - 5)]),
    );
    const ids = rng.shuffle([...spread, ...low, ...high]);
    const file = write(format, objectsOf(format, ids));
    const index = new PackIndex(file, format);
    expect(fs.statSync(file).size).toBeGreaterThan(64 * 1024);
    const sorted = ids.map((id, i) => ({ id, i })).sort((a, b) => a.id.compare(b.id));
    sorted.forEach(({ id, i }, position) => {
      if (index.findRaw(id, 0) !== position) throw new Error(`id ${id.toString("hex")} not found in its place`);
      if (index.offset(position) !== 12 + i * 100) throw new Error("wrong offset");
    });
    for (const { id } of sorted.slice(0, 2_000)) {
      const other = Buffer.from(id);
      other[format.rawSize - 1]! ^= 1;
      expect(index.findRaw(other, 0)).toBe(-1);
    }
    for (let i = 0; i < 1_000; i++) {
      const other = Buffer.concat([Buffer.from([0x42]), rng.bytes(format.rawSize - 1)]);
      expect(index.findRaw(other, 0)).toBe(-1);
    }
  });
}

test("an index of no objects, and one of a single object", () => {
  const none = new PackIndex(write(TEST_FORMAT, objectsOf(TEST_FORMAT, [])), TEST_FORMAT);
  expect([none.count, none.find(TEST_FORMAT.emptyTree)]).toEqual([0, -1]);
  const id = rng.bytes(TEST_FORMAT.rawSize);
  const one = new PackIndex(write(TEST_FORMAT, objectsOf(TEST_FORMAT, [id])), TEST_FORMAT);
  expect([one.count, one.findRaw(id, 0), one.find(TEST_FORMAT.emptyTree)]).toEqual([1, 0, -1]);
});

test("entries in the order of the pack", () => {
  const order = new PackOrder("p", Float64Array.from([500, 12, 2 ** 32 + 9]), 2 ** 33);
  expect([order.position(12), order.position(500), order.position(2 ** 32 + 9)]).toEqual([1, 0, 2]);
  expect([order.end(12), order.end(500), order.end(2 ** 32 + 9)]).toEqual([500, 2 ** 32 + 9, 2 ** 33]);
  expect(() => order.position(13)).toThrow("no entry starts at 13");
});

test("the order of entries agrees with a plain sort, at any size of pack", () => {
  for (const end of [200, 5_000, 2 ** 21, 2 ** 31 - 1, 2 ** 32, 2 ** 40]) {
    const all = new Set<number>();
    while (all.size < 150) all.add(12 + Math.floor(rng.next() * (end - 12)));
    const byPosition = Float64Array.from(rng.shuffle([...all]));
    const order = new PackOrder("p", byPosition, end);
    const sorted = [...all].sort((a, b) => a - b);
    expect([...order.offsets]).toEqual(sorted);
    for (const [rank, offset] of sorted.entries()) {
      expect(byPosition[order.positionOf(rank)]).toBe(offset);
      expect(order.endOf(rank)).toBe(sorted[rank + 1] ?? end);
    }
    for (const share of [1, 3, 50]) {
      const wanted = Float64Array.from(sorted.filter(() => rng.int(share) === 0));
      expect([...entryEnds(byPosition, wanted, end)]).toEqual([...wanted].map((offset) => order.end(offset)));
    }
  }
});

test("a sweep finds what single lookups find", () => {
  for (const format of [SHA1, SHA256]) {
    const ids = Array.from({ length: 9_000 }, () => rng.bytes(format.rawSize));
    const index = new PackIndex(write(format, objectsOf(format, ids)), format);
    const wanted = ids
      .filter(() => rng.int(4) === 0)
      .concat(Array.from({ length: 500 }, () => rng.bytes(format.rawSize)));
    const sorted = [...wanted].sort((a, b) => a.compare(b));
    for (const order of [sorted, rng.shuffle(wanted)]) {
      const look = (): number[] =>
        order.map((id) => {
          const position = index.findRaw(id, 0);
          return position < 0 ? -1 : index.offset(position);
        });
      const alone = look();
      expect(alone.filter((offset) => offset >= 0).length).toBeGreaterThan(1_000);
      expect(index.sweep(look)).toEqual(alone);
      expect(look()).toEqual(alone);
    }
  }
});

describe("a damaged index", () => {
  const ids = Array.from({ length: 40 }, () => rng.bytes(TEST_FORMAT.rawSize));
  const good = fs.readFileSync(write(TEST_FORMAT, objectsOf(TEST_FORMAT, ids), 0x800));
  const file = path.join(tempDir(), "bad.idx");

  /** Looks everything up; returns the code of the first error. */
  const use = (bytes: Buffer): string | undefined => {
    fs.writeFileSync(file, bytes);
    try {
      const index = new PackIndex(file, TEST_FORMAT);
      for (const id of ids) {
        const position = index.findRaw(id, 0);
        if (position >= 0) index.offset(position);
      }
      index.loadOffsets();
      index.loadIds();
      return undefined;
    } catch (error) {
      if (error instanceof KvError) return error.code;
      throw error;
    }
  };

  test("cut anywhere is told", () => {
    expect(use(good)).toBeUndefined();
    for (let end = 0; end < good.length; end += 1 + (end % 13)) expect(use(good.subarray(0, end))).toBe("CORRUPT");
    expect(use(Buffer.concat([good, Buffer.alloc(1)]))).toBe("CORRUPT");
    expect(use(Buffer.alloc(0))).toBe("CORRUPT");
    expect(use(Buffer.alloc(5_000, 255))).toBe("CORRUPT");
  });

  test("a flipped byte is told or harmless, never another error", () => {
    for (let at = 0; at < good.length; at++) {
      const bad = Buffer.from(good);
      bad[at]! ^= 0xff;
      const code = use(bad);
      expect(code === undefined || code === "CORRUPT").toBe(true);
      if (at < 8) expect(code).toBe("CORRUPT");
    }
  });

  test("a huge count takes no memory", () => {
    const bad = Buffer.from(good);
    for (let i = 0; i < 256; i++) bad.writeUInt32BE(0xffff_ffff, 8 + i * 4);
    expect(use(bad)).toBe("CORRUPT");
  });
});
