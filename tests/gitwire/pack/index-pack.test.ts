import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import * as zlib from "node:zlib";
import { KvError } from "../../../src/errors.ts";
import type { GitObject, ObjectSource } from "../../../src/gitwire/object/object.ts";
import { hashObject, type ObjectFormat, type Oid, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { DeltaBuilder } from "../../../src/gitwire/pack/delta.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { type IndexedPack, type IndexPackOptions, indexPack } from "../../../src/gitwire/pack/index-pack.ts";
import { ENTRY } from "../../../src/gitwire/pack/pack-entry.ts";
import type { PackSource } from "../../../src/gitwire/pack/pack-input.ts";
import { Pack } from "../../../src/gitwire/pack/pack-reader.ts";
import { deflate } from "../../../src/gitwire/pack/zlib.ts";
import { git, gitBytes, tryGit } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { allObjects, encodeEntry, type HandEntry, handPack, listDir, makeRepo, repackOnce } from "./fixtures.ts";

const rng = random("index-pack");

/** `bytes` in chunks of `step`, or of random lengths for 0. */
function inChunks(bytes: Buffer, step: number): PackSource {
  let at = 0;
  return {
    read: async () => {
      if (at >= bytes.length) return undefined;
      const chunk = bytes.subarray(at, at + (step > 0 ? step : 1 + rng.int(5_000)));
      at += chunk.length;
      return chunk;
    },
  };
}

function sourceOf(format: ObjectFormat, objects: ReadonlyMap<Oid, GitObject>): ObjectSource {
  return { format, read: (oid) => objects.get(oid), has: (oid) => objects.has(oid) };
}

function options(format: ObjectFormat, more: Partial<IndexPackOptions> = {}): IndexPackOptions {
  return { format, dir: tempDir("indexed"), bases: undefined, ...more };
}

async function index(bytes: Buffer, use: IndexPackOptions, step = 65_536): Promise<IndexedPack> {
  return (await indexPack(inChunks(bytes, step), use))!;
}

/** The error code of indexing `bytes`; nothing may be left behind then. */
async function refusal(
  bytes: Buffer,
  more: Partial<IndexPackOptions> = {},
  format = SHA1,
  step = 65_536,
): Promise<string> {
  const use = options(format, more);
  try {
    await index(bytes, use, step);
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    expect(listDir(use.dir)).toEqual([]);
    return error.code;
  }
  return "accepted";
}

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
  const ids = texts.map((text) => hashObject(SHA1, "blob", text));
  const whole = (i: number): HandEntry => ({ type: ENTRY.blob, data: texts[i]! });
  const delta = (i: number, from: number): HandEntry => ({
    type: ENTRY.refDelta,
    data: createDelta(texts[from]!, texts[i]!)!,
    base: ids[from]!,
  });
  const all = new Map(texts.map((data, i) => [ids[i]!, { kind: "blob" as const, data }]));

  test("every delta before its base", async () => {
    const entries = [...texts.keys()].map((i) => (i === 0 ? whole(0) : delta(i, i - 1))).reverse();
    const indexed = await index(handPack(SHA1, entries), options(SHA1));
    expectGitAgrees(indexed, SHA1);
    expect([...readAll(indexed, SHA1).keys()].sort()).toEqual([...ids].sort());
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
      const indexed = await index(handPack(SHA1, entries), options(SHA1, { heldBytes: rng.pick([1, 3_000, 1e9]) }));
      expectGitAgrees(indexed, SHA1);
      expect([...readAll(indexed, SHA1).keys()].sort()).toEqual([...ids].sort());
    }
  });

  test("bases beyond the memory for them are dropped and made again, which counts as work", async () => {
    // 0 has 1 and 4 below it, 1 has 2 and 3: on the way back from 1's family 0 is needed again.
    const entries = [whole(0), delta(1, 0), delta(2, 1), delta(3, 1), delta(5, 4), delta(4, 0)];
    const sizes = [1, 2, 3, 4, 5].map((i) => texts[i]!.length).reduce((sum, size) => sum + size);
    const limits = { packInflatedBytes: sizes };
    const pack = handPack(SHA1, [...entries, delta(7, 5), delta(6, 5), delta(8, 6), delta(9, 6)]);
    const all = { packInflatedBytes: [1, 2, 3, 4, 5, 6, 7, 8, 9].reduce((sum, i) => sum + texts[i]!.length, 0) };
    expect(await refusal(handPack(SHA1, entries), { limits })).toBe("accepted");
    expect(await refusal(pack, { limits: all })).toBe("accepted");
    expect(await refusal(pack, { limits: all, heldBytes: 1 })).toBe("LIMIT_EXCEEDED");
  });

  test("bases from outside: one for many, one below another, one that only looks missing", async () => {
    // 1 and 2 are deltas of 0 and 3 of 2; 5 is a delta of 4, which is a delta of 0 and stands after it.
    const entries = [delta(5, 4), delta(1, 0), delta(3, 2), delta(2, 0), delta(4, 0)];
    const bases = sourceOf(SHA1, new Map([[ids[0]!, all.get(ids[0]!)!]]));
    const indexed = await index(handPack(SHA1, entries), options(SHA1, { bases }));
    expect(indexed.objectCount).toBe(6);
    expectGitAgrees(indexed, SHA1);
    expect([...readAll(indexed, SHA1).keys()].sort()).toEqual(ids.slice(0, 6).sort());
  });

  test("a base's id is right when the window moves in the middle of its delta", async () => {
    const parts = Array.from({ length: 1_500 }, () => rng.bytes(300));
    const deltas = parts.map((part): HandEntry => {
      const builder = new DeltaBuilder();
      builder.insert(part);
      return { type: ENTRY.refDelta, data: builder.finish(texts[0]!.length, part.length), base: ids[0]! };
    });
    const bytes = handPack(SHA1, [whole(0), ...deltas]);
    for (const step of [0, 1_000, 99_000, 99_300, 100_000]) {
      const indexed = await index(bytes, options(SHA1), step);
      expect(indexed.objectCount).toBe(1_501);
    }
  });

  test("an object that comes twice", async () => {
    const entries = [whole(0), delta(1, 0), whole(0), whole(1), delta(2, 1)];
    const indexed = await index(handPack(SHA1, entries), options(SHA1));
    expect(indexed.objectCount).toBe(5);
    expect([...readAll(indexed, SHA1).keys()]).toHaveLength(3);
    // git refuses that one, but takes plain copies; so do we.
    expectGitAgrees(await index(handPack(SHA1, [whole(0), whole(1), whole(0)]), options(SHA1)), SHA1);
  });

  test("circles and missing bases are refused", async () => {
    expect(await refusal(handPack(SHA1, [delta(0, 1), delta(1, 0)]))).toBe("BAD_PACK");
    expect(await refusal(handPack(SHA1, [whole(0), delta(2, 1)]))).toBe("BAD_PACK");
    expect(await refusal(handPack(SHA1, [delta(2, 1)]), { bases: sourceOf(SHA1, new Map()) })).toBe("BAD_PACK");
  });

  test("distances that lead nowhere are refused", async () => {
    const size = encodeEntry(whole(0)).length;
    for (const base of [0, 1, size - 1, size + 1, size + 11, size + 12, 2 ** 33]) {
      const entries = [whole(0), { ...delta(1, 0), type: ENTRY.ofsDelta, base }];
      expect(await refusal(handPack(SHA1, entries))).toBe("BAD_PACK");
    }
  });

  test("deltas that do not fit their base are refused", async () => {
    for (const data of [
      Buffer.alloc(0),
      Buffer.from([1, 1, 0x90, 1]),
      createDelta(texts[4]!.subarray(1), texts[5]!)!,
    ]) {
      expect(await refusal(handPack(SHA1, [whole(0), { ...delta(1, 0), data }]))).toBe("BAD_PACK");
    }
  });
});

