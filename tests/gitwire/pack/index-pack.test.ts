import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import * as zlib from "node:zlib";
import type { GitObject } from "../../../src/gitwire/object/object.ts";
import { hashObject, type ObjectFormat, type Oid, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { DeltaBuilder } from "../../../src/gitwire/pack/delta.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import type { IndexedPack } from "../../../src/gitwire/pack/index-pack.ts";
import { ENTRY } from "../../../src/gitwire/pack/pack-entry.ts";
import { Pack } from "../../../src/gitwire/pack/pack-reader.ts";
import { deflate } from "../../../src/gitwire/pack/zlib.ts";
import { git, gitBytes, tryGit } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { allObjects, encodeEntry, type HandEntry, handPack, listDir, makeRepo, repackOnce } from "./fixtures.ts";
import { index, options, refusal, sourceOf } from "./indexing.ts";

const rng = random("index-pack");

function readAll(indexed: IndexedPack, format: ObjectFormat): Map<Oid, GitObject> {
  const pack = new Pack(indexed.packPath, format);
  const ids = pack.index.loadIds();
  const objects = new Map<Oid, GitObject>();
  for (let i = 0; i < pack.count; i++) {
    const oid = ids.hexSlice(i * format.rawSize, (i + 1) * format.rawSize);
    const object = pack.read(pack.index.offset(i));
    expect(hashObject(format, object.kind, object.data)).toBe(oid);
    objects.set(oid, object);
  }
  pack.close();
  return objects;
}

/** `git index-pack --strict` must take the stored pack, and make the same index of it. */
function expectGitAgrees(indexed: IndexedPack, format: ObjectFormat): void {
  const repo = tempDir();
  git(repo, "init", "-q", "--bare", `--object-format=${format.name}`, ".");
  const idx = path.join(repo, "git.idx");
  git(repo, "index-pack", "-o", idx, indexed.packPath);
  expect(fs.readFileSync(indexed.idxPath).equals(fs.readFileSync(idx))).toBe(true);
}

for (const format of [SHA1, SHA256]) {
  describe(`packs by git, ${format.name}`, () => {
    const repo = makeRepo(format);
    const objects = allObjects(repo);

    for (const deltas of ["ofs", "ref"] as const) {
      const bytes = fs.readFileSync(repackOnce(repo, deltas));

      test(`${deltas}-deltas: the same pack and index as git's, however the pack arrives`, async () => {
        for (const step of [0, 1, 7, 4_096, bytes.length]) {
          const use = options(format);
          const indexed = await index(bytes, use, step);
          expect(fs.readFileSync(indexed.packPath).equals(bytes)).toBe(true);
          expect(indexed.checksum).toBe(bytes.subarray(-format.rawSize).toString("hex"));
          expect([indexed.objectCount, indexed.byteLength]).toEqual([objects.size, bytes.length]);
          expect(indexed.rest.length).toBe(0);
          expect(listDir(use.dir)).toEqual([`pack-${indexed.checksum}.idx`, `pack-${indexed.checksum}.pack`]);
          expect(fs.statSync(indexed.packPath).mode & 0o777).toBe(0o444);
          if (step === 0) {
            expectGitAgrees(indexed, format);
            expect(readAll(indexed, format).size).toBe(objects.size);
          }
        }
      });

      test(`${deltas}-deltas: with next to no memory for bases`, async () => {
        const indexed = await index(bytes, options(format, { heldBytes: 1 }));
        expectGitAgrees(indexed, format);
      });
    }

    test("a thin pack is completed", async () => {
      const revs = "main\n^main~6\n";
      const run = tryGit(repo, ["pack-objects", "--thin", "--stdout", "--revs", "-q"], { input: revs });
      const thin = run.stdout;
      expect(await refusal(thin, {}, format)).toBe("BAD_PACK");
      const indexed = await index(thin, options(format, { bases: sourceOf(format, objects) }), 100);
      expect(indexed.objectCount).toBeGreaterThan(thin.readUInt32BE(8));
      expect(fs.readFileSync(indexed.packPath).readUInt32BE(8)).toBe(indexed.objectCount);
      expect(fs.statSync(indexed.packPath).size).toBe(indexed.byteLength);
      expectGitAgrees(indexed, format);
      const found = readAll(indexed, format);
      for (const [oid, { kind, data }] of found) {
        expect(objects.get(oid)?.kind).toBe(kind);
        expect(objects.get(oid)!.data.equals(data)).toBe(true);
      }
      // The thin pack holds what was asked for: all that is new since main~6.
      for (const oid of gitBytes(repo, "rev-list", "--objects", "main", "^main~6").toString().split("\n")) {
        if (oid !== "") expect(found.has(oid.slice(0, format.hexSize))).toBe(true);
      }
    });
  });

  test(`large objects pass through in pieces, ${format.name}`, async () => {
    const large = Buffer.concat([rng.bytes(600_000), Buffer.alloc(3_000_000, "compressible ")]);
    const target = Buffer.concat([large.subarray(0, 2_000_000), Buffer.from("edit"), large.subarray(2_000_000)]);
    // A delta that is itself larger than what is held whole.
    const huge = rng.bytes(1_200_000);
    const inserts = new DeltaBuilder();
    inserts.insert(huge);
    const id = hashObject(format, "blob", large);
    const bytes = handPack(format, [
      { type: ENTRY.blob, data: large },
      { type: ENTRY.refDelta, data: createDelta(large, target)!, base: id },
      { type: ENTRY.refDelta, data: inserts.finish(large.length, huge.length), base: id },
      { type: ENTRY.blob, data: Buffer.from("last") },
    ]);
    for (const step of [0, 65_536, bytes.length]) {
      const indexed = await index(bytes, options(format), step);
      expectGitAgrees(indexed, format);
      const found = readAll(indexed, format);
      expect(found.get(hashObject(format, "blob", target))?.data.equals(target)).toBe(true);
      expect(found.get(hashObject(format, "blob", huge))?.data.equals(huge)).toBe(true);
    }
  });
}

describe("deltas in any order", () => {
  const texts = Array.from({ length: 30 }, (_, i) =>
    Buffer.from(Array.from({ length: 40 }, (_, line) => `line ${line} ${line < i ? "edited" : "plain"}`).join("\n")),
  );
  const ids = texts.map((text) => hashObject(TEST_FORMAT, "blob", text));
  const whole = (i: number): HandEntry => ({ type: ENTRY.blob, data: texts[i]! });
  const delta = (i: number, from: number): HandEntry => ({
    type: ENTRY.refDelta,
    data: createDelta(texts[from]!, texts[i]!)!,
    base: ids[from]!,
  });
  const all = new Map(texts.map((data, i) => [ids[i]!, { kind: "blob" as const, data }]));

  test("every delta before its base", async () => {
    const entries = [...texts.keys()].map((i) => (i === 0 ? whole(0) : delta(i, i - 1))).reverse();
    const indexed = await index(handPack(TEST_FORMAT, entries), options(TEST_FORMAT));
    expectGitAgrees(indexed, TEST_FORMAT);
    expect([...readAll(indexed, TEST_FORMAT).keys()].sort()).toEqual([...ids].sort());
  });

  test("random trees of deltas, of both types, with any memory for bases", async () => {
    for (let round = 0; round < 20; round++) {
      const parents = texts.map((_, i) => (i === 0 ? -1 : rng.int(i)));
      const order = rng.shuffle([...texts.keys()]);
      const places = new Map<number, number>();
      const entries: HandEntry[] = [];
      let at = 12;
      for (const i of order) {
        const parent = parents[i]!;
        const base = places.get(parent);
        const entry =
          parent < 0
            ? whole(i)
            : base !== undefined && rng.int(2) === 0
              ? { ...delta(i, parent), type: ENTRY.ofsDelta, base: at - base }
              : delta(i, parent);
        places.set(i, at);
        entries.push(entry);
        at += encodeEntry(entry).length;
      }
      const indexed = await index(
        handPack(TEST_FORMAT, entries),
        options(TEST_FORMAT, { heldBytes: rng.pick([1, 3_000, 1e9]) }),
      );
      expectGitAgrees(indexed, TEST_FORMAT);
      expect([...readAll(indexed, TEST_FORMAT).keys()].sort()).toEqual([...ids].sort());
    }
  });

  test("bases beyond the memory for them are dropped and made again, which counts as work", async () => {
    // 0 has 1 and 4 below it, 1 has 2 and 3: on the way back from 1's family 0 is needed again.
    const entries = [whole(0), delta(1, 0), delta(2, 1), delta(3, 1), delta(5, 4), delta(4, 0)];
    const sizes = [1, 2, 3, 4, 5].map((i) => texts[i]!.length).reduce((sum, size) => sum + size);
    const limits = { packInflatedBytes: sizes };
    const pack = handPack(TEST_FORMAT, [...entries, delta(7, 5), delta(6, 5), delta(8, 6), delta(9, 6)]);
    const all = { packInflatedBytes: [1, 2, 3, 4, 5, 6, 7, 8, 9].reduce((sum, i) => sum + texts[i]!.length, 0) };
    expect(await refusal(handPack(TEST_FORMAT, entries), { limits })).toBe("accepted");
    expect(await refusal(pack, { limits: all })).toBe("accepted");
    expect(await refusal(pack, { limits: all, heldBytes: 1 })).toBe("LIMIT_EXCEEDED");
  });

  test("bases from outside: one for many, one below another, one that only looks missing", async () => {
    // 1 and 2 are deltas of 0 and 3 of 2; 5 is a delta of 4, which is a delta of 0 and stands after it.
    const entries = [delta(5, 4), delta(1, 0), delta(3, 2), delta(2, 0), delta(4, 0)];
    const bases = sourceOf(TEST_FORMAT, new Map([[ids[0]!, all.get(ids[0]!)!]]));
    const indexed = await index(handPack(TEST_FORMAT, entries), options(TEST_FORMAT, { bases }));
    expect(indexed.objectCount).toBe(6);
    expectGitAgrees(indexed, TEST_FORMAT);
    expect([...readAll(indexed, TEST_FORMAT).keys()].sort()).toEqual(ids.slice(0, 6).sort());
  });

  test("bases that are outside and come as deltas themselves, whichever is looked for first, are not added", async () => {
    const outside = sourceOf(TEST_FORMAT, all);
    // A chain from 0, which is outside as all the others are, in any order.
    for (let round = 0; round < 10; round++) {
      const order = rng.shuffle(ids.map((_, i) => i)).slice(0, 5);
      const entries = order.slice(1).map((i, n) => delta(i, order[n]!));
      const bytes = handPack(TEST_FORMAT, rng.shuffle(entries));
      const indexed = await index(
        bytes,
        options(TEST_FORMAT, { bases: outside, unique: true }),
        rng.pick([50, 65_536]),
      );
      expect(indexed.objectCount).toBe(5);
      expectGitAgrees(indexed, TEST_FORMAT);
      expect([...readAll(indexed, TEST_FORMAT).keys()].sort()).toEqual(order.map((i) => ids[i]!).sort());
    }
  });

  test("a base's id is right when the window moves in the middle of its delta", async () => {
    const parts = Array.from({ length: 1_500 }, () => rng.bytes(300));
    const deltas = parts.map((part): HandEntry => {
      const builder = new DeltaBuilder();
      builder.insert(part);
      return { type: ENTRY.refDelta, data: builder.finish(texts[0]!.length, part.length), base: ids[0]! };
    });
    const bytes = handPack(TEST_FORMAT, [whole(0), ...deltas]);
    for (const step of [0, 1_000, 99_000, 99_300, 100_000]) {
      const indexed = await index(bytes, options(TEST_FORMAT), step);
      expect(indexed.objectCount).toBe(1_501);
    }
  });

  test("an object that comes twice", async () => {
    const entries = [whole(0), delta(1, 0), whole(0), whole(1), delta(2, 1)];
    const indexed = await index(handPack(TEST_FORMAT, entries), options(TEST_FORMAT));
    expect(indexed.objectCount).toBe(5);
    expect([...readAll(indexed, TEST_FORMAT).keys()]).toHaveLength(3);
    // git refuses that one, but takes plain copies; so do we.
    expectGitAgrees(
      await index(handPack(TEST_FORMAT, [whole(0), whole(1), whole(0)]), options(TEST_FORMAT)),
      TEST_FORMAT,
    );
  });

  test("an object that comes twice is refused where each is to come once, as git index-pack --strict does", async () => {
    const unique = { unique: true };
    expect(await refusal(handPack(TEST_FORMAT, [whole(0), whole(1), whole(0)]), unique)).toBe("BAD_PACK");
    expect(await refusal(handPack(TEST_FORMAT, [whole(0), delta(1, 0), whole(1)]), unique)).toBe("BAD_PACK");
    expect(await refusal(handPack(TEST_FORMAT, [whole(0), delta(1, 0), whole(2)]), unique)).toBe("accepted");
  });

  test("circles through an object that comes twice are refused, whichever copy would be read", async () => {
    const outside = sourceOf(TEST_FORMAT, new Map([[ids[0]!, all.get(ids[0]!)!]]));
    // 1 is a delta of 0, which is outside, and 0 comes again as a delta of 1.
    expect(await refusal(handPack(TEST_FORMAT, [delta(1, 0), delta(0, 1)]), { bases: outside })).toBe("BAD_PACK");
    expect(await refusal(handPack(TEST_FORMAT, [delta(1, 0), delta(0, 1), whole(0)]))).toBe("BAD_PACK");
    expect(await refusal(handPack(TEST_FORMAT, [delta(2, 1), delta(1, 0), delta(0, 2)]), { bases: outside })).toBe(
      "BAD_PACK",
    );
    // Twice, but no delta names it: any copy will do.
    expect(await refusal(handPack(TEST_FORMAT, [whole(0), { ...delta(1, 0) }, whole(1)]))).toBe("accepted");
  });

  test("circles and missing bases are refused", async () => {
    expect(await refusal(handPack(TEST_FORMAT, [delta(0, 1), delta(1, 0)]))).toBe("BAD_PACK");
    expect(await refusal(handPack(TEST_FORMAT, [whole(0), delta(2, 1)]))).toBe("BAD_PACK");
    expect(await refusal(handPack(TEST_FORMAT, [delta(2, 1)]), { bases: sourceOf(TEST_FORMAT, new Map()) })).toBe(
      "BAD_PACK",
    );
  });

  test("distances that lead nowhere are refused", async () => {
    const size = encodeEntry(whole(0)).length;
    for (const base of [0, 1, size - 1, size + 1, size + 11, size + 12, 2 ** 33]) {
      const entries = [whole(0), { ...delta(1, 0), type: ENTRY.ofsDelta, base }];
      expect(await refusal(handPack(TEST_FORMAT, entries))).toBe("BAD_PACK");
    }
  });

  test("deltas that do not fit their base are refused", async () => {
    for (const data of [
      Buffer.alloc(0),
      Buffer.from([1, 1, 0x90, 1]),
      createDelta(texts[4]!.subarray(1), texts[5]!)!,
    ]) {
      expect(await refusal(handPack(TEST_FORMAT, [whole(0), { ...delta(1, 0), data }]))).toBe("BAD_PACK");
    }
  });
});

test("others are served while a large pack is indexed", async () => {
  const entries = Array.from(
    { length: 400_000 },
    (_, i): HandEntry => ({ type: ENTRY.blob, data: Buffer.from(`blob ${i}`) }),
  );
  const body = handPack(TEST_FORMAT, entries);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await index(body, options(TEST_FORMAT), body.length);
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(2);
});

test("entries are taken as they are, whatever level they are compressed with", async () => {
  const data = Buffer.from("some data to compress, some data to compress");
  for (const stream of [zlib.deflateSync(data, { level: 0 }), zlib.deflateSync(data, { level: 9 }), deflate(data)]) {
    const bytes = handPack(TEST_FORMAT, [{ type: ENTRY.blob, data, stream }]);
    const indexed = await index(bytes, options(TEST_FORMAT, { fsync: true }));
    expect(fs.readFileSync(indexed.packPath).equals(bytes)).toBe(true);
  }
});
