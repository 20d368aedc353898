import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../../src/errors.ts";
import type { GitObject } from "../../../src/gitwire/object/object.ts";
import { hashObject, type ObjectFormat, type Oid, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { applyDelta } from "../../../src/gitwire/pack/delta.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { ObjectCache } from "../../../src/gitwire/pack/object-cache.ts";
import { ENTRY } from "../../../src/gitwire/pack/pack-entry.ts";
import { writePackIndex } from "../../../src/gitwire/pack/pack-index-writer.ts";
import { Pack } from "../../../src/gitwire/pack/pack-reader.ts";
import { fileOf } from "../../../src/gitwire/pack/temp-file.ts";
import { inflateAt } from "../../../src/gitwire/pack/zlib.ts";
import { atOnce } from "../../../src/time-slice.ts";
import { git } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { allObjects, encodeEntry, type HandEntry, handPack, makeRepo, packsOf, repackOnce } from "./fixtures.ts";

const rng = random("pack-reader");

function expectSame(pack: Pack, objects: ReadonlyMap<Oid, GitObject>): void {
  expect(pack.count).toBe(objects.size);
  for (const [oid, { kind, data }] of objects) {
    const offset = pack.find(oid);
    const found = pack.read(offset);
    if (found.kind !== kind || !found.data.equals(data)) throw new Error(`${oid} reads otherwise`);
    expect(pack.kind(offset)).toBe(kind);
  }
}

/** Writes a handmade pack and an index of it as it is, however broken. */
function store(format: ObjectFormat, entries: readonly HandEntry[], ids: readonly Oid[]): Pack {
  const bytes = handPack(format, entries);
  const offsets = new Float64Array(entries.length);
  const crcs = new Uint32Array(entries.length);
  let at = 12;
  entries.forEach((entry, i) => {
    const encoded = encodeEntry(entry);
    offsets[i] = at;
    crcs[i] = Bun.hash.crc32(encoded);
    at += encoded.length;
  });
  const name = path.join(tempDir(), "pack-hand");
  fs.writeFileSync(`${name}.pack`, bytes);
  const fd = fs.openSync(`${name}.idx`, "w");
  const raw = Buffer.from(ids.join(""), "hex");
  atOnce(
    writePackIndex(fileOf(fd), format, { count: ids.length, ids: raw, offsets, crcs }, bytes.subarray(-format.rawSize)),
  );
  fs.closeSync(fd);
  return new Pack(`${name}.pack`, format);
}

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
}

for (const format of [SHA1, SHA256]) {
  describe(`packs by git, ${format.name}`, () => {
    const repo = makeRepo(format);
    const objects = allObjects(repo);

    for (const deltas of ["ofs", "ref"] as const) {
      const path = repackOnce(repo, deltas);
      const kept = `${tempDir()}/pack-kept.pack`;
      for (const ext of [".pack", ".idx"]) {
        fs.copyFileSync(path.replace(/\.pack$/, ext), kept.replace(/\.pack$/, ext));
      }

      test(`with ${deltas}-deltas read as git reads them, with any cache`, () => {
        const types = new Set<number>();
        const bytes = fs.readFileSync(kept);
        const pack = new Pack(kept, format);
        for (const offset of pack.order().offsets) types.add((bytes[offset]! >> 4) & 7);
        expect(types.has(deltas === "ofs" ? ENTRY.ofsDelta : ENTRY.refDelta)).toBe(true);
        expectSame(pack, objects);
        expectSame(new Pack(kept, format, new ObjectCache(0)), objects);
        expectSame(new Pack(kept, format, new ObjectCache(20_000)), objects);
        pack.release();
        expectSame(pack, objects);
        pack.close();
        expectSame(pack, objects);
      });

      test(`with ${deltas}-deltas: raw entries are what is stored`, () => {
        for (const withOrder of [false, true]) {
          const pack = new Pack(kept, format);
          if (withOrder) pack.order();
          let seenDeltas = 0;
          for (const [oid, { kind, data }] of objects) {
            const offset = pack.find(oid);
            const raw = pack.rawEntry(offset);
            const info = pack.entryInfo(offset);
            expect([info.kind, info.size]).toEqual([raw.kind, raw.size]);
            const { data: inflated, consumed } = inflateAt(raw.data, 0, raw.size);
            expect(consumed).toBe(raw.data.length);
            if (raw.base === undefined) {
              expect(raw.kind).toBe(kind);
              expect(inflated.equals(data)).toBe(true);
              expect(info.baseOffset).toBe(-1);
            } else {
              seenDeltas++;
              expect(pack.find(raw.base)).toBe(info.baseOffset);
              expect(applyDelta(objects.get(raw.base)!.data, inflated).equals(data)).toBe(true);
            }
            expect(pack.oidAt(offset)).toBe(oid);
          }
          expect(seenDeltas).toBeGreaterThan(20);
        }
      });
    }

    test("an index of version 1 serves too", () => {
      const dir = tempDir();
      const [pack] = packsOf(repo);
      fs.copyFileSync(pack!, `${dir}/pack-v1.pack`);
      git(repo, "index-pack", "--index-version=1", "-o", `${dir}/pack-v1.idx`, `${dir}/pack-v1.pack`);
      const reader = new Pack(`${dir}/pack-v1.pack`, format);
      expectSame(reader, objects);
      reader.order();
      for (const oid of objects.keys()) expect(reader.rawEntry(reader.find(oid)).size).toBeGreaterThan(0);
    });

    test("a pack stays readable after its files are gone", () => {
      const pack = new Pack(repackOnce(repo, "ofs"), format);
      const [first] = objects.keys();
      pack.read(pack.find(first!));
      const copy = tempDir();
      fs.cpSync(`${repo}/objects/pack`, copy, { recursive: true });
      fs.rmSync(`${repo}/objects/pack`, { recursive: true });
      expectSame(pack, objects);
      fs.cpSync(copy, `${repo}/objects/pack`, { recursive: true });
    });
  });
}

