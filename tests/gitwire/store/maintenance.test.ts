import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../../src/errors.ts";
import { hashObject, type ObjectFormat, type Oid, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { ENTRY } from "../../../src/gitwire/pack/pack-entry.ts";
import {
  type Candidate,
  chooseBySize,
  combinePacks,
  needsRollUp,
  type RollUp,
  rollUp,
} from "../../../src/gitwire/store/maintenance.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { writePack } from "../../../src/gitwire/store/object-writer.ts";
import { git, gitInput, tryGit } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { allObjects, type HandEntry, handPack, listDir, makeRepo, packsOf } from "../pack/fixtures.ts";
import { failEveryCall } from "./faults.ts";

const rng = random("maintenance");

function emptyStore(format: ObjectFormat): { dir: string; store: ObjectStore; packDir: string } {
  const dir = tempDir("roll");
  git(dir, "init", "-q", "--bare", `--object-format=${format.name}`, ".");
  return { dir, store: open(dir, format), packDir: path.join(dir, "objects/pack") };
}

function open(dir: string, format: ObjectFormat = TEST_FORMAT): ObjectStore {
  return new ObjectStore(path.join(dir, "objects"), format, { cacheBytes: 0 });
}

function fsckClean(dir: string): void {
  const run = tryGit(dir, ["fsck", "--strict", "--full", "--no-dangling"]);
  expect(`${run.status} ${run.stdout}${run.stderr.replace(/notice: .*\n/g, "")}`).toBe("0 ");
}

/** Every object of the repository, as text that can be compared. */
function contents(dir: string): string {
  return [...allObjects(dir)]
    .map(([oid, { kind, data }]) => `${oid} ${kind} ${Bun.hash(data)}`)
    .sort()
    .join("\n");
}

/** Adds a pack of `count` small objects that are nowhere else. */
function addPack(store: ObjectStore, count: number): Oid[] {
  const builder = new PackBuilder(store.format);
  const oids = Array.from({ length: count }, () => builder.write("blob", rng.bytes(30)));
  writePack(store, builder.finish(), { fsync: false });
  return oids;
}

function text(): Buffer {
  return Buffer.from(Array.from({ length: 60 }, (_, i) => `line ${i} ${rng.int(1000)}`).join("\n"));
}

function edited(data: Buffer, edit: string): Buffer {
  const lines = data.toString().split("\n");
  lines[rng.int(lines.length)] = edit;
  return Buffer.from(lines.join("\n"));
}

/** Puts a handmade pack into the repository with git's own index. */
function addHandPack(dir: string, bytes: Buffer): void {
  gitInput(dir, bytes, "index-pack", "--stdin", "--fix-thin");
}

function codeOf(error: unknown): string {
  return error instanceof KvError ? error.code : String(error);
}

for (const format of [SHA1, SHA256]) {
  describe(`rollUp, ${format.name}`, () => {
    test("packs of every kind, by git and by us, with duplicates between them", async () => {
      const dir = makeRepo(format, 30);
      const packDir = path.join(dir, "objects/pack");
      const store = open(dir, format);
      // git's packs with deltas of both types, and an index of version 1.
      for (const [i, back] of [25, 12, 12, 4, 0].entries()) {
        const options = [["--delta-base-offset"], [], ["--index-version=1"]][i % 3]!;
        const revs = `main~${back}\n`;
        gitInput(dir, revs, "pack-objects", "--revs", "-q", ...options, path.join(packDir, "pack"));
      }
      // Ours: generations of edits, each a thin pack that was completed.
      let current = Array.from({ length: 10 }, text);
      const builder = new PackBuilder(format);
      for (const data of current) builder.write("blob", data);
      writePack(store, builder.finish());
      for (let round = 0; round < 15; round++) {
        const next = new PackBuilder(format);
        current = current.map((base, i) => {
          const data = edited(base, `${round} ${i}`);
          next.writeDelta("blob", data, hashObject(format, "blob", base), createDelta(base, data)!);
          return data;
        });
        writePack(store, next.finish());
      }
      const before = contents(dir);
      const bytesBefore = packsOf(dir).reduce((sum, file) => sum + fs.statSync(file).size, 0);
      const count = packsOf(dir).length;
      expect(needsRollUp(store)).toBe(true);
      const result = await rollUp(store, { commonDir: dir });
      expect(result.kind).toBe("rolled");
      const { pack, packs } = result as RollUp & { kind: "rolled" };
      expect(packs).toBe(count);
      expect(packsOf(dir)).toEqual([pack.packPath]);
      expect(listDir(packDir)).toEqual([path.basename(pack.idxPath), path.basename(pack.packPath)]);
      expect(fs.statSync(pack.packPath).size).toBe(pack.byteLength);
      expect(pack.byteLength).toBeLessThan(bytesBefore);
      expect(contents(dir)).toBe(before);
      expect(git(dir, "count-objects", "-v")).toContain(`in-pack: ${pack.objectCount}\n`);
      fsckClean(dir);
      expect(store.packs().length).toBe(1);
      for (const oid of allObjects(dir).keys()) expect(store.read(oid)).toBeDefined();
      // The index is the one git makes.
      git(dir, "index-pack", "-o", path.join(dir, "own.idx"), pack.packPath);
      expect(fs.readFileSync(path.join(dir, "own.idx")).equals(fs.readFileSync(pack.idxPath))).toBe(true);
      expect(fs.existsSync(path.join(dir, "gc.pid"))).toBe(false);
      expect(await rollUp(store, { commonDir: dir, maxPacks: 0 })).toEqual({ kind: "nothing" });
    });

    test("deltas that go in a circle from pack to pack, and chains that are long", async () => {
      const { dir, store } = emptyStore(format);
      const [a, b] = [text(), text()];
      const id = (data: Buffer): Oid => hashObject(format, "blob", data);
      const delta = (base: Buffer, data: Buffer) => ({
        type: ENTRY.refDelta,
        data: createDelta(base, data) ?? Buffer.alloc(0),
        base: id(base),
      });
      const c = edited(b, "c");
      const d = edited(edited(a, "x"), "d");
      // In the first pack b and d lead to a, in the second a and c to d, in the third d to b.
      const packs = [
        [a, edited(a, "b1"), d],
        [d, edited(d, "b2"), a],
      ];
      for (const [root, ...rest] of packs) {
        addHandPack(
          dir,
          handPack(format, [
            { type: ENTRY.blob, data: text() },
            { type: ENTRY.blob, data: root! },
            ...rest.map((data) => delta(root!, data)),
          ]),
        );
      }
      addHandPack(dir, handPack(format, [{ type: ENTRY.blob, data: b }, delta(b, c)]));
      // A chain of 130 deltas.
      let last = text();
      const entries: HandEntry[] = [{ type: ENTRY.blob, data: last }];
      for (let i = 0; i < 130; i++) {
        const next = edited(last, `${i}`);
        entries.push(delta(last, next));
        last = next;
      }
      addHandPack(dir, handPack(format, entries));
      addPack(store, 100);
      const before = contents(dir);
      const result = await rollUp(store, { maxPacks: 0 });
      expect(result.kind).toBe("rolled");
      expect(contents(dir)).toBe(before);
      fsckClean(dir);
      const stats = git(dir, "verify-pack", "-s", packsOf(dir)[0]!);
      const lengths = [...stats.matchAll(/chain length = (\d+)/g)].map((match) => Number(match[1]));
      expect(Math.max(...lengths)).toBeLessThanOrEqual(7);
    });
  });
}

test("deltas of each other, from packs where neither is whole, come apart", async () => {
  // Only what we write ourselves can be so: each pack has the base as a copy under the same roof, then loses it to the other.
  const { dir, store } = emptyStore(TEST_FORMAT);
  const a = text();
  const b = edited(a, "b");
  const c = edited(b, "c");
  const id = (data: Buffer): Oid => hashObject(TEST_FORMAT, "blob", data);
  const entry = (base: Buffer, data: Buffer) => ({
    type: ENTRY.refDelta,
    data: createDelta(base, data)!,
    base: id(base),
  });
  const whole = (data: Buffer) => ({ type: ENTRY.blob, data });
  // a is whole in the first pack only; b hangs on a there, and a on c, c on b in the others.
  for (const pack of [
    [whole(b), entry(b, a)],
    [whole(a), entry(a, c)],
    [whole(c), entry(c, b)],
  ]) {
    addHandPack(dir, handPack(TEST_FORMAT, pack));
  }
  const before = contents(dir);
  expect((await rollUp(store, { maxPacks: 0 })).kind).toBe("rolled");
  expect(contents(dir)).toBe(before);
  fsckClean(dir);
});

test("objects of any size are copied whole", async () => {
  const { dir, store } = emptyStore(TEST_FORMAT);
  const sizes = [0, 1, 5_000, 200_000, 262_000, 263_000, 1_048_570, 1_048_580, 3_500_000];
  for (const size of sizes) {
    const builder = new PackBuilder(TEST_FORMAT);
    builder.write("blob", crypto.getRandomValues(Buffer.alloc(Math.min(size, 65_536))));
    builder.write(
      "blob",
      Buffer.concat(
        Array.from({ length: Math.ceil(size / 65_536) }, () => crypto.getRandomValues(Buffer.alloc(65_536))),
      ).subarray(0, size),
    );
    writePack(store, builder.finish(), { fsync: false });
  }
  const before = contents(dir);
  expect((await combinePacks(store, packsOf(dir))).kind).toBe("rolled");
  expect(packsOf(dir).length).toBe(1);
  expect(contents(dir)).toBe(before);
  fsckClean(dir);
});

test("the choice is the one git makes", async () => {
  for (let round = 0; round < 12; round++) {
    const { dir, store } = emptyStore(TEST_FORMAT);
    const sizes = new Set<number>();
    while (sizes.size < 2 + rng.int(7)) sizes.add(1 + rng.int(rng.pick([12, 60, 300])));
    for (const size of sizes) addPack(store, size);
    const candidates = store
      .ownPacks()
      .map((pack): Candidate => ({ pack, objects: pack.count, bytes: 0, modified: 0 }));
    const chosen = chooseBySize(candidates).map(({ pack }) => pack.path);
    const kept = packsOf(dir).filter((file) => !chosen.includes(file));
    git(dir, "repack", "--geometric=2", "-d", "-q");
    const left = packsOf(dir);
    expect(kept.filter((file) => !left.includes(file))).toEqual([]);
    // git combines a single pack with what is loose, to itself.
    expect(left.length).toBe(kept.length + (chosen.length > 0 ? 1 : 0));
  }
});

test("combining goes on as packs arrive, and every object is copied a few times only", async () => {
  const { dir, store } = emptyStore(TEST_FORMAT);
  const oids: Oid[] = [];
  let copied = 0;
  let most = 0;
  for (let i = 0; i < 300; i++) {
    oids.push(...addPack(store, 1 + rng.int(6)));
    if (!needsRollUp(store)) continue;
    const result = await rollUp(store);
    if (result.kind === "rolled") copied += result.pack.objectCount;
    most = Math.max(most, packsOf(dir).length);
  }
  expect(most).toBeLessThanOrEqual(16);
  expect(copied).toBeLessThan(oids.length * 6);
  const fresh = open(dir);
  for (const oid of oids) expect(fresh.has(oid)).toBe(true);
  fsckClean(dir);
});

test("pinned, large and damaged packs stay; what depends on the old packs goes with them", async () => {
  const { dir, store, packDir } = emptyStore(TEST_FORMAT);
  const pinned = [".keep", ".promisor", ".mtimes"].map((extension) => {
    addPack(store, 3);
    const file = packsOf(dir).find((name) => !fs.existsSync(name.replace(".pack", ".pinned")))!;
    fs.writeFileSync(file.replace(".pack", ".pinned"), "");
    fs.writeFileSync(file.replace(".pack", extension), "");
    return file;
  });
  for (const file of pinned) fs.rmSync(file.replace(".pack", ".pinned"));
  const builder = new PackBuilder(TEST_FORMAT);
  builder.write("blob", rng.bytes(60_000));
  writePack(store, builder.finish());
  const large = packsOf(dir).find((file) => fs.statSync(file).size > 60_000)!;
  addPack(store, 2);
  const broken = packsOf(dir).find((file) => !pinned.includes(file) && file !== large)!;
  fs.chmodSync(broken.replace(".pack", ".idx"), 0o644);
  fs.writeFileSync(broken.replace(".pack", ".idx"), "no index");
  for (let i = 0; i < 5; i++) addPack(store, 4);
  git(dir, "multi-pack-index", "write");
  fs.mkdirSync(path.join(packDir, "multi-pack-index.d"));
  const one = store.replaceablePacks()[0]!.path;
  fs.writeFileSync(one.replace(".pack", ".rev"), "");
  fs.writeFileSync(one.replace(".pack", ".bitmap"), "");
  const fresh = open(dir);
  expect(fresh.replaceablePacks().length).toBe(7);
  const result = await rollUp(fresh, { maxPacks: 3, maxBytes: 50_000 });
  expect(result).toMatchObject({ kind: "rolled", packs: 5 });
  for (const file of [...pinned, large, broken]) expect(fs.existsSync(file)).toBe(true);
  expect(packsOf(dir).length).toBe(6);
  expect(listDir(packDir).filter((name) => /multi-pack-index|\.rev$|\.bitmap$/.test(name))).toEqual([]);
});

test("packs of many objects stay, and are no reason to combine others", async () => {
  const { dir, store } = emptyStore(TEST_FORMAT);
  const bounds = { maxPacks: 4, maxObjects: 50 };
  for (let i = 0; i < 5; i++) addPack(store, 30);
  const large = packsOf(dir);
  for (let i = 0; i < 3; i++) addPack(store, 2);
  expect([needsRollUp(store, bounds), needsRollUp(store, { maxPacks: 4 })]).toEqual([false, true]);
  expect((await rollUp(store, bounds)).kind).toBe("nothing");
  for (let i = 0; i < 2; i++) addPack(store, 2);
  expect(needsRollUp(store, bounds)).toBe(true);
  expect(await rollUp(store, bounds)).toMatchObject({ kind: "rolled", packs: 5, pack: { objectCount: 10 } });
  expect(packsOf(dir).filter((file) => large.includes(file)).length).toBe(5);
  expect((await rollUp(store, bounds)).kind).toBe("nothing");
});

describe("readers", () => {
  test("of this store and of others go on, whatever they had open", async () => {
    const { dir, store } = emptyStore(TEST_FORMAT);
    const oids = Array.from({ length: 12 }, () => addPack(store, 3)).flat();
    const others = [open(dir), open(dir), open(dir)];
    others[0]!.packs();
    for (const oid of oids) others[1]!.read(oid);
    const held = others[2]!.locate(oids[5]!)!;
    const content = store.read(oids[5]!)!.data;
    expect((await rollUp(store, { maxPacks: 3 })).kind).toBe("rolled");
    if (held.kind !== "packed") throw new Error("it is in a pack");
    expect(held.pack.read(held.offset).data.equals(content)).toBe(true);
    for (const reader of [store, ...others]) {
      for (const oid of rng.shuffle(oids)) {
        expect(reader.has(oid)).toBe(true);
        expect(reader.read(oid)?.kind).toBe("blob");
      }
      expect(reader.resolvePrefix(oids[3]!.slice(0, 12))).toEqual([oids[3]!]);
    }
  });

  test("and others are served meanwhile", async () => {
    const { store } = emptyStore(TEST_FORMAT);
    const oids = Array.from({ length: 4 }, () => addPack(store, 15_000)).flat();
    let reads = 0;
    const timer = setInterval(() => {
      if (store.read(oids[reads % oids.length]!) === undefined) throw new Error("an object is gone");
      reads++;
    }, 1);
    const result = await rollUp(store, { maxPacks: 3 });
    clearInterval(timer);
    expect(result.kind).toBe("rolled");
    expect(reads).toBeGreaterThan(5);
  });
});

test("it can be stopped, and then nothing is left of it", async () => {
  const { dir, store, packDir } = emptyStore(TEST_FORMAT);
  for (let i = 0; i < 4; i++) addPack(store, 8_000);
  const before = listDir(packDir);
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 5);
  expect(rollUp(store, { maxPacks: 3, commonDir: dir, signal: stop.signal })).rejects.toThrow();
  await Bun.sleep(200);
  expect(listDir(packDir)).toEqual(before);
  expect(fs.existsSync(path.join(dir, "gc.pid"))).toBe(false);
});

