import { describe, expect, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../../src/errors.ts";
import { hashObject, type Oid, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { loosePath } from "../../../src/gitwire/store/loose.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { writeLoose, writePack } from "../../../src/gitwire/store/object-writer.ts";
import { fsck, git, gitInput } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { allObjects, listDir, makeRepo, packsOf, repackOnce } from "../pack/fixtures.ts";
import { failEveryCall } from "./faults.ts";

const rng = random("object-store");

function open(repo: string, format = TEST_FORMAT, cacheBytes = 0): ObjectStore {
  return new ObjectStore(path.join(repo, "objects"), format, { cacheBytes });
}

function blob(repo: string, text: string): Oid {
  return gitInput(repo, text, "hash-object", "-w", "--stdin");
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
  test(`several packs, loose objects and foreign files, ${format.name}`, () => {
    const repo = makeRepo(format, 20);
    repackOnce(repo, "ofs");
    for (const round of ["a", "b", "c"]) {
      const oids = Array.from({ length: 30 }, (_, i) => blob(repo, `${round} ${i} ${"text ".repeat(20)}`));
      gitInput(repo, `${oids.join("\n")}\n`, "pack-objects", "-q", path.join(repo, "objects/pack/pack"));
      git(repo, "prune-packed", "-q");
      blob(repo, `loose ${round}`);
    }
    git(repo, "multi-pack-index", "write");
    const packDir = path.join(repo, "objects/pack");
    for (const name of ["pack-lonely.pack", "pack-lonely.idx2", "tmp_pack_abc", "pack-x.keep", "README"]) {
      fs.writeFileSync(path.join(packDir, name), "foreign");
    }
    fs.writeFileSync(path.join(packDir, "pack-noindex.pack"), "PACK");
    fs.writeFileSync(path.join(packDir, "pack-nopack.idx"), "index");
    const objects = allObjects(repo);
    for (const cacheBytes of [0, 1_000_000]) {
      const store = open(repo, format, cacheBytes);
      expect(store.packs().length).toBe(4);
      for (const [oid, { kind, data }] of rng.shuffle([...objects])) {
        expect(store.has(oid)).toBe(true);
        const object = store.read(oid)!;
        expect([object.kind, object.data.equals(data)]).toEqual([kind, true]);
        expect(store.kind(oid)).toBe(kind);
        const place = store.locate(oid)!;
        if (place.kind === "packed") expect(place.pack.read(place.offset).data.equals(data)).toBe(true);
        else expect(fs.existsSync(loosePath(place.objectsDir, oid))).toBe(true);
        expect(store.resolvePrefix(oid)).toEqual([oid]);
        expect(store.resolvePrefix(oid.slice(0, 12))).toEqual([oid]);
      }
      store.close();
      expect(store.read([...objects.keys()][5]!)).toBeDefined();
    }
  });

  test(`what is not here, and the empty tree, ${format.name}`, () => {
    const repo = makeRepo(format, 3);
    const store = open(repo, format);
    for (const oid of [format.zeroOid, "f".repeat(format.hexSize), hashObject(format, "blob", Buffer.from("no"))]) {
      expect([store.read(oid), store.has(oid), store.locate(oid), store.kind(oid)]).toEqual([
        undefined,
        false,
        undefined,
        undefined,
      ]);
    }
    for (const read of [store.read, store.readOnce]) {
      expect(read.call(store, format.emptyTree)).toEqual({ kind: "tree", data: Buffer.alloc(0) });
    }
    expect([store.has(format.emptyTree), store.kind(format.emptyTree)]).toEqual([true, "tree"]);
    for (const prefix of ["", "abc", "xyzw", "ABCD", `${format.zeroOid}0`])
      expect(store.resolvePrefix(prefix)).toEqual([]);
  });
}

test("an ambiguous prefix gives all that it fits, loose and packed, each once", () => {
  const repo = makeRepo(TEST_FORMAT, 2);
  const oids: Oid[] = [];
  // About one in 65,536 shares four digits with the first.
  const builder = new PackBuilder(TEST_FORMAT);
  for (let i = 0; i < 3_000; i++) oids.push(builder.write("blob", Buffer.from(`candidate ${i}`)));
  const store = open(repo);
  writePack(store, builder.finish(), { fsync: false });
  const counts = Map.groupBy(oids, (oid) => oid.slice(0, 4));
  const pair = [...counts.values()].find((group) => group.length > 1)!;
  writeLoose(store, "blob", store.read(pair[0]!)!.data, { fsync: false });
  expect(store.resolvePrefix(pair[0]!.slice(0, 4), 10)).toEqual([...pair].sort());
  expect(store.resolvePrefix(pair[0]!.slice(0, 4), 1)).toHaveLength(1);
});

describe("other processes at work", () => {
  test("objects that arrive, loose or packed, are found", () => {
    const repo = makeRepo(TEST_FORMAT, 3);
    const store = open(repo);
    for (let round = 0; round < 30; round++) {
      const oid = hashObject(TEST_FORMAT, "blob", Buffer.from(`late ${round}`));
      expect(store.has(oid)).toBe(false);
      const builder = new PackBuilder(TEST_FORMAT);
      builder.write("blob", Buffer.from(`late ${round}`));
      // Another store: this one is not told.
      writePack(open(repo), builder.finish(), { fsync: false });
      expect(store.has(oid)).toBe(true);
    }
    const loose = blob(repo, "late and loose");
    expect(store.read(loose)?.data.toString()).toBe("late and loose");
  });

  test("a pack that arrives in the same tick of the clock is found", () => {
    const repo = makeRepo(TEST_FORMAT, 2);
    const store = open(repo);
    const dir = path.join(repo, "objects/pack");
    for (let round = 0; round < 5; round++) {
      const builder = new PackBuilder(TEST_FORMAT);
      const oid = builder.write("blob", Buffer.from(`same tick ${round}`));
      // Both the scan and the change see this time, as on a file system whose clock is slow.
      const tick = new Date();
      fs.utimesSync(dir, tick, tick);
      expect(store.has(oid)).toBe(false);
      writePack(open(repo), builder.finish(), { fsync: false });
      fs.utimesSync(dir, tick, tick);
      expect(store.has(oid)).toBe(true);
    }
  });

  test("a located object stays readable when its pack goes away", () => {
    const repo = makeRepo(TEST_FORMAT, 5);
    repackOnce(repo, "ofs");
    const oid = git(repo, "rev-parse", "main:dir/file");
    const place = open(repo).locate(oid)!;
    fs.rmSync(path.join(repo, "objects/pack"), { recursive: true });
    expect(place.kind).toBe("packed");
    if (place.kind === "packed") expect(place.pack.read(place.offset).kind).toBe("blob");
  });

  test("repack and prune while reading", () => {
    const repo = makeRepo(TEST_FORMAT, 15);
    repackOnce(repo, "ofs");
    const objects = allObjects(repo);
    const store = open(repo);
    const lists = new Set<string>();
    for (const mode of [[], ["--depth=5"], ["--window=3"], ["--depth=1"]]) {
      // Half of the objects before, the others after: open packs go away under the reader.
      const oids = rng.shuffle([...objects.keys()]);
      const read = (oid: Oid): void => {
        if (!store.read(oid)?.data.equals(objects.get(oid)!.data)) throw new Error(`${oid} is lost`);
      };
      oids.slice(0, oids.length / 2).forEach(read);
      git(repo, "repack", "-a", "-d", "-f", "-q", ...mode);
      lists.add(packsOf(repo).join());
      oids.slice(oids.length / 2).forEach(read);
      for (const oid of oids) expect(store.has(oid)).toBe(true);
    }
    expect(lists.size).toBeGreaterThan(1);
    // A store that knows the packs but has none of them open.
    const closed = open(repo);
    expect(closed.packs().length).toBe(1);
    git(repo, "repack", "-a", "-d", "-f", "-q", "--depth=7");
    for (const [oid, { data }] of objects) expect(closed.read(oid)!.data.equals(data)).toBe(true);
  });

  test.each(["read", "resolved by the start of its id"])(
    "an object is %s whose pack is replaced whenever it has just been seen",
    (how) => {
      const repo = makeRepo(TEST_FORMAT, 5);
      repackOnce(repo, "ofs");
      const objects = allObjects(repo);
      const packDir = path.join(repo, "objects/pack");
      const store = open(repo);
      const [oid, { data }] = [...objects][0]!;
      const original = fs.readdirSync as (...args: unknown[]) => unknown;
      let replaced = 0;
      const spy = spyOn(fs as unknown as { readdirSync: typeof original }, "readdirSync").mockImplementation(
        (...args) => {
          const names = original(...args);
          if (args[0] === packDir && replaced < 4) {
            git(repo, "tag", "-m", "another object", `t${replaced++}`);
            git(repo, "repack", "-a", "-d", "-q");
          }
          return names;
        },
      );
      try {
        if (how === "read") expect(store.read(oid)?.data.equals(data)).toBe(true);
        else expect(store.resolvePrefix(oid.slice(0, 12))).toEqual([oid]);
      } finally {
        spy.mockRestore();
      }
      expect(replaced).toBe(4);
    },
  );

  test("everything unpacked and the packs removed", () => {
    const repo = makeRepo(TEST_FORMAT, 5);
    const pack = repackOnce(repo, "ofs");
    const objects = allObjects(repo);
    const store = open(repo);
    for (const oid of objects.keys()) store.locate(oid);
    store.close();
    expect(store.packs().length).toBe(1);
    const aside = path.join(tempDir(), "p.pack");
    fs.renameSync(pack, aside);
    fs.rmSync(pack.replace(/\.pack$/, ".idx"));
    gitInput(repo, fs.readFileSync(aside), "unpack-objects", "-q");
    for (const [oid, object] of objects) expect(store.read(oid)).toEqual(object);
    expect(store.packs().length).toBe(0);
  });
});

describe("damage", () => {
  test("a damaged copy gives way to a good one, and is told where there is none", () => {
    const repo = makeRepo(TEST_FORMAT, 4);
    const oid = blob(repo, "important data");
    const file = loosePath(path.join(repo, "objects"), oid);
    fs.chmodSync(file, 0o644);
    fs.writeFileSync(file, "garbage");
    expect(codeOf(() => open(repo).read(oid))).toBe("CORRUPT");
    const builder = new PackBuilder(TEST_FORMAT);
    builder.write("blob", Buffer.from("important data"));
    const store = open(repo);
    const { packPath } = writePack(store, builder.finish(), { fsync: false })!;
    expect(store.read(oid)?.data.toString()).toBe("important data");
    // Now the packed copy is damaged and the loose one good again.
    fs.rmSync(file);
    blob(repo, "important data");
    if (!fs.existsSync(file)) writeLoose(store, "blob", Buffer.from("important data"), { fsync: false });
    const bytes = fs.readFileSync(packPath);
    bytes[20]! ^= 0xff;
    fs.chmodSync(packPath, 0o644);
    fs.writeFileSync(packPath, bytes);
    expect(open(repo).read(oid)?.data.toString()).toBe("important data");
    fs.rmSync(file);
    expect(codeOf(() => open(repo).read(oid))).toBe("CORRUPT");
  });

  test("a damaged index is told", () => {
    const repo = makeRepo(TEST_FORMAT, 4);
    const pack = repackOnce(repo, "ofs");
    const index = pack.replace(/\.pack$/, ".idx");
    const [oid] = allObjects(repo).keys();
    fs.chmodSync(index, 0o644);
    fs.truncateSync(index, 900);
    expect(codeOf(() => open(repo).read(oid!))).toBe("CORRUPT");
  });
});

describe("writing", () => {
  test("a pack is there for us and for git at once", () => {
    const repo = makeRepo(TEST_FORMAT, 4);
    const store = open(repo);
    const builder = new PackBuilder(TEST_FORMAT, { dir: path.join(repo, "objects/pack") });
    const main = git(repo, "rev-parse", "main");
    const tree = git(repo, "rev-parse", "main^{tree}");
    const who = "A <a@example.com> 1700000000 +0000";
    const commit = builder.write(
      "commit",
      Buffer.from(`tree ${tree}\nparent ${main}\nauthor ${who}\ncommitter ${who}\n\nnext\n`),
    );
    writePack(store, builder.finish());
    expect(store.read(commit)?.kind).toBe("commit");
    git(repo, "update-ref", "refs/heads/main", commit);
    expect(fsck(repo)).toBe("");
    expect(writePack(store, new PackBuilder(TEST_FORMAT).finish())).toBeUndefined();
  });

  test("a thin pack takes its bases from the store", () => {
    const repo = makeRepo(TEST_FORMAT, 4);
    const store = open(repo);
    const oid = git(repo, "rev-parse", "main:dir/file");
    const base = store.read(oid)!.data;
    const text = Buffer.concat([base, Buffer.from("one more line\n")]);
    const builder = new PackBuilder(TEST_FORMAT);
    const made = builder.writeDelta("blob", text, oid, createDelta(base, text)!);
    const paths = writePack(store, builder.finish())!;
    expect(git(repo, "verify-pack", "-s", paths.packPath)).toContain("chain length = 1: 1 object");
    expect(open(repo).read(made)?.data.equals(text)).toBe(true);
    const lost = new PackBuilder(TEST_FORMAT);
    lost.writeDelta("blob", text, "e".repeat(TEST_FORMAT.hexSize), createDelta(base, text)!);
    expect(codeOf(() => writePack(store, lost.finish()))).toBe("BAD_OBJECT");
  });

  test("the same pack twice", () => {
    const repo = makeRepo(TEST_FORMAT, 2);
    const store = open(repo);
    const builder = new PackBuilder(TEST_FORMAT);
    const oid = builder.write("blob", Buffer.from("twice"));
    const first = writePack(store, builder.finish());
    expect(writePack(store, builder.finish())).toEqual(first);
    expect(store.read(oid)?.data.toString()).toBe("twice");
  });

  test("whichever call fails, nothing is left; and a second try succeeds", async () => {
    const repo = tempDir();
    git(repo, "init", "-q", "--bare", ".");
    const dir = path.join(repo, "objects/pack");
    const store = open(repo);
    const base = writeLoose(store, "blob", Buffer.from("the base of a delta in a thin pack, long enough"));
    const data = Buffer.from("the base of a delta in a thin pack, long enough, and changed");
    const delta = createDelta(store.read(base)!.data, data)!;
    const calls = await failEveryCall(
      () => {
        const builder = new PackBuilder(TEST_FORMAT);
        builder.writeDelta("blob", data, base, delta);
        writePack(store, builder.finish(), { fsync: true });
      },
      () => {
        const left = listDir(dir);
        // A failed fsync of the folder comes after the names: both files are there then, complete.
        if (left.length > 0) {
          expect(left.map((name) => path.extname(name))).toEqual([".idx", ".pack"]);
          git(repo, "verify-pack", path.join(dir, left[0]!));
        }
        fs.rmSync(dir, { recursive: true });
        fs.mkdirSync(dir);
      },
    );
    expect(calls).toBeGreaterThan(8);
    expect(
      open(repo)
        .read(hashObject(TEST_FORMAT, "blob", data))
        ?.data.equals(data),
    ).toBe(true);
    expect(listDir(dir).length).toBe(2);
  });

  test("many packs do not use up the file descriptors", () => {
    if (process.platform !== "linux") return;
    const repo = tempDir();
    git(repo, "init", "-q", "--bare", ".");
    const store = open(repo);
    const oids: Oid[] = [];
    for (let i = 0; i < 260; i++) {
      const builder = new PackBuilder(TEST_FORMAT);
      oids.push(builder.write("blob", Buffer.from(`pack ${i}`)));
      writePack(store, builder.finish(), { fsync: false });
    }
    const before = fs.readdirSync("/proc/self/fd").length;
    const fresh = open(repo);
    for (let round = 0; round < 2; round++) {
      for (const [i, oid] of oids.entries()) expect(fresh.read(oid)?.data.toString()).toBe(`pack ${i}`);
    }
    expect(fs.readdirSync("/proc/self/fd").length - before).toBeLessThanOrEqual(201);
    fresh.close();
    store.close();
    expect(fs.readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before);
  });
});