describe("long chains and large objects", () => {
  test("a chain of 200 deltas", () => {
    const repo = makeRepo(TEST_FORMAT, 250);
    git(repo, "repack", "-adfq", "--depth=200", "--window=300");
    const [file] = packsOf(repo);
    const longest = /chain length = (\d+)[^\n]*\n(?:[^c]|$)/.exec(`${git(repo, "verify-pack", "-s", file!)}\n`)?.[1];
    expect(Number(longest)).toBeGreaterThan(60);
    expectSame(new Pack(file!, TEST_FORMAT, new ObjectCache(0)), allObjects(repo));
  });

  test("chains that lie among each other are read in any order, from two packs in turn", () => {
    const [count, length] = [6, 40];
    const packs = [0, 1].map(() => {
      const entries: HandEntry[] = [];
      const objects: { oid: Oid; data: Buffer }[] = [];
      const [at, chains]: [number[], Buffer[]] = [[], []];
      let offset = 12;
      for (let link = 0; link < length; link++) {
        for (let chain = 0; chain < count; chain++) {
          const before = chains[chain];
          const data = before === undefined ? rng.bytes(3_000) : Buffer.from(before);
          data.writeUInt32BE(link, (link * 60) % 2_900);
          const entry: HandEntry =
            before === undefined
              ? { type: ENTRY.blob, data }
              : { type: ENTRY.ofsDelta, data: createDelta(before, data)!, base: offset - at[chain]! };
          entries.push(entry);
          objects.push({ oid: hashObject(TEST_FORMAT, "blob", data), data });
          [at[chain], chains[chain]] = [offset, data];
          offset += encodeEntry(entry).length;
        }
      }
      const pack = store(
        TEST_FORMAT,
        entries,
        objects.map(({ oid }) => oid),
      );
      return { pack, objects };
    });
    for (let n = 0; n < 400; n++) {
      const { pack, objects } = packs[n % 2]!;
      const { oid, data } = objects[rng.int(objects.length)]!;
      expect(pack.read(pack.find(oid)).data.equals(data)).toBe(true);
    }
  });

  test("a chain longer than the limit is refused", () => {
    const entries: HandEntry[] = [{ type: ENTRY.blob, data: Buffer.from("A") }];
    const delta = Buffer.from([1, 1, 0x90, 1]);
    let distance = encodeEntry(entries[0]!).length;
    for (let i = 0; i < 4_096; i++) {
      const entry: HandEntry = { type: ENTRY.ofsDelta, data: delta, base: distance };
      entries.push(entry);
      distance = encodeEntry(entry).length;
    }
    const ids = entries.map((_, i) => hashObject(TEST_FORMAT, "blob", Buffer.from(`${i}`)));
    const pack = store(TEST_FORMAT, entries, ids);
    expect(pack.read(pack.find(ids[4_095]!)).data.toString()).toBe("A");
    const last = new Pack(pack.path, TEST_FORMAT, new ObjectCache(0));
    expect(codeOf(() => last.read(last.find(ids[4_096]!)))).toBe("LIMIT_EXCEEDED");
    expect(codeOf(() => last.kind(last.find(ids[4_096]!)))).toBe("LIMIT_EXCEEDED");
  });

  test("entries around the size of one read", () => {
    const sizes = [0, 1, 4_000, 4_060, 4_070, 4_080, 4_096, 8_192, 16_384, 16_385, 100_000, 3_000_000];
    const blobs = sizes.flatMap((size) => [rng.bytes(Math.min(size, 100_000)), Buffer.alloc(size, "text ")]);
    const pack = store(
      TEST_FORMAT,
      blobs.map((data) => ({ type: ENTRY.blob, data })),
      blobs.map((data) => hashObject(TEST_FORMAT, "blob", data)),
    );
    for (const data of blobs) {
      const offset = pack.find(hashObject(TEST_FORMAT, "blob", data));
      expect(pack.read(offset).data.equals(data)).toBe(true);
      expect(inflateAt(pack.rawEntry(offset).data, 0, data.length).data.equals(data)).toBe(true);
    }
  });

  test("offsets and distances past 2^31 and 2^32, in a sparse file", () => {
    const name = path.join(tempDir("sparse"), "pack-sparse");
    const base = Buffer.from("the base, at the start of a pack of more than five gigabytes");
    const delta = Buffer.from([base.length, 8, 0x91, 4, 4, 4, 0x20, 0x65, 0x6e, 0x64]);
    const places = [12, 2 ** 31 - 5, 2 ** 31 + 1_000, 2 ** 32 - 3, 2 ** 32 + 1_000, 5 * 2 ** 30];
    const fd = fs.openSync(`${name}.pack`, "w");
    fs.writeSync(fd, handPack(TEST_FORMAT, []).subarray(0, 8), 0, 8, 0);
    fs.writeSync(fd, Buffer.from([0, 0, 0, places.length]), 0, 4, 8);
    const crcs = places.map((place) => {
      const entry = encodeEntry(
        place === 12 ? { type: ENTRY.blob, data: base } : { type: ENTRY.ofsDelta, data: delta, base: place - 12 },
      );
      fs.writeSync(fd, entry, 0, entry.length, place);
      return Bun.hash.crc32(entry);
    });
    const checksum = Buffer.alloc(TEST_FORMAT.rawSize, 9);
    fs.writeSync(fd, checksum, 0, checksum.length, 5 * 2 ** 30 + 1_000);
    fs.closeSync(fd);
    const ids = places.map(() => rng.bytes(TEST_FORMAT.rawSize));
    const idx = fs.openSync(`${name}.idx`, "w");
    const table = {
      count: places.length,
      ids: Buffer.concat(ids),
      offsets: Float64Array.from(places),
      crcs: Uint32Array.from(crcs),
    };
    atOnce(writePackIndex(fileOf(idx), TEST_FORMAT, table, checksum));
    fs.closeSync(idx);
    const pack = new Pack(`${name}.pack`, TEST_FORMAT);
    ids.forEach((id, i) => {
      const offset = pack.findRaw(id, 0);
      expect(offset).toBe(places[i]!);
      expect(pack.read(offset).data.toString()).toBe(i === 0 ? base.toString() : "base end");
      expect(pack.entryInfo(offset).baseOffset).toBe(i === 0 ? -1 : 12);
    });
  });
});

