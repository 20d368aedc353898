/** Roll-ups that are killed at every call, and roll-ups beside a git that repacks at the same time. */

import { expect, test } from "bun:test";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { hashObject, type Oid } from "../../../src/gitwire/object/oid.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { PackBuilder } from "../../../src/gitwire/pack/pack-builder.ts";
import { takeGcLock } from "../../../src/gitwire/store/gc-lock.ts";
import { rollUp } from "../../../src/gitwire/store/maintenance.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { writePack } from "../../../src/gitwire/store/object-writer.ts";
import { git, tryGit } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { allObjects, listDir } from "../pack/fixtures.ts";

const rng = random("maintenance-crash");
const SRC = path.resolve(import.meta.dir, "../../../src/gitwire");

function emptyRepo(): string {
  const dir = tempDir("roll-crash");
  git(dir, "init", "-q", "--bare", ".");
  return dir;
}

function open(dir: string): ObjectStore {
  return new ObjectStore(path.join(dir, "objects"), TEST_FORMAT, { cacheBytes: 0 });
}

function text(): Buffer {
  return Buffer.from(Array.from({ length: 40 }, (_, i) => `line ${i} ${rng.int(1000)}`).join("\n"));
}

/** Packs of objects and deltas of what is in the pack before. */
function addPacks(store: ObjectStore, count: number): void {
  let last = text();
  const first = new PackBuilder(TEST_FORMAT);
  first.write("blob", last);
  writePack(store, first.finish(), { fsync: false });
  for (let i = 1; i < count; i++) {
    const next = Buffer.concat([last, Buffer.from(`\nand ${i}`)]);
    const builder = new PackBuilder(TEST_FORMAT);
    builder.writeDelta("blob", next, hashObject(TEST_FORMAT, "blob", last), createDelta(last, next)!);
    builder.write("blob", rng.bytes(20));
    writePack(store, builder.finish(), { fsync: false });
    last = next;
  }
}

function fsckClean(dir: string): void {
  const run = tryGit(dir, ["fsck", "--strict", "--full", "--no-dangling"]);
  expect(`${run.status} ${run.stdout}${run.stderr.replace(/notice: .*\n/g, "")}`).toBe("0 ");
}

/** Rolls up in a process of its own that kills itself at call number `killAt` that changes the disk; true where it got that far. */
function rollUpKilled(dir: string, killAt: number): boolean {
  const script = `
    import { mock } from "bun:test";
    import * as fs from "node:fs";
    let left = ${killAt};
    const counted = (call) => (...args) => {
      if (left-- === 0) process.kill(process.pid, "SIGKILL");
      return call(...args);
    };
    const names = ["openSync", "writeSync", "fsyncSync", "fchmodSync", "renameSync", "mkdirSync", "unlinkSync", "rmSync"];
    mock.module("node:fs", () => ({ ...fs, ...Object.fromEntries(names.map((name) => [name, counted(fs[name])])) }));
    const { ObjectStore } = await import("${SRC}/store/object-store.ts");
    const { rollUp } = await import("${SRC}/store/maintenance.ts");
    const { objectFormat } = await import("${SRC}/object/oid.ts");
    const store = new ObjectStore("${dir}/objects", objectFormat("${TEST_FORMAT.name}"));
    await rollUp(store, { maxPacks: 2, commonDir: "${dir}" });
  `;
  const run = Bun.spawnSync(["bun", "-e", script], { stdout: "pipe", stderr: "pipe" });
  if (run.exitCode !== 0 && run.signalCode !== "SIGKILL") throw new Error(run.stderr.toString());
  return run.signalCode === "SIGKILL";
}

test("a kill at any call leaves every object readable, and the next roll-up works", async () => {
  const template = emptyRepo();
  addPacks(open(template), 4);
  const ids = [...allObjects(template).keys()].sort();
  let killed = 0;
  let rolled = 0;
  for (let killAt = 0; ; killAt++) {
    const dir = path.join(tempDir("killed"), "repo");
    fs.cpSync(template, dir, { recursive: true });
    if (!rollUpKilled(dir, killAt)) break;
    killed++;
    expect([...allObjects(dir).keys()].sort()).toEqual(ids);
    if (killAt % 8 === 0) fsckClean(dir);
    // A lock that does not name its maker yet looks like one that is being made, for a minute.
    const pending = path.join(dir, "gc.pid.lock");
    if (fs.existsSync(pending) && fs.statSync(pending).size === 0) fs.utimesSync(pending, 0, 0);
    const store = open(dir);
    if (store.replaceablePacks().length > 2) {
      const kind = (await rollUp(store, { maxPacks: 2, commonDir: dir })).kind;
      // After a kill between two removals what is left may be in good order.
      expect(["rolled", "nothing"]).toContain(kind);
      expect(fs.existsSync(path.join(dir, "gc.pid"))).toBe(false);
      rolled += kind === "rolled" ? 1 : 0;
    }
    for (const oid of ids) expect(store.read(oid)).toBeDefined();
    expect([...allObjects(dir).keys()].sort()).toEqual(ids);
  }
  expect(killed).toBeGreaterThan(25);
  expect(rolled).toBeGreaterThan(15);
}, 60_000);

