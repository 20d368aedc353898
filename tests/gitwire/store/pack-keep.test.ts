/** Writers beside a `git gc --prune=now`, which takes away whatever no ref names at the moment it looks. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { hashObject, type ObjectFormat, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { openRepository, type Repository } from "../../../src/gitwire/repo.ts";
import { sweepLeftovers } from "../../../src/gitwire/store/leftovers.ts";
import { writePack } from "../../../src/gitwire/store/object-writer.ts";
import { isAbandonedKeep, keepPack } from "../../../src/gitwire/store/pack-keep.ts";
import { Quarantine } from "../../../src/gitwire/store/quarantine.ts";
import { storeTransaction } from "../../../src/kv/local-acceptor.ts";
import type { Proposal } from "../../../src/kv/write.ts";
import { executable, gitKv } from "../../support/executable.ts";
import { git } from "../../support/git.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { complaints, newRepository } from "../../support/workspace.ts";
import { listDir } from "../pack/fixtures.ts";

// Many processes of git, on machines that may be busy.
setDefaultTimeout(120_000);

const REF = "refs/heads/main";
/** Packing refs would wait for the locks of the writer; what follows it does not. */
const GC = ["-c", "gc.packRefs=false", "gc", "-q", "--prune=now"] as const;

/** A pack with one commit of the empty tree. */
function newCommit(format: ObjectFormat): { oid: string; builder: PackBuilder } {
  const who = "A <a@example.com> 1700000000 +0000";
  const builder = new PackBuilder(format);
  builder.write("tree", Buffer.alloc(0));
  const data = Buffer.from(`tree ${format.emptyTree}\nauthor ${who}\ncommitter ${who}\n\nnew\n`);
  builder.write("commit", data);
  return { oid: hashObject(format, "commit", data), builder };
}

/** Runs `before` when the refs are about to move and the objects are in place. */
function interrupt(repo: Repository, before: () => void): void {
  const begin = repo.refs.begin.bind(repo.refs);
  repo.refs.begin = async (...args) => {
    const transaction = await begin(...args);
    const commit = transaction.commit.bind(transaction);
    transaction.commit = () => {
      before();
      commit();
    };
    return transaction;
  };
}

const packDir = (dir: string): string => path.join(dir, "objects/pack");
const keeps = (dir: string): string[] => listDir(packDir(dir)).filter((name) => name.endsWith(".keep"));

for (const format of [SHA1, SHA256]) {
  test(`git gc --prune=now just before the refs move takes nothing, ${format.name}`, async () => {
    const dir = newRepository(format);
    const repo = openRepository(dir);
    let seen: string[] = [];
    interrupt(repo, () => {
      seen = keeps(dir);
      git(dir, ...GC);
    });
    const { oid, builder } = newCommit(format);
    const plan = { moves: [{ ref: REF, oldOid: undefined, newOid: oid }] };
    await storeTransaction(repo, { plan, pack: builder.finish() } as unknown as Proposal);
    expect(seen).toHaveLength(1);
    expect(keeps(dir)).toEqual([]);
    expect(git(dir, "rev-parse", REF)).toBe(oid);
    expect(complaints(dir)).toBe("");
    repo.close();
  });
}

test("a transaction that fails keeps nothing", async () => {
  const dir = newRepository(TEST_FORMAT);
  const repo = openRepository(dir);
  interrupt(repo, () => {
    throw new Error("no");
  });
  const { oid, builder } = newCommit(TEST_FORMAT);
  const proposal = { plan: { moves: [{ ref: REF, oldOid: undefined, newOid: oid }] }, pack: builder.finish() };
  expect(await storeTransaction(repo, proposal as unknown as Proposal).catch((error) => error.message)).toBe("no");
  expect(keeps(dir)).toEqual([]);
  expect(listDir(dir).filter((name) => name.endsWith(".lock"))).toEqual([]);
});

test("what comes out of a quarantine is kept until that is discarded", () => {
  const dir = newRepository(TEST_FORMAT);
  const { objects, objectsDir, refs } = openRepository(dir);
  const quarantine = Quarantine.create(objectsDir);
  const { oid, builder } = newCommit(TEST_FORMAT);
  writePack(quarantine.objects(TEST_FORMAT), builder.finish());
  quarantine.migrate(objects, { keep: true });
  expect(keeps(dir)).toHaveLength(1);
  git(dir, ...GC);
  git(dir, "update-ref", REF, oid);
  expect(refs.resolve(REF)).toBe(oid);
  quarantine.discard();
  expect(keeps(dir)).toEqual([]);
  git(dir, ...GC);
  expect(complaints(dir)).toBe("");
});

test("a keep of a person stays; one that a crash left goes after a day, and its pack stays", () => {
  const dir = newRepository(TEST_FORMAT);
  const { objects, objectsDir } = openRepository(dir);
  const [ours, theirs] = ["1", "2"].map((text) => {
    const builder = new PackBuilder(TEST_FORMAT);
    builder.write("blob", Buffer.from(text));
    return writePack(objects, builder.finish())!.packPath;
  }) as [string, string];
  fs.writeFileSync(theirs.replace(".pack", ".keep"), "because\n");
  keepPack(ours);
  // Taken by somebody already: nothing to let go of.
  keepPack(theirs).release();
  expect(keeps(dir)).toHaveLength(2);
  expect([ours, theirs].map((file) => isAbandonedKeep(file.replace(".pack", ".keep")))).toEqual([true, false]);
  const DAY = 24 * 60 * 60_000;
  expect(sweepLeftovers(objectsDir, Date.now() + DAY / 2)).toBe(0);
  expect(sweepLeftovers(objectsDir, Date.now() + 20 * DAY)).toBe(1);
  expect(keeps(dir)).toEqual([path.basename(theirs).replace(".pack", ".keep")]);
  expect(fs.existsSync(ours)).toBe(true);
});

test("git gc --prune=now and git repack in a loop beside git kv set and get", async () => {
  const dir = newRepository(TEST_FORMAT);
  expect(gitKv(["init"], { cwd: dir }).status).toBe(0);
  const loop = "while [ ! -e stop ]; do git gc -q --prune=now 2>/dev/null; git repack -adq; echo >>rounds; done";
  const collector = spawn("sh", ["-c", loop], { cwd: dir, stdio: "ignore" });
  const ended = new Promise((resolve) => collector.on("exit", resolve));
  const writer = async (name: string): Promise<void> => {
    for (let i = 0; i < 8; i++) {
      const run = Bun.spawn([executable("git-kv"), "set", `${name}:${i}`, `value ${i}`], { cwd: dir, stderr: "pipe" });
      const said = await new Response(run.stderr).text();
      if ((await run.exited) !== 0) throw new Error(`${name}:${i}: ${said}`);
      const read = Bun.spawn([executable("git-kv"), "get", `${name}:${i}`], { cwd: dir, stdout: "pipe" });
      expect((await new Response(read.stdout).text()).trim()).toBe(`value ${i}`);
    }
  };
  try {
    await Promise.all([writer("a"), writer("b")]);
  } finally {
    fs.writeFileSync(path.join(dir, "stop"), "");
    await ended;
  }
  expect(fs.readFileSync(path.join(dir, "rounds"), "latin1").length).toBeGreaterThan(1);
  expect(keeps(dir)).toEqual([]);
  expect(gitKv(["list"], { cwd: dir }).stdout.trim().split("\n")).toHaveLength(16);
  expect(complaints(dir)).toBe("");
});
