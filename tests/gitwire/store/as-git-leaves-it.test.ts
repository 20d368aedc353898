/**
 * Object folders in every shape git leaves them in: indexes over several packs, bitmaps, reverse indexes, chains of commit-graphs,
 * packs that are kept, promised or cruft, old indexes and 64-bit offsets. We read what git reads, serve it to git, and combine what
 * may be combined.
 */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { ObjectFormat } from "../../../src/gitwire/object/oid.ts";
import { rollUp } from "../../../src/gitwire/store/maintenance.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { fsck, git, gitInput } from "../../support/git.ts";
import { UPLOAD_PACK } from "../../support/git-server.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { allObjects, listDir, makeRepo, packsOf } from "../pack/fixtures.ts";

// Many processes of git, on machines that may be busy.
setDefaultTimeout(60_000);

const rng = random("as-git-leaves-it");

/** Adds `count` commits to main, each with a blob of its own, and leaves them loose. */
function addCommits(repo: string, count: number, name: string): void {
  const stream = Array.from({ length: count }, (_, i) => {
    const text = `${name} ${i}\n`.repeat(20);
    const head = `commit refs/heads/main\ncommitter A <a@example.com> ${1_700_001_000 + i} +0000\ndata 1\nc\n`;
    return `${head}${i === 0 ? "from refs/heads/main^0\n" : ""}M 100644 inline ${name}${i}\ndata ${text.length}\n${text}\n`;
  });
  gitInput(repo, stream.join(""), "fast-import", "--quiet");
}

/** Three packs and, on top, loose objects. */
function severalPacks(repo: string): void {
  for (const name of ["first", "second", "third"]) {
    addCommits(repo, 4, name);
    git(repo, "repack", "-d", "-q");
  }
  addCommits(repo, 2, "loose");
}

function packDir(repo: string): string {
  return path.join(repo, "objects/pack");
}

/** Indexes every pack anew, as `git index-pack` does with `version`; returns the bytes of each index. */
function reindex(repo: string, version: string): Buffer[] {
  return packsOf(repo).map((pack) => {
    const file = pack.replace(".pack", ".idx");
    fs.rmSync(file);
    git(repo, "index-pack", `--index-version=${version}`, pack);
    return fs.readFileSync(file);
  });
}

function names(repo: string): string {
  return (fs.readdirSync(path.join(repo, "objects"), { recursive: true }) as string[]).join("\n");
}

interface Shape {
  /** Makes it in `repo`, or gives another repository to read instead. */
  readonly make: (repo: string) => string | undefined;
  /** What must be in the object folder then, so that the shape is the one it is called. */
  readonly shows: RegExp;
}

const SHAPES: Readonly<Record<string, Shape>> = {
  "an index over several packs, with a bitmap": {
    make: (repo) => {
      severalPacks(repo);
      git(repo, "multi-pack-index", "write", "--bitmap");
      return undefined;
    },
    shows: /multi-pack-index-[0-9a-f]+\.bitmap/,
  },
  "an index over several packs, of which some came later": {
    make: (repo) => {
      severalPacks(repo);
      git(repo, "multi-pack-index", "write");
      git(repo, "repack", "-d", "-q");
      return undefined;
    },
    shows: /multi-pack-index/,
  },
  "a chain of commit-graphs with changed paths": {
    make: (repo) => {
      for (const name of ["a", "b", "c"]) {
        addCommits(repo, 3, name);
        git(repo, "commit-graph", "write", "--reachable", "--split=no-merge", "--changed-paths");
      }
      git(repo, "repack", "-d", "-q");
      return undefined;
    },
    shows: /commit-graphs\/graph-[0-9a-f]+\.graph[\s\S]*commit-graphs\/graph-/,
  },
  "one pack with a bitmap and a reverse index": {
    make: (repo) => {
      severalPacks(repo);
      git(repo, "-c", "pack.writeReverseIndex=true", "repack", "-adbq", "--write-bitmap-index");
      return undefined;
    },
    shows: /\.(?:bitmap|rev)[\s\S]*\.(?:bitmap|rev)/,
  },
  "packs that are kept": {
    make: (repo) => {
      severalPacks(repo);
      for (const pack of packsOf(repo).slice(0, 2)) fs.writeFileSync(pack.replace(".pack", ".keep"), "why\n");
      git(repo, "repack", "-adq");
      return undefined;
    },
    shows: /\.keep/,
  },
  "a cruft pack": {
    make: (repo) => {
      severalPacks(repo);
      git(repo, "repack", "-dq");
      git(repo, "update-ref", "refs/heads/main", "refs/heads/main~3");
      for (let i = 0; i < 5; i++) gitInput(repo, `nobody names ${i}`, "hash-object", "-w", "--stdin");
      git(repo, "repack", "--cruft", "-dq");
      return undefined;
    },
    shows: /\.mtimes/,
  },
  "packs of a partial clone": {
    make: (repo) => {
      severalPacks(repo);
      git(repo, "config", "uploadpack.allowFilter", "true");
      const partial = path.join(tempDir("partial"), "partial.git");
      git(repo, "clone", "-q", "--bare", "--filter=blob:none", `file://${repo}`, partial);
      addCommits(partial, 3, "own");
      git(partial, "repack", "-dq");
      return partial;
    },
    shows: /\.promisor/,
  },
  "packs, loose objects and alternates of alternates": {
    make: (repo) => {
      severalPacks(repo);
      let from = repo;
      for (const name of ["near", "far"]) {
        const next = path.join(tempDir(name), "borrower.git");
        git(from, "clone", "-q", "--bare", "--shared", from, next);
        addCommits(next, 3, name);
        git(next, "repack", "-dlq");
        addCommits(next, 2, `${name} and loose`);
        from = next;
      }
      return from;
    },
    shows: /info\/alternates/,
  },
  "indexes of version 1": {
    make: (repo) => {
      severalPacks(repo);
      // The magic number of version 2 is what no count of version 1 can be.
      for (const index of reindex(repo, "1")) expect(index.readUInt32BE(0)).toBeLessThan(0xff74_4f63);
      return undefined;
    },
    shows: /\.idx/,
  },
  "indexes with 64-bit offsets": {
    make: (repo) => {
      severalPacks(repo);
      for (const index of reindex(repo, "2,0x40")) {
        const count = index.readUInt32BE(8 + 255 * 4);
        const idBytes = /^[0-9a-f]{64}$/.test(git(repo, "rev-parse", "refs/heads/main")) ? 32 : 20;
        // Longer than its tables of ids, checksums and 32-bit offsets are.
        expect(index.length).toBeGreaterThan(8 + 1_024 + count * (idBytes + 8) + 2 * idBytes);
      }
      return undefined;
    },
    shows: /\.idx/,
  },
};