describe("damage", () => {
  const repo = makeRepo(TEST_FORMAT, 12);
  const source = repackOnce(repo, "ofs");
  const good = fs.readFileSync(source);
  const objects = allObjects(repo);
  const file = path.join(tempDir(), "pack-bad.pack");
  fs.copyFileSync(source.replace(/\.pack$/, ".idx"), file.replace(/\.pack$/, ".idx"));

  /** Reads everything out of `bytes`; returns how many objects failed, each with a typed error, and how many read wrong. */
  const readAll = (bytes: Buffer): { failed: number; wrong: number } => {
    fs.writeFileSync(file, bytes);
    const pack = new Pack(file, TEST_FORMAT, new ObjectCache(0));
    let failed = 0;
    let wrong = 0;
    for (const [oid, { data }] of objects) {
      const code = codeOf(() => {
        if (!pack.read(pack.find(oid)).data.equals(data)) wrong++;
      });
      if (code !== undefined) {
        expect(["CORRUPT", "LIMIT_EXCEEDED"]).toContain(code);
        failed++;
      }
    }
    pack.close();
    return { failed, wrong };
  };

  test("a flipped byte of compressed data never gives wrong data", () => {
    let harmless = 0;
    expect(readAll(good)).toEqual({ failed: 0, wrong: 0 });
    const pack = new Pack(source, TEST_FORMAT);
    const offsets = [...pack.order().offsets];
    for (let round = 0; round < 150; round++) {
      const bad = Buffer.from(good);
      const at = 12 + rng.int(good.length - 32);
      const start = offsets.findLast((offset) => offset <= at)!;
      bad[at]! ^= 1 + rng.int(255);
      const { failed, wrong } = readAll(bad);
      if (at < pack.entryInfo(start).dataOffset) continue;
      expect(wrong).toBe(0);
      if (failed === 0) harmless++;
    }
    // A few bits mean nothing: the padding before a stream's checksum, the level in its header.
    expect(harmless).toBeLessThan(15);
  });

  test("raw entries are checked too", () => {
    const pack = new Pack(source, TEST_FORMAT);
    const [first, second] = [...pack.order().offsets];
    const bad = Buffer.from(good);
    bad[second! - 3]! ^= 1;
    fs.writeFileSync(file, bad);
    const broken = new Pack(file, TEST_FORMAT);
    expect(codeOf(() => broken.rawEntry(first!))).toBe("CORRUPT");
    broken.order();
    expect(codeOf(() => broken.rawEntry(first!))).toBe("CORRUPT");
    expect(codeOf(() => broken.oidAt(first! + 1))).toBe("CORRUPT");
    // Version 1 of an index has no CRCs: the data itself is checked.
    const old = file.replace("bad", "old");
    git(repo, "index-pack", "--index-version=1", "-o", old.replace(/\.pack$/, ".idx"), source);
    fs.writeFileSync(old, bad);
    const oldBroken = new Pack(old, TEST_FORMAT);
    oldBroken.order();
    expect(codeOf(() => oldBroken.rawEntry(first!))).toBe("CORRUPT");
  });

  test("a pack cut short, of another index, or no pack at all", () => {
    const use = (bytes: Buffer): string | undefined => {
      fs.writeFileSync(file, bytes);
      const pack = new Pack(file, TEST_FORMAT);
      const code = codeOf(() => pack.read(12));
      pack.close();
      return code;
    };
    for (const end of [0, 4, 11, 12, 31, 32, 100, good.length - 1]) expect(use(good.subarray(0, end))).toBe("CORRUPT");
    for (const at of [0, 7, 11, good.length - 1]) {
      const bad = Buffer.from(good);
      bad[at]! ^= 0xff;
      expect(use(bad)).toBe("CORRUPT");
    }
  });

  test("offsets that point anywhere are refused or read as what stands there", () => {
    const pack = new Pack(source, TEST_FORMAT, new ObjectCache(0));
    for (const offset of [-1, 0, 11, good.length - TEST_FORMAT.rawSize, good.length, 2 ** 33, Number.NaN]) {
      expect(codeOf(() => pack.read(offset))).toBe("CORRUPT");
    }
    for (let offset = 12; offset < Math.min(good.length - TEST_FORMAT.rawSize, 700); offset++) {
      const code = codeOf(() => pack.read(offset));
      expect(code === undefined || code === "CORRUPT" || code === "LIMIT_EXCEEDED").toBe(true);
    }
  });

  test("deltas without a base here, on themselves, or in a circle", () => {
    const a = "a".repeat(TEST_FORMAT.hexSize);
    const b = "b".repeat(TEST_FORMAT.hexSize);
    const delta = Buffer.from([1, 1, 0x90, 1]);
    const missing = store(TEST_FORMAT, [{ type: ENTRY.refDelta, data: delta, base: b }], [a]);
    expect(codeOf(() => missing.read(missing.find(a)))).toBe("CORRUPT");
    const self = store(TEST_FORMAT, [{ type: ENTRY.ofsDelta, data: delta, base: 0 }], [a]);
    expect(codeOf(() => self.read(self.find(a)))).toBe("CORRUPT");
    const before = store(TEST_FORMAT, [{ type: ENTRY.ofsDelta, data: delta, base: 5 }], [a]);
    expect(codeOf(() => before.read(before.find(a)))).toBe("CORRUPT");
    const circle = store(
      TEST_FORMAT,
      [
        { type: ENTRY.refDelta, data: delta, base: b },
        { type: ENTRY.refDelta, data: delta, base: a },
      ],
      [a, b],
    );
    expect(codeOf(() => circle.read(circle.find(a)))).toBe("LIMIT_EXCEEDED");
    expect(codeOf(() => circle.kind(circle.find(a)))).toBe("LIMIT_EXCEEDED");
  });

  test("an absurd size takes no memory", () => {
    const id = "c".repeat(TEST_FORMAT.hexSize);
    const pack = store(TEST_FORMAT, [{ type: ENTRY.blob, data: Buffer.from("x"), size: 2 ** 40 }], [id]);
    expect(codeOf(() => pack.read(pack.find(id)))).toBe("LIMIT_EXCEEDED");
    const lying = store(TEST_FORMAT, [{ type: ENTRY.blob, data: Buffer.from("x"), size: 60_000_000 }], [id]);
    expect(codeOf(() => lying.read(lying.find(id)))).toBe("CORRUPT");
  });
});