test("git repacks and collects garbage while we roll up, and readers read", async () => {
  const dir = emptyRepo();
  git(dir, "config", "gc.auto", "0");
  const store = open(dir);
  const known: Oid[] = [];
  const tree = (entries: string): Buffer => Buffer.from(entries, "latin1");
  let parent: Oid | undefined;
  const commit = (i: number): void => {
    const builder = new PackBuilder(TEST_FORMAT);
    const blob = builder.write("blob", Buffer.from(`blob ${i} ${rng.int(1e9)}`));
    const root = builder.write("tree", tree(`100644 file\0${Buffer.from(blob, "hex").toString("latin1")}`));
    const who = `A <a@example.com> ${1_700_000_000 + i} +0000`;
    const lines = [
      `tree ${root}`,
      ...(parent === undefined ? [] : [`parent ${parent}`]),
      `author ${who}`,
      `committer ${who}`,
    ];
    parent = builder.write("commit", Buffer.from(`${lines.join("\n")}\n\ncommit ${i}\n`));
    writePack(store, builder.finish(), { fsync: false });
    fs.mkdirSync(path.join(dir, "refs/heads"), { recursive: true });
    fs.writeFileSync(path.join(dir, "refs/heads/main"), `${parent}\n`);
    known.push(blob, root, parent);
  };
  commit(0);
  const gitLoop = spawn(
    "sh",
    [
      "-c",
      "while [ ! -e stop ]; do git repack -a -d -q 2>>errors; git gc -q 2>>errors; git repack -q --geometric=2 -d 2>>errors; done",
    ],
    { cwd: dir, stdio: "ignore" },
  );
  const ended = new Promise((resolve) => gitLoop.on("exit", resolve));
  const outcomes = { rolled: 0, busy: 0, nothing: 0 };
  const reader = open(dir);
  for (let i = 1; i < 150; i++) {
    commit(i);
    const result = await rollUp(store, { maxPacks: 2, ...(i % 2 === 0 && { commonDir: dir }) });
    outcomes[result.kind]++;
    for (const source of [store, reader]) {
      for (const oid of known.slice(-30)) if (!source.has(oid)) throw new Error(`${oid} is gone`);
      expect(source.read(rng.pick(known))).toBeDefined();
    }
    await Bun.sleep(2);
  }
  fs.writeFileSync(path.join(dir, "stop"), "");
  await ended;
  expect(outcomes.rolled).toBeGreaterThan(5);
  for (const oid of known) expect(open(dir).read(oid)).toBeDefined();
  fsckClean(dir);
  expect(git(dir, "rev-list", "--objects", "main").split("\n").length).toBe(known.length);
}, 60_000);

test("git gc and we keep off each other", async () => {
  const dir = emptyRepo();
  const store = open(dir);
  addPacks(store, 4);
  const file = path.join(dir, "gc.pid");
  const roll = async (): Promise<string> => (await rollUp(store, { maxPacks: 2, commonDir: dir })).kind;
  // Held by a process that lives: here, in effect, our parent; and on a machine we cannot see.
  for (const note of [`${process.ppid} ${os.hostname()}`, "1 another-host"]) {
    fs.writeFileSync(file, note);
    expect(await roll()).toBe("busy");
    expect(fs.readFileSync(file, "utf8")).toBe(note);
    expect(tryGit(dir, ["gc"]).stderr).toContain("gc is already running");
  }
  fs.rmSync(file);
  fs.writeFileSync(path.join(dir, "objects/maintenance.lock"), "");
  expect(await roll()).toBe("busy");
  fs.rmSync(path.join(dir, "objects/maintenance.lock"));
  for (const note of ["", `${process.ppid} ${os.hostname()}`, "1 another-host"]) {
    fs.writeFileSync(`${file}.lock`, note);
    expect(await roll()).toBe("busy");
    fs.rmSync(`${file}.lock`);
  }
  // While we work, git waits for another day; our lock is one that git understands.
  const lock = takeGcLock(dir)!;
  expect(tryGit(dir, ["gc"]).stderr).toContain(
    `gc is already running on machine '${os.hostname()}' pid ${process.pid}`,
  );
  expect(takeGcLock(dir, Date.now())).toBeDefined();
  lock.release();
  expect(listDir(dir).filter((name) => name.startsWith("gc.pid"))).toEqual([]);
  // Left by the dead, by nobody we know, or long ago.
  for (const [note, time] of [
    [`999999999 ${os.hostname()}`],
    ["what is this"],
    ["1 another-host", 1_000_000],
  ] as const) {
    fs.writeFileSync(file, note);
    if (time !== undefined) fs.utimesSync(file, time, time);
    takeGcLock(dir)!.release();
    expect(fs.existsSync(file)).toBe(false);
  }
  // The same where it was being made.
  for (const [note, age] of [
    [`999999999 ${os.hostname()}`, 0],
    [`${process.pid} ${os.hostname()}`, 0],
    ["", 61],
    ["1 another-host", 61],
  ] as const) {
    fs.writeFileSync(`${file}.lock`, note);
    const time = Date.now() / 1000 - age;
    fs.utimesSync(`${file}.lock`, time, time);
    takeGcLock(dir)!.release();
    expect(fs.existsSync(`${file}.lock`)).toBe(false);
  }
  expect(await roll()).toBe("rolled");
  expect(tryGit(dir, ["gc", "-q"]).status).toBe(0);
});
