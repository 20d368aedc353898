import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { hashObject, type Oid, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { indexPack } from "../../../src/gitwire/pack/index-pack.ts";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { deflateBound } from "../../../src/gitwire/pack/zlib.ts";
import { rollUp } from "../../../src/gitwire/store/maintenance.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { writeLoose } from "../../../src/gitwire/store/object-writer.ts";
import { Quarantine, sweepQuarantines } from "../../../src/gitwire/store/quarantine.ts";
import { fsck, git } from "../../support/git.ts";
import { noise } from "../../support/noise.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { listDir } from "../pack/fixtures.ts";
import { failEveryCall, withFault } from "./faults.ts";

function makeObjects(format = TEST_FORMAT): { repo: string; dir: string; store: ObjectStore } {
  const repo = tempDir("quarantine");
  git(repo, "init", "-q", "--bare", `--object-format=${format.name}`, ".");
  const dir = path.join(repo, "objects");
  return { repo, dir, store: new ObjectStore(dir, format) };
}

/** Brings one pack of these blobs into the quarantine. */
async function receive(quarantine: Quarantine, store: ObjectStore, ...blobs: (string | Buffer)[]): Promise<Oid[]> {
  const builder = new PackBuilder(store.format);
  const oids = blobs.map((blob) => builder.write("blob", Buffer.from(blob)));
  const chunks = builder.finish().chunks()[Symbol.iterator]();
  const source = { read: async () => chunks.next().value as Buffer | undefined };
  await indexPack(source, { format: store.format, dir: quarantine.packDir, bases: store });
  return oids;
}

const quarantines = (dir: string): string[] => listDir(dir).filter((name) => name.startsWith(".tmp-kv-incoming"));

for (const format of [SHA1, SHA256]) {
  test(`objects are seen through the quarantine only, until it is migrated, ${format.name}`, async () => {
    const { repo, dir, store } = makeObjects(format);
    const old = writeLoose(store, "blob", Buffer.from("old"));
    const quarantine = Quarantine.create(dir);
    expect(path.basename(quarantine.dir)).toMatch(/^\.tmp-kv-incoming-[a-z0-9]{6}$/);
    const [a, b] = await receive(quarantine, store, "new a", "new b");
    const [c] = await receive(quarantine, store, "a second pack");
    writeLoose(quarantine.objects(format), "blob", Buffer.from("loose in quarantine"), { fsync: false });
    const loose = hashObject(format, "blob", Buffer.from("loose in quarantine"));
    const view = quarantine.source(store);
    for (const oid of [old, a!, b!, c!, loose]) expect([view.has(oid), view.read(oid)?.kind]).toEqual([true, "blob"]);
    for (const oid of [a!, b!, c!, loose]) expect([store.has(oid), store.read(oid)]).toEqual([false, undefined]);
    expect(git(repo, "count-objects", "-v")).toContain("in-pack: 0");

    quarantine.migrate(store);
    expect(quarantines(dir)).toEqual([]);
    for (const oid of [old, a!, b!, c!, loose]) {
      expect(store.read(oid)?.kind).toBe("blob");
      expect(view.read(oid)?.kind).toBe("blob");
      expect(view.has(oid)).toBe(true);
      expect(git(repo, "cat-file", "-t", oid)).toBe("blob");
    }
    expect(
      fsck(repo)
        .replace(/notice: .*/g, "")
        .trim(),
    ).toBe("");
    quarantine.discard();
    expect(store.has(a!)).toBe(true);
  });
}

test("large objects are read into the reader's buffer, those of the quarantine and those of the store", async () => {
  const { dir, store } = makeObjects();
  const [large, larger] = [noise("large", 100_000), noise("larger", 200_000)];
  const before = Quarantine.create(dir);
  const [stored] = await receive(before, store, large);
  before.migrate(store);
  const quarantine = Quarantine.create(dir);
  const [arrived] = await receive(quarantine, store, larger);
  const view = quarantine.source(store);
  const room = Buffer.allocUnsafeSlow(deflateBound(larger.length));
  const expectRead = (oid: Oid, data: Buffer): void => {
    const object = view.readInto?.(oid, room);
    expect(object?.data.buffer).toBe(room.buffer);
    expect(object?.data.equals(data)).toBe(true);
  };
  expectRead(stored!, large);
  expectRead(arrived!, larger);
  expect(view.readInto?.(store.format.zeroOid, room)).toBeUndefined();
  quarantine.migrate(store);
  expectRead(arrived!, larger);
});

test("discarded, nothing has happened", async () => {
  const { dir, store } = makeObjects();
  const before = listDir(dir);
  const quarantine = Quarantine.create(dir);
  const [oid] = await receive(quarantine, store, "refused");
  const view = quarantine.source(store);
  expect(view.has(oid!)).toBe(true);
  quarantine.discard();
  quarantine.discard();
  expect(listDir(dir)).toEqual(before);
  expect([view.has(oid!), store.has(oid!)]).toEqual([false, false]);
  expect(() => quarantine.migrate()).toThrow("discarded");
});

test("a store that is not told finds what was migrated", async () => {
  const { dir, store } = makeObjects();
  const quarantine = Quarantine.create(dir);
  const [oid] = await receive(quarantine, store, "found by looking again");
  expect(store.has(oid!)).toBe(false);
  quarantine.sync();
  quarantine.sync();
  quarantine.migrate();
  expect(store.has(oid!)).toBe(true);
});

test("temporary files stay behind", async () => {
  const { dir, store } = makeObjects();
  const quarantine = Quarantine.create(dir);
  await receive(quarantine, store, "x");
  fs.writeFileSync(path.join(quarantine.packDir, "tmp_pack_left"), "half a pack");
  quarantine.migrate(store);
  expect(listDir(path.join(dir, "pack")).filter((name) => name.startsWith("tmp_"))).toEqual([]);
});

/** Receives a small pack of these blobs into memory. */
async function receiveHeld(store: ObjectStore, ...texts: string[]): Promise<{ quarantine: Quarantine; oids: Oid[] }> {
  const builder = new PackBuilder(store.format);
  const oids = texts.map((text) => builder.write("blob", Buffer.from(text)));
  const chunks = builder.finish().chunks()[Symbol.iterator]();
  const source = { read: async () => chunks.next().value as Buffer | undefined };
  const quarantine = Quarantine.prepare(store.objectsDir);
  const indexed = (await indexPack(source, { ...store, dir: quarantine.packDir, bases: store, mostHeld: 10_000 }))!;
  quarantine.hold(indexed);
  return { quarantine, oids };
}

describe("a pack in memory", () => {
  for (const isCopied of [true, false]) {
    test(`is written when it is migrated, ${isCopied ? "copied" : "synced"}`, async () => {
      const { repo, dir, store } = makeObjects();
      const before = [listDir(dir), listDir(path.join(dir, "pack"))];
      const { quarantine, oids } = await receiveHeld(store, "new a", "new b");
      const view = quarantine.source(store);
      for (const oid of oids) {
        expect([view.has(oid), view.read(oid)?.kind, view.size?.(oid)]).toEqual([true, "blob", 5]);
        expect([store.has(oid), store.read(oid)]).toEqual([false, undefined]);
      }
      expect([listDir(dir), listDir(path.join(dir, "pack")), quarantine.folder]).toEqual([...before, undefined]);
      if (isCopied) {
        const [copy] = quarantine.copies(10_000)!;
        expect(copy?.name).toMatch(/^pack-[0-9a-f]+$/);
      } else expect(quarantine.copies(1_000)).toBeUndefined();
      quarantine.migrate(store, { keep: true });
      expect(listDir(path.join(dir, "pack")).map((name) => path.extname(name))).toEqual([".idx", ".keep", ".pack"]);
      quarantine.discard();
      expect(listDir(path.join(dir, "pack")).map((name) => path.extname(name))).toEqual([".idx", ".pack"]);
      for (const oid of oids) {
        expect([store.read(oid)?.kind, view.read(oid)?.kind, view.has(oid)]).toEqual(["blob", "blob", true]);
        expect(git(repo, "cat-file", "-t", oid)).toBe("blob");
      }
    });
  }

  test("is gone when it is discarded", async () => {
    const { dir, store } = makeObjects();
    const before = [listDir(dir), listDir(path.join(dir, "pack"))];
    const { quarantine, oids } = await receiveHeld(store, "refused");
    const view = quarantine.source(store);
    quarantine.discard();
    expect([view.has(oids[0]!), store.has(oids[0]!)]).toEqual([false, false]);
    expect([listDir(dir), listDir(path.join(dir, "pack"))]).toEqual(before);
  });

  test("many of them are searched, after some were replaced by others too", async () => {
    const { dir, store } = makeObjects();
    const all: Oid[] = [];
    for (let i = 0; i < 20; i++) {
      const { quarantine, oids } = await receiveHeld(store, "in each", `only in ${i}`);
      quarantine.migrate(store);
      quarantine.discard();
      all.push(...oids);
    }
    expect(store.knownAmong([...all, "12".repeat(store.format.rawSize)])).toEqual(all);
    expect((await rollUp(store)).kind).toBe("rolled");
    const { quarantine, oids } = await receiveHeld(store, "afterwards", "in each");
    quarantine.migrate(store);
    quarantine.discard();
    for (const oid of [...all, ...oids]) expect(store.locate(oid)?.kind).toBe("packed");
    // Taken away by somebody else.
    for (const name of listDir(path.join(dir, "pack"))) fs.rmSync(path.join(dir, "pack", name));
    store.forgetUnused();
    store.forgetUnused();
    for (const oid of [...all, ...oids]) expect(new ObjectStore(dir, store.format).locate(oid)).toBeUndefined();
  });
});

describe("failures", () => {
  test("whichever call fails while migrating, no pack is seen without its bytes", async () => {
    const { repo, dir, store } = makeObjects();
    let quarantine = Quarantine.create(dir);
    let oids = await receive(quarantine, store, "one", "two");
    const calls = await failEveryCall(
      () => quarantine.migrate(store),
      async () => {
        // What is in place is complete: an index only beside its pack.
        for (const name of listDir(path.join(dir, "pack"))) {
          if (!name.endsWith(".idx")) continue;
          git(repo, "verify-pack", path.join(dir, "pack", name));
        }
        quarantine.discard();
        expect(quarantines(dir)).toEqual([]);
        store.close();
        fs.rmSync(path.join(dir, "pack"), { recursive: true, force: true });
        quarantine = Quarantine.create(dir);
        oids = await receive(quarantine, store, "one", "two");
      },
    );
    expect(calls).toBeGreaterThan(5);
    for (const oid of oids) expect(store.has(oid)).toBe(true);
  });

  test("whichever call fails while one from memory is written, no pack is seen without its bytes", async () => {
    const { repo, dir, store } = makeObjects();
    let { quarantine, oids } = await receiveHeld(store, "one", "two");
    const calls = await failEveryCall(
      () => quarantine.migrate(store, { keep: true }),
      async () => {
        for (const name of listDir(path.join(dir, "pack"))) {
          if (name.endsWith(".idx")) git(repo, "verify-pack", path.join(dir, "pack", name));
        }
        quarantine.discard();
        expect(listDir(path.join(dir, "pack")).filter((name) => /^\.tmp|keep$/.test(name))).toEqual([]);
        store.close();
        fs.rmSync(path.join(dir, "pack"), { recursive: true, force: true });
        ({ quarantine, oids } = await receiveHeld(store, "one", "two"));
      },
    );
    expect(calls).toBeGreaterThan(5);
    for (const oid of oids) expect(store.has(oid)).toBe(true);
  });

  test("a failed sync is final", async () => {
    const { dir, store } = makeObjects();
    const quarantine = Quarantine.create(dir);
    await receive(quarantine, store, "x");
    await expect(withFault(1, () => quarantine.sync())).rejects.toThrow("ENOSPC");
    expect(() => quarantine.migrate()).toThrow("could not be brought to disk");
    quarantine.discard();
    expect(quarantines(dir)).toEqual([]);
  });

  test("whichever call fails while a pack is received, the quarantine holds no part of it", async () => {
    const { dir, store } = makeObjects();
    const quarantine = Quarantine.create(dir);
    const calls = await failEveryCall(
      () => receive(quarantine, store, "some", "objects"),
      () => expect(listDir(quarantine.packDir)).toEqual([]),
    );
    expect(calls).toBeGreaterThan(5);
    expect(listDir(quarantine.packDir).length).toBe(2);
  });
});

test("sweeping removes what a crash left, and nothing that is in use", async () => {
  const { dir, store } = makeObjects();
  const stale = Quarantine.create(dir);
  await receive(stale, store, "left behind");
  const live = Quarantine.create(dir);
  await receive(live, store, "in use");
  fs.mkdirSync(path.join(dir, "not-a-quarantine"));
  const hourAgo = new Date(Date.now() - 3_600_000);
  const age = (file: string): void => {
    for (const name of fs.statSync(file).isDirectory() ? listDir(file) : []) age(path.join(file, name));
    fs.utimesSync(file, hourAgo, hourAgo);
  };
  age(stale.dir);
  // Old itself, but a file in it is being written.
  fs.utimesSync(live.dir, hourAgo, hourAgo);
  expect(sweepQuarantines(dir, 7_200_000)).toBe(0);
  expect(sweepQuarantines(dir, 600_000)).toBe(1);
  expect(quarantines(dir)).toEqual([path.basename(live.dir)]);
  expect(sweepQuarantines(dir, 600_000, Date.now() + 700_000)).toBe(1);
  expect(listDir(dir)).toContain("not-a-quarantine");
  expect(sweepQuarantines(path.join(dir, "nowhere"), 0)).toBe(0);
});
