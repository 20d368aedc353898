import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { hashObject, type Oid, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { indexPack } from "../../../src/gitwire/pack/index-pack.ts";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { deflateBound } from "../../../src/gitwire/pack/zlib.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { writeLoose } from "../../../src/gitwire/store/object-writer.ts";
import { Quarantine, sweepQuarantines } from "../../../src/gitwire/store/quarantine.ts";
import { removeSpare } from "../../../src/gitwire/store/spare-folder.ts";
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

describe("a spare folder", () => {
  const SPARE = ".kv-spare";
  const temporary = (dir: string): string[] => listDir(dir).filter((name) => /^\.(?:tmp-|kv-)/.test(name));

  test("is taken over by the next quarantine and left to the one after it", async () => {
    const { repo, dir, store } = makeObjects();
    const oids: Oid[] = [];
    const inodes = new Set<number>();
    for (const text of ["one", "two", "three"]) {
      const quarantine = Quarantine.create(dir, { spare: true });
      inodes.add(fs.statSync(quarantine.packDir).ino);
      expect(temporary(dir)).toEqual([path.basename(quarantine.dir)]);
      oids.push(...(await receive(quarantine, store, text)));
      fs.writeFileSync(path.join(quarantine.packDir, "tmp_pack_left"), "half a pack");
      quarantine.migrate(store);
      quarantine.discard();
      expect(temporary(dir)).toEqual([SPARE]);
      expect(listDir(path.join(dir, SPARE, "pack"))).toEqual([]);
    }
    expect(inodes.size).toBe(1);
    for (const oid of oids) expect(git(repo, "cat-file", "-t", oid)).toBe("blob");
    removeSpare(dir);
    removeSpare(dir);
    expect(temporary(dir)).toEqual([]);
  });

  test("is neither made nor used up by what is refused", async () => {
    const { dir, store } = makeObjects();
    const refuse = async (): Promise<void> => {
      const quarantine = Quarantine.create(dir, { spare: true });
      await receive(quarantine, store, "refused");
      fs.mkdirSync(path.join(quarantine.dir, "ab"));
      quarantine.discard();
    };
    await refuse();
    expect(temporary(dir)).toEqual([]);
    Quarantine.create(dir, { spare: true }).migrate(store);
    await refuse();
    expect([temporary(dir), listDir(path.join(dir, SPARE)), listDir(path.join(dir, SPARE, "pack"))]).toEqual([
      [SPARE],
      ["pack"],
      [],
    ]);
  });

  test("there is one, whoever comes at the same time; none that is taken is swept", () => {
    const { dir, store } = makeObjects();
    const both = [Quarantine.create(dir, { spare: true }), Quarantine.create(dir, { spare: true })];
    for (const each of both) each.migrate(store);
    expect(temporary(dir)).toEqual([SPARE]);
    const long = new Date(Date.now() - 60_000);
    for (const at of ["", "pack"]) fs.utimesSync(path.join(dir, SPARE, at), long, long);
    const taken = Quarantine.create(dir, { spare: true });
    expect(sweepQuarantines(dir, 30_000)).toBe(0);
    expect(listDir(taken.dir)).toEqual(["pack"]);
    taken.discard();
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