test("a damaged entry is noticed, and nothing changes", async () => {
  const { dir, store, packDir } = emptyStore(TEST_FORMAT);
  for (let i = 0; i < 5; i++) addPack(store, 4);
  const [victim] = packsOf(dir);
  const bytes = fs.readFileSync(victim!);
  fs.chmodSync(victim!, 0o644);
  for (const at of [12, 20, 60, bytes.length - 5]) {
    const damaged = Buffer.from(bytes);
    damaged[at]! ^= 0x10;
    fs.writeFileSync(victim!, damaged);
    const before = listDir(packDir);
    const error = await rollUp(open(dir), { maxPacks: 3, commonDir: dir }).catch((thrown) => thrown);
    expect(codeOf(error)).toBe("CORRUPT");
    expect(listDir(packDir)).toEqual(before);
  }
  fs.writeFileSync(victim!, bytes);
  expect((await rollUp(store, { maxPacks: 3, commonDir: dir })).kind).toBe("rolled");
});

test("a full disk at any call leaves every object readable", async () => {
  const dirs = emptyStore(TEST_FORMAT);
  let current = text();
  const first = new PackBuilder(TEST_FORMAT);
  first.write("blob", current);
  writePack(dirs.store, first.finish());
  for (let i = 0; i < 4; i++) {
    const next = edited(current, `${i}`);
    const builder = new PackBuilder(TEST_FORMAT);
    builder.writeDelta("blob", next, hashObject(TEST_FORMAT, "blob", current), createDelta(current, next)!);
    writePack(dirs.store, builder.finish());
    current = next;
  }
  const before = contents(dirs.dir);
  const calls = await failEveryCall(
    () => rollUp(open(dirs.dir), { maxPacks: 1, commonDir: dirs.dir }),
    () => {
      expect(contents(dirs.dir)).toBe(before);
      fsckClean(dirs.dir);
      expect(listDir(dirs.packDir).filter((name) => /^\.?tmp[-_]/.test(name))).toEqual([]);
      expect(fs.existsSync(path.join(dirs.dir, "gc.pid.lock"))).toBe(false);
    },
  );
  expect(calls).toBeGreaterThan(12);
  expect(packsOf(dirs.dir).length).toBe(1);
  expect(contents(dirs.dir)).toBe(before);
});
