import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { hashObject, type ObjectFormat, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { CopyFinder, foldCopies } from "../../../src/gitwire/store/fold-copies.ts";
import { rollUp } from "../../../src/gitwire/store/maintenance.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { writePack } from "../../../src/gitwire/store/object-writer.ts";
import { git, tryGit } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { packsOf } from "../pack/fixtures.ts";
import { failEveryCall } from "./faults.ts";

const rng = random("fold-copies");
const KiB = 1024;

function emptyStore(format: ObjectFormat): { dir: string; store: ObjectStore } {
  const dir = tempDir("fold");
  git(dir, "init", "-q", "--bare", `--object-format=${format.name}`, ".");
  return { dir, store: new ObjectStore(path.join(dir, "objects"), format, { cacheBytes: 0 }) };
}

function fsckClean(dir: string): void {
  const run = tryGit(dir, ["fsck", "--strict", "--full", "--no-dangling"]);
  expect(`${run.status} ${run.stdout}${run.stderr.replace(/notice: .*\n/g, "")}`).toBe("0 ");
}

const packBytes = (dir: string): number => packsOf(dir).reduce((sum, file) => sum + fs.statSync(file).size, 0);

/** Every object that a fresh reader finds, as text that can be compared. */
function contents({ objectsDir, format }: ObjectStore): string {
  const store = new ObjectStore(objectsDir, format);
  const oids = new Set(
    store.packs().flatMap(({ index }) => Array.from({ length: index.count }, (_, i) => index.oid(i))),
  );
  const lines = [...oids].map((oid) => {
    const { kind, data } = store.read(oid)!;
    expect(hashObject(format, kind, data)).toBe(oid);
    return oid;
  });
  store.close();
  return lines.sort().join("\n");
}

/** Adds a pack with pieces that resemble nothing. */
function addPieces(store: ObjectStore, count: number, size: number): Buffer[] {
  const builder = new PackBuilder(store.format);
  const pieces = Array.from({ length: count }, () => Buffer.from(rng.bytes(size)));
  for (const piece of pieces) builder.write("blob", piece);
  writePack(store, builder.finish(), { fsync: false });
  return pieces;
}

/** Adds a thin pack in which each of `pieces` has `changed` new bytes; returns the new pieces. */
function addEdits(store: ObjectStore, pieces: readonly Buffer[], changed: number): Buffer[] {
  const builder = new PackBuilder(store.format);
  const made = pieces.map((piece) => {
    const next = Buffer.from(piece);
    next.set(rng.bytes(changed), rng.int(piece.length - changed));
    builder.writeDelta("blob", next, hashObject(store.format, "blob", piece), createDelta(piece, next)!);
    return next;
  });
  writePack(store, builder.finish(), { fsync: false });
  return made;
}

for (const format of [SHA1, SHA256]) {
  test(`pieces that change little are stored at what changed, ${format.name}`, async () => {
    const { dir, store } = emptyStore(format);
    let pieces = addPieces(store, 24, 64 * KiB);
    const first = packBytes(dir);
    const finder = new CopyFinder(store);
    let changed = 0;
    for (let round = 0; round < 2; round++) {
      pieces = addEdits(store, pieces, 2 * KiB);
      changed += pieces.length * 2 * KiB;
      // Completed, the thin pack holds every base.
      expect(packBytes(dir)).toBeGreaterThan(1.9 * first);
      expect(finder.isStale()).toBe(true);
      const before = contents(store);
      expect((await foldCopies(store, { commonDir: dir }, finder)).kind).toBe("rolled");
      expect(packsOf(dir).length).toBe(1);
      expect(packBytes(dir) - first).toBeLessThan(1.1 * changed);
      expect(contents(store)).toBe(before);
      fsckClean(dir);
    }
    expect((await foldCopies(store, { commonDir: dir }, finder)).kind).toBe("nothing");
    expect(finder.isStale()).toBe(false);
    for (const piece of pieces) expect(store.read(hashObject(format, "blob", piece))?.data.equals(piece)).toBe(true);
  });
}

describe("what is left as it is", () => {
  test("packs with nothing in common, and copies that are hardly worth it", async () => {
    const { dir, store } = emptyStore(TEST_FORMAT);
    const pieces = addPieces(store, 8, 40 * KiB);
    addPieces(store, 8, 40 * KiB);
    expect((await foldCopies(store)).kind).toBe("nothing");
    addEdits(store, pieces.slice(0, 2), 100);
    expect((await foldCopies(store)).kind).toBe("nothing");
    expect(packsOf(dir).length).toBe(3);
    // The same again, and it is: what is there twice adds up over several packs.
    addEdits(store, pieces.slice(2, 4), 100);
    expect((await foldCopies(store, {}, new CopyFinder(store, 2))).kind).toBe("nothing");
    expect((await foldCopies(store)).kind).toBe("rolled");
    expect(packsOf(dir).length).toBe(2);
    fsckClean(dir);
  });

  test("pinned packs, and everything while git tidies up", async () => {
    const { dir, store } = emptyStore(TEST_FORMAT);
    const pieces = addPieces(store, 8, 64 * KiB);
    const [pinned] = packsOf(dir);
    fs.writeFileSync(pinned!.replace(".pack", ".keep"), "");
    addEdits(store, pieces, 100);
    store.refresh();
    expect((await foldCopies(store)).kind).toBe("nothing");
    fs.rmSync(pinned!.replace(".pack", ".keep"));
    store.refresh();
    fs.writeFileSync(path.join(dir, "gc.pid"), `${process.ppid} ${os.hostname()}\n`);
    expect((await foldCopies(store, { commonDir: dir })).kind).toBe("busy");
    fs.rmSync(path.join(dir, "gc.pid"));
    expect((await foldCopies(store, { commonDir: dir })).kind).toBe("rolled");
  });

  test("the store, where any call fails as on a full disk", async () => {
    const { dir, store } = emptyStore(TEST_FORMAT);
    addEdits(store, addPieces(store, 4, 64 * KiB), 100);
    const before = contents(store);
    const calls = await failEveryCall(
      () => foldCopies(store, { commonDir: dir }),
      () => {
        expect(contents(store)).toBe(before);
        expect(fs.readdirSync(path.join(dir, "objects")).filter((name) => name.startsWith("tmp_"))).toEqual([]);
      },
    );
    expect(calls).toBeGreaterThan(8);
    expect(contents(store)).toBe(before);
    fsckClean(dir);
  });
});

test("rolling up keeps packs of large objects apart, and none of them grows past the limit", async () => {
  const { dir, store } = emptyStore(TEST_FORMAT);
  const limit = 3 * 1024 * KiB;
  for (let i = 0; i < 4; i++) addPieces(store, 36, 33 * KiB);
  const bulky = packsOf(dir);
  for (let i = 0; i < 6; i++) addPieces(store, 20, 30);
  expect(await rollUp(store, { maxPacks: 3, maxBytes: limit })).toMatchObject({ kind: "rolled", packs: 6 });
  expect(packsOf(dir)).toEqual(expect.arrayContaining(bulky));
  expect(await rollUp(store, { maxPacks: 3, maxBytes: limit })).toMatchObject({ kind: "rolled", packs: 2 });
  expect(await rollUp(store, { maxPacks: 3, maxBytes: limit })).toMatchObject({ kind: "rolled", packs: 2 });
  for (const file of packsOf(dir)) expect(fs.statSync(file).size).toBeLessThan(limit);
  expect(packsOf(dir).length).toBe(3);
  expect((await rollUp(store, { maxPacks: 2, maxBytes: limit })).kind).toBe("nothing");
});