describe("hostile packs", () => {
  const text = Buffer.from("some text, some text, some text, some text, some text");
  const edited = Buffer.concat([text, Buffer.from(" and more")]);
  const id = hashObject(SHA1, "blob", text);
  const entries: HandEntry[] = [
    { type: ENTRY.blob, data: text },
    { type: ENTRY.refDelta, data: createDelta(text, edited)!, base: id },
    { type: ENTRY.blob, data: Buffer.from("short") },
  ];
  const good = handPack(SHA1, entries);

  test("cut anywhere", async () => {
    expect(await refusal(good)).toBe("accepted");
    for (let end = 0; end < good.length; end++) {
      expect(await refusal(good.subarray(0, end), {}, SHA1, end % 2 === 0 ? 65_536 : 3)).toBe("BAD_PACK");
    }
  });

  test("a flipped bit anywhere", async () => {
    for (let bit = 0; bit < good.length * 8; bit += 3) {
      const bad = Buffer.from(good);
      bad[bit >> 3]! ^= 1 << (bit & 7);
      // The version is not covered by anything but the checksum; a size may now be beyond the limit.
      expect(await refusal(bad)).toMatch(/^(BAD_PACK|LIMIT_EXCEEDED)$/);
    }
  });

  test("more or fewer objects than declared", async () => {
    expect(await refusal(handPack(SHA1, entries, 2))).toBe("BAD_PACK");
    expect(await refusal(handPack(SHA1, entries, 4))).toBe("BAD_PACK");
    expect(await refusal(handPack(SHA1, entries, 0))).toBe("BAD_PACK");
    expect(await refusal(handPack(SHA1, [], 1))).toBe("BAD_PACK");
    // Twenty million objects declared, three there: no memory for the rest.
    const before = process.memoryUsage().rss;
    expect(await refusal(handPack(SHA1, entries, 20_000_000))).toBe("BAD_PACK");
    expect(process.memoryUsage().rss - before).toBeLessThan(50 * 1024 * 1024);
  });

  test("no pack, another version", async () => {
    expect(await refusal(Buffer.from("HTTP/1.1 200 OK\r\n\r\nnot a pack at all"))).toBe("BAD_PACK");
    const bad = Buffer.from(good);
    bad[7] = 4;
    expect(await refusal(bad)).toBe("BAD_PACK");
  });

  test("a pack without objects is not stored", async () => {
    const use = options(SHA1);
    expect(await indexPack(inChunks(handPack(SHA1, []), 5), use)).toBeUndefined();
    expect(listDir(use.dir)).toEqual([]);
  });

  test("what follows the pack is handed back, and nothing is read beyond that", async () => {
    const after = Buffer.from("0000 what follows");
    let reads = 0;
    const all = Buffer.concat([good, after]);
    const source: PackSource = { read: async () => (reads++ === 0 ? all : await new Promise(() => {})) };
    expect((await indexPack(source, options(SHA1)))!.rest.equals(after)).toBe(true);
    expect(reads).toBe(1);
    const exact = inChunks(good, good.length);
    let more = 0;
    const stingy: PackSource = { read: () => (more++ === 0 ? exact.read() : new Promise(() => {})) };
    expect((await indexPack(stingy, options(SHA1)))!.objectCount).toBe(3);
  });

  test("each limit", async () => {
    expect(await refusal(good, { limits: { packBytes: good.length - 40 } })).toBe("LIMIT_EXCEEDED");
    expect(await refusal(good, { limits: { packObjects: 2 } })).toBe("LIMIT_EXCEEDED");
    expect(await refusal(good, { limits: { objectBytes: text.length - 1 } })).toBe("LIMIT_EXCEEDED");
    // The result of a delta is an object too.
    expect(await refusal(good, { limits: { objectBytes: text.length } })).toBe("LIMIT_EXCEEDED");
    expect(await refusal(good, { limits: { deltaDepth: 0 } })).toBe("LIMIT_EXCEEDED");
    expect(await refusal(good, { limits: { packInflatedBytes: edited.length - 1 } })).toBe("LIMIT_EXCEEDED");
    const exact = { packObjects: 3, objectBytes: edited.length, deltaDepth: 1, packInflatedBytes: edited.length };
    expect(await refusal(good, { limits: { ...exact, packBytes: good.length } })).toBe("accepted");
  });

  test("chains at the limit and one beyond", async () => {
    const chain = (length: number): Buffer => {
      const made: HandEntry[] = [{ type: ENTRY.blob, data: Buffer.from("0") }];
      for (let i = 1; i <= length; i++) {
        const data = Buffer.from([`${i - 1}`.length, `${i}`.length, `${i}`.length, ...Buffer.from(`${i}`)]);
        made.push({ type: ENTRY.ofsDelta, data, base: encodeEntry(made[i - 1]!).length });
      }
      return handPack(SHA1, made);
    };
    expect(await refusal(chain(4_095))).toBe("accepted");
    expect(await refusal(chain(4_096))).toBe("LIMIT_EXCEEDED");
  });

  test("bombs: data that inflates to more than it declares, or declares too much", async () => {
    const bomb = zlib.deflateSync(Buffer.alloc(300 * 1024 * 1024));
    const before = process.memoryUsage().rss;
    const with_ = (size: number): Buffer =>
      handPack(SHA1, [{ type: ENTRY.blob, data: Buffer.alloc(0), size, stream: bomb }]);
    for (const size of [0, 100, 1_000_000, 2_000_000]) expect(await refusal(with_(size))).toBe("BAD_PACK");
    expect(await refusal(with_(2 ** 33))).toBe("LIMIT_EXCEEDED");
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
  });

  test("a stream that never ends", async () => {
    // Empty stored blocks for ever: no data, no end.
    const blocks = Buffer.alloc(10_000 * 5, "\0\0\0\xff\xff", "latin1");
    for (const size of [0, 1_000, 1_500_000]) {
      const start = handPack(SHA1, [
        { type: ENTRY.blob, data: Buffer.alloc(0), size, stream: Buffer.from([0x78, 0x01]) },
      ]).subarray(0, -20);
      let sent = 0;
      const source: PackSource = {
        read: async () => {
          const chunk = sent === 0 ? start : blocks;
          sent += chunk.length;
          if (sent > 10_000_000) throw new Error("read on and on");
          return chunk;
        },
      };
      const error = await indexPack(source, options(SHA1)).catch((thrown) => thrown);
      expect(error.message).toContain("does not end");
    }
  });

  test("small deltas that make huge objects again and again", async () => {
    const base = Buffer.alloc(1_000_000, "x");
    const builder = new DeltaBuilder();
    for (let i = 0; i < 50; i++) {
      builder.copy(0, base.length);
      builder.insert(Buffer.from("-"));
    }
    const data = builder.finish(base.length, 50 * (base.length + 1));
    const baseId = hashObject(SHA1, "blob", base);
    const bytes = handPack(SHA1, [
      { type: ENTRY.blob, data: base },
      ...Array.from({ length: 20 }, (): HandEntry => ({ type: ENTRY.refDelta, data, base: baseId })),
    ]);
    expect(bytes.length).toBeLessThan(50_000);
    expect(await refusal(bytes, { limits: { packInflatedBytes: 200_000_000 } })).toBe("LIMIT_EXCEEDED");
  });

  test("an error of the connection is handed on, and nothing is left", async () => {
    const use = options(SHA1);
    const lost = new KvError("NETWORK", "connection lost");
    let reads = 0;
    const source: PackSource = {
      read: async () => {
        if (reads++ > 0) throw lost;
        return good.subarray(0, 60);
      },
    };
    expect(await indexPack(source, use).catch((error) => error)).toBe(lost);
    expect(listDir(use.dir)).toEqual([]);
  });
});

test("others are served while a large pack is indexed", async () => {
  const entries = Array.from(
    { length: 50_000 },
    (_, i): HandEntry => ({ type: ENTRY.blob, data: Buffer.from(`blob ${i}`) }),
  );
  const body = handPack(SHA1, entries);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await index(body, options(SHA1), body.length);
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(2);
});

test("entries are taken as they are, whatever level they are compressed with", async () => {
  const data = Buffer.from("some data to compress, some data to compress");
  for (const stream of [zlib.deflateSync(data, { level: 0 }), zlib.deflateSync(data, { level: 9 }), deflate(data)]) {
    const bytes = handPack(SHA1, [{ type: ENTRY.blob, data, stream }]);
    const indexed = await index(bytes, options(SHA1, { fsync: true }));
    expect(fs.readFileSync(indexed.packPath).equals(bytes)).toBe(true);
  }
});
