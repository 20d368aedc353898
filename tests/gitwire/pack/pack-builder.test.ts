import { beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { KvError } from "../../../src/errors.ts";
import type { GitObject, ObjectSource } from "../../../src/gitwire/object/object.ts";
import { hashObject, type ObjectFormat, type Oid, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { type FinishedPack, PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { storeFinishedPack } from "../../../src/gitwire/pack/pack-install.ts";
import { deflate } from "../../../src/gitwire/pack/zlib.ts";
import { fsck, git, gitBytes, tryGit } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { allObjects, listDir } from "./fixtures.ts";

const rng = random("pack-builder");

function emptyRepo(format: ObjectFormat): string {
  const dir = tempDir("builder");
  git(dir, "init", "-q", "--bare", `--object-format=${format.name}`, ".");
  return dir;
}

/** Hands the pack to `git index-pack --strict`; returns the ids it then has. */
function intoGit(format: ObjectFormat, pack: FinishedPack, repo = emptyRepo(format)): string[] {
  const bytes = Buffer.concat([...pack.chunks()]);
  expect(bytes.length).toBe(pack.byteLength);
  expect(bytes.subarray(-format.rawSize).toString("hex")).toBe(pack.checksum);
  const run = tryGit(repo, ["index-pack", "--strict", "--stdin", "--fix-thin"], { input: bytes });
  if (run.status !== 0) throw new Error(run.stderr);
  return [...allObjects(repo).keys()];
}

/** Texts that resemble each other. */
function versions(count: number, size = 1_500): Buffer[] {
  const lines = Array.from({ length: size / 15 }, (_, i) => `line ${i} ${rng.int(1000)}`);
  return Array.from({ length: count }, (_, i) => {
    lines[rng.int(lines.length)] = `edit ${i}`;
    return Buffer.from(lines.join("\n"));
  });
}

function memorySource(format: ObjectFormat, objects: Map<Oid, GitObject>): ObjectSource {
  return { format, read: (oid) => objects.get(oid), has: (oid) => objects.has(oid) };
}

for (const format of [SHA1, SHA256]) {
  describe(`PackBuilder, ${format.name}`, () => {
    test("git accepts every kind and size of object, and fsck is content", () => {
      const builder = new PackBuilder(format);
      const blobs = [0, 1, 40, 41, 300, 5_000, 70_000, 2_000_000].map((size) => rng.bytes(Math.min(size, 70_000)));
      blobs.push(Buffer.alloc(2_000_000, "abc"));
      const oids = blobs.map((data) => builder.write("blob", data));
      const tree = builder.write("tree", Buffer.concat([Buffer.from("100644 file\0"), Buffer.from(oids[3]!, "hex")]));
      const who = "A <a@example.com> 1700000000 +0000";
      const commit = builder.write("commit", Buffer.from(`tree ${tree}\nauthor ${who}\ncommitter ${who}\n\nhello\n`));
      const tag = builder.write("tag", Buffer.from(`object ${commit}\ntype commit\ntag v1\ntagger ${who}\n\na tag\n`));
      const repo = emptyRepo(format);
      const ids = intoGit(format, builder.finish(), repo);
      expect(ids.sort()).toEqual([...new Set([...oids, tree, commit, tag])].sort());
      git(repo, "update-ref", "refs/tags/v1", tag);
      expect(fsck(repo).replace(/notice: HEAD points to an unborn branch.*/, "")).toBe("");
      expect(gitBytes(repo, "cat-file", "blob", oids.at(-1)!).equals(blobs.at(-1)!)).toBe(true);
    });

    test("deltas inside the pack and against objects outside it", () => {
      for (const ofsDelta of [true, false]) {
        const [outside, ...texts] = versions(120).map((text) => Buffer.concat([Buffer.alloc(2_000, "long "), text]));
        const builder = new PackBuilder(format, { ofsDelta });
        const base = hashObject(format, "blob", outside!);
        const oids: Oid[] = [];
        let last = outside!;
        let lastOid = base;
        for (const text of texts) {
          lastOid = builder.writeDelta("blob", text, lastOid, createDelta(last, text)!);
          oids.push(lastOid);
          last = text;
        }
        const pack = builder.finish();
        expect([pack.thin, pack.missingBases, pack.objectCount]).toEqual([true, [base], texts.length]);
        // Written whole they would take over 100 KB.
        expect(pack.byteLength).toBeLessThan(40_000);
        const repo = emptyRepo(format);
        expect(tryGit(repo, ["hash-object", "-w", "--stdin"], { input: outside! }).status).toBe(0);
        intoGit(format, pack, repo);
        oids.forEach((oid, i) => {
          if (i % 20 === 0) expect(gitBytes(repo, "cat-file", "blob", oid).equals(texts[i]!)).toBe(true);
        });
        // No chain is longer than git would make it.
        const idx = listDir(path.join(repo, "objects/pack")).find((name) => name.endsWith(".idx"))!;
        const stats = git(repo, "verify-pack", "-s", `objects/pack/${idx}`);
        const lengths = [...stats.matchAll(/chain length = (\d+)/g)].map((match) => Number(match[1]));
        expect(Math.max(...lengths)).toBe(50);
      }
    });

    test("small objects make shorter chains", () => {
      const repo = emptyRepo(format);
      const builder = new PackBuilder(format);
      let last = Buffer.alloc(800, "small ");
      let oid = builder.write("blob", last);
      for (let i = 0; i < 60; i++) {
        const next = Buffer.from(last);
        next.writeUInt32BE(i, i * 8);
        oid = builder.writeDelta("blob", next, oid, createDelta(last, next)!);
        last = next;
      }
      intoGit(format, builder.finish(), repo);
      expect(gitBytes(repo, "cat-file", "blob", oid).equals(last)).toBe(true);
      const idx = listDir(path.join(repo, "objects/pack")).find((name) => name.endsWith(".idx"))!;
      const lengths = git(repo, "verify-pack", "-s", `objects/pack/${idx}`).match(/(?<=chain length = )\d+/g)!;
      expect(Math.max(...lengths.map(Number))).toBe(16);
    });

    test("a base that comes later makes no thin pack", () => {
      const [first, second] = versions(2);
      const builder = new PackBuilder(format);
      const base = hashObject(format, "blob", first!);
      builder.writeDelta("blob", second!, base, createDelta(first!, second!)!);
      expect(builder.finish().thin).toBe(true);
      builder.write("blob", first!);
      const pack = builder.finish();
      expect([pack.thin, pack.missingBases]).toEqual([false, []]);
      expect(intoGit(format, pack).length).toBe(2);
    });

    test("a large pack is not made thin for a little; deltas that are worth it make it thin", () => {
      const [base, ...texts] = versions(40);
      const outside = hashObject(format, "blob", base!);
      const delta = (builder: PackBuilder, data: Buffer): Oid =>
        builder.writeDelta("blob", data, outside, createDelta(base!, data)!);
      const builder = new PackBuilder(format);
      const large = rng.bytes(20_000 * 1024);
      builder.write("blob", large);
      const mark = builder.mark();
      // A part in 1,024 of it: twelve of them fit.
      const few = texts.slice(0, 12);
      const oids = few.map((text) => delta(builder, text));
      const pack = builder.finish();
      expect([pack.thin, pack.missingBases]).toEqual([false, []]);
      expect(pack.byteLength).toBeLessThan(large.length * 1.001 + 1_000);
      expect(intoGit(format, pack)).toEqual(expect.arrayContaining(oids));
      builder.rewind(mark);
      for (const text of texts) delta(builder, text);
      expect(builder.finish().missingBases).toEqual([outside]);
      // It is thin: no more is written whole.
      const { byteLength } = builder.finish();
      delta(builder, Buffer.concat([base!, Buffer.from("another end")]));
      expect(builder.finish().byteLength - byteLength).toBeLessThan(200);
    });

    test("a thin pack is stored with its bases", () => {
      const [outside, inner, ...texts] = versions(10);
      const objects = new Map<Oid, GitObject>();
      for (const data of [outside!, inner!]) objects.set(hashObject(format, "blob", data), { kind: "blob", data });
      const builder = new PackBuilder(format);
      for (const [i, text] of texts.entries()) {
        const from = i % 2 === 0 ? outside! : inner!;
        builder.writeDelta("blob", text, hashObject(format, "blob", from), createDelta(from, text)!);
      }
      const repo = emptyRepo(format);
      const dir = path.join(repo, "objects/pack");
      const paths = storeFinishedPack(dir, builder.finish(), memorySource(format, objects), { fsync: true })!;
      expect(git(repo, "verify-pack", "-s", paths.packPath)).toContain("chain length = 1: 8 objects");
      const found = allObjects(repo);
      expect(found.size).toBe(10);
      for (const text of texts) expect(found.get(hashObject(format, "blob", text))!.data.equals(text)).toBe(true);
      expect(fs.statSync(paths.packPath).mode & 0o777).toBe(0o444);
      expect(listDir(dir)).toEqual([path.basename(paths.idxPath), path.basename(paths.packPath)]);
      expect(
        fsck(repo)
          .replace(/notice: .*/g, "")
          .trim(),
      ).toBe("");
    });

    test("a missing base is told and nothing is left", () => {
      const [outside, text] = versions(2);
      const builder = new PackBuilder(format);
      const base = hashObject(format, "blob", outside!);
      builder.writeDelta("blob", text!, base, createDelta(outside!, text!)!);
      const dir = tempDir();
      let error: unknown;
      try {
        storeFinishedPack(dir, builder.finish(), memorySource(format, new Map()), { fsync: false });
      } catch (thrown) {
        error = thrown;
      }
      expect((error as KvError).code).toBe("BAD_OBJECT");
      expect((error as KvError).message).toContain(base);
      expect(listDir(dir)).toEqual([]);
    });
  });
}

test("an object is written once, however it is written", () => {
  const [first, second] = versions(2);
  const builder = new PackBuilder(TEST_FORMAT);
  const a = builder.write("blob", first!);
  const b = builder.writeDelta("blob", second!, a, createDelta(first!, second!)!);
  expect(builder.write("blob", first!)).toBe(a);
  expect(builder.write("blob", second!)).toBe(b);
  expect(builder.writeDelta("blob", second!, a, createDelta(first!, second!)!)).toBe(b);
  expect([builder.size, builder.has(a), builder.has(TEST_FORMAT.emptyTree)]).toEqual([2, true, false]);
  // The same bytes as another kind are another object.
  builder.write("commit", first!);
  expect(builder.size).toBe(3);
  expect(() =>
    builder.writeDelta("blob", Buffer.from("x"), hashObject(TEST_FORMAT, "blob", Buffer.from("x")), b as never),
  ).toThrow();
});

test("a pack of nothing", () => {
  const pack = new PackBuilder(TEST_FORMAT).finish();
  expect([pack.objectCount, pack.byteLength]).toEqual([0, 12 + TEST_FORMAT.rawSize]);
  // What `git pack-objects --stdout` writes of nothing.
  const trailer = {
    sha1: "029d08823bd8a8eab510ad6ac75c823cfd3ed31e",
    sha256: "7ed890d8a45760f3eecf73045b1d1047085af4776dc683d78eac82203df1993f",
  }[TEST_FORMAT.name];
  expect(Buffer.concat([...pack.chunks()]).toString("hex")).toBe(`5041434b0000000200000000${trailer}`);
  const dir = tempDir();
  expect(storeFinishedPack(dir, pack, memorySource(TEST_FORMAT, new Map()), { fsync: true })).toBeUndefined();
  expect(listDir(dir)).toEqual([]);
});

describe("mark and rewind", () => {
  // The first few are compressed by another engine, to the same content in other bytes.
  beforeAll(() => {
    for (let i = 0; i < 50; i++) deflate(Buffer.alloc(200, i));
  });
  for (const memory of [undefined, 20_000]) {
    test(`drops exactly what came later, ${memory === undefined ? "in memory" : "spilled"}`, () => {
      const dir = tempDir();
      const texts = versions(60);
      const make = (): PackBuilder =>
        new PackBuilder(TEST_FORMAT, { dir, ...(memory === undefined ? {} : { memory }) });
      const straight = make();
      const detour = make();
      texts.forEach((text, i) => {
        const extra = rng.bytes(1_000);
        straight.write("blob", text);
        straight.write("blob", extra);
        detour.write("blob", text);
        if (i % 7 === 0) {
          const mark = detour.mark();
          const outside = hashObject(TEST_FORMAT, "blob", rng.bytes(10));
          detour.writeDelta("blob", rng.bytes(50), outside, Buffer.from([1, 1, 1, 65]));
          for (let n = rng.int(40); n > 0; n--) detour.write("blob", rng.bytes(rng.int(3_000)));
          detour.rewind(mark);
          expect(detour.mark()).toEqual(mark);
        }
        detour.write("blob", extra);
      });
      const [a, b] = [straight.finish(), detour.finish()];
      expect([b.checksum, b.thin]).toEqual([a.checksum, false]);
      expect(intoGit(TEST_FORMAT, b).length).toBe(a.objectCount);
      straight.dispose();
      detour.dispose();
      expect(listDir(dir)).toEqual([]);
    });
  }

  test("what was dropped can be written again, and a finished pack notices the change", () => {
    const builder = new PackBuilder(TEST_FORMAT);
    builder.write("blob", Buffer.from("kept"));
    const mark = builder.mark();
    const oid = builder.write("blob", Buffer.from("dropped"));
    const pack = builder.finish();
    builder.rewind(mark);
    expect(builder.has(oid)).toBe(false);
    expect(() => [...pack.chunks()]).toThrow("before its builder changes");
    expect(builder.write("blob", Buffer.from("dropped"))).toBe(oid);
    expect(intoGit(TEST_FORMAT, builder.finish())).toContain(oid);
  });
});

test("a large pack goes through a file without a name", () => {
  const dir = tempDir();
  const builder = new PackBuilder(TEST_FORMAT, { dir, memory: 100_000 });
  const data = Array.from({ length: 200 }, () => rng.bytes(3_000));
  const oids = data.map((bytes) => builder.write("blob", bytes));
  if (process.platform !== "win32") expect(listDir(dir)).toEqual([]);
  const pack = builder.finish();
  expect(pack.byteLength).toBeGreaterThan(600_000);
  // Readable more than once.
  const [first, second] = [Buffer.concat([...pack.chunks()]), Buffer.concat([...pack.chunks()])];
  expect(first.equals(second)).toBe(true);
  expect(intoGit(TEST_FORMAT, pack).sort()).toEqual(oids.sort());
  const paths = storeFinishedPack(dir, pack, memorySource(TEST_FORMAT, new Map()), { fsync: false })!;
  expect(fs.readFileSync(paths.packPath).equals(first)).toBe(true);
  builder.dispose();
  expect(listDir(dir).length).toBe(2);
});

describe("what another builder made", () => {
  for (const format of [SHA1, SHA256]) {
    test(`is taken as it is, and written to after that, ${format.name}`, () => {
      const texts = versions(60);
      const whole = new PackBuilder(format);
      const block = new PackBuilder(format);
      const oids = texts.map((text, i) => {
        const builder = i < 30 ? whole : block;
        if (i % 30 === 0) return builder.write("blob", text);
        const base = texts[i - 1]!;
        return builder.writeDelta("blob", text, hashObject(format, "blob", base), createDelta(base, text)!);
      });
      expect(whole.append(block.block())).toBe(true);
      const last = Buffer.concat([texts.at(-1)!, Buffer.from("more")]);
      oids.push(whole.writeDelta("blob", last, oids.at(-1)!, createDelta(texts.at(-1)!, last)!));
      expect(intoGit(format, whole.finish()).sort()).toEqual([...oids].sort());
    });
  }

  test("is refused where one of its objects is here, or a delta here is made from one, and leaves no trace", () => {
    const [base, text, other] = versions(3) as [Buffer, Buffer, Buffer];
    const builder = new PackBuilder(TEST_FORMAT);
    builder.write("blob", other);
    builder.writeDelta("blob", text, hashObject(TEST_FORMAT, "blob", base), createDelta(base, text)!);
    const before = builder.finish().checksum;
    for (const held of [other, base]) {
      const block = new PackBuilder(TEST_FORMAT);
      block.write("blob", Buffer.from("new"));
      block.write("blob", held);
      expect(builder.append(block.block())).toBe(false);
      expect(builder.size).toBe(2);
      expect(builder.finish().checksum).toBe(before);
    }
  });

  test("takes what its own deltas are made from along: the pack is thin", () => {
    const [base, text] = versions(2) as [Buffer, Buffer];
    const block = new PackBuilder(TEST_FORMAT);
    const outside = hashObject(TEST_FORMAT, "blob", base);
    block.writeDelta("blob", text, outside, createDelta(base, text)!);
    const builder = new PackBuilder(TEST_FORMAT);
    builder.write("blob", Buffer.from("first"));
    expect(builder.append(block.block())).toBe(true);
    expect(builder.finish().missingBases).toEqual([outside]);
  });
});