/** Our store reads every object that git reads, by every way to it, and has no other. */
function expectSame(repo: string, format: ObjectFormat): void {
  const objects = allObjects(repo);
  const store = new ObjectStore(path.join(repo, "objects"), format, { cacheBytes: 0 });
  const located = store.locateAll(objects.keys());
  expect(located.size).toBe(objects.size);
  for (const [oid, { kind, data }] of rng.shuffle([...objects])) {
    const object = store.read(oid);
    if (object?.kind !== kind || !object.data.equals(data)) throw new Error(`${oid} is not read as git reads it`);
    const place = located.get(oid)!;
    const facts = [store.has(oid), store.kind(oid), store.size(oid), store.resolvePrefix(oid.slice(0, 16))];
    expect(facts).toEqual([true, kind, data.length, [oid]]);
    if (place.kind === "packed") expect(place.pack.read(place.offset).data.equals(data)).toBe(true);
  }
  const absent = Array.from({ length: 50 }, () => rng.bytes(format.rawSize).toString("hex"));
  expect(absent.filter((oid) => store.has(oid) || store.read(oid) !== undefined)).toEqual([]);
  store.close();
}

for (const format of [TEST_FORMAT]) {
  test.each(Object.entries(SHAPES))(`%s, ${format.name}`, async (name, { make, shows }) => {
    const source = makeRepo(format, 8);
    const repo = make(source) ?? source;
    expect(names(repo)).toMatch(shows);
    expectSame(repo, format);
    // Given to git by us: entries are taken over as they are stored.
    if (format === TEST_FORMAT && !name.includes("partial")) {
      const clone = path.join(tempDir("clone"), "clone.git");
      git(repo, "clone", "-q", "--mirror", `--upload-pack=${UPLOAD_PACK}`, `file://${repo}`, clone);
      expect(git(clone, "rev-list", "--objects", "--all")).toBe(git(repo, "rev-list", "--objects", "--all"));
      expect(fsck(clone)).toBe("");
    }
    // Combined by us: git finds the same objects, nothing damaged, and what is pinned where it was.
    const before = [...allObjects(repo).keys()];
    const pinned = listDir(packDir(repo)).filter((file) => /\.(?:keep|promisor|mtimes)$/.test(file));
    const store = new ObjectStore(path.join(repo, "objects"), format);
    // Two packs are in good order, of three the small ones are not.
    const expected = store.replaceablePacks().length > 2 ? "rolled" : "nothing";
    expect((await rollUp(store, { maxPacks: 1, commonDir: repo })).kind).toBe(expected);
    store.close();
    expect([...allObjects(repo).keys()]).toEqual(before);
    expect(listDir(packDir(repo)).filter((file) => /\.(?:keep|promisor|mtimes)$/.test(file))).toEqual(pinned);
    expect(fsck(repo)).toBe("");
    expectSame(repo, format);
  });
}
