/** Loose objects go into packs, whatever else runs and wherever it is broken off. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { hashObject, type ObjectKind, type Oid } from "../../../src/gitwire/object/oid.ts";
import { hasManyLoose } from "../../../src/gitwire/store/loose-count.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { writeLoose } from "../../../src/gitwire/store/object-writer.ts";
import { packLoose } from "../../../src/gitwire/store/pack-loose.ts";
import { git, gitInput, tryGit } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { allObjects, listDir, packsOf } from "../pack/fixtures.ts";
import { failEveryCall } from "./faults.ts";

setDefaultTimeout(120_000);

const rng = random("pack-loose");
const SRC = path.resolve(import.meta.dir, "../../../src/gitwire");
const NOW = { maxLoose: 0 };

function emptyRepo(): string {
  const dir = tempDir("loose");
  git(dir, "init", "-q", "--bare", ".");
  git(dir, "config", "gc.auto", "0");
  return dir;
}

function open(dir: string): ObjectStore {
  return new ObjectStore(path.join(dir, "objects"), TEST_FORMAT, { cacheBytes: 0 });
}

/** Blobs as git writes them. */
function addLoose(dir: string, count: number): Oid[] {
  const files = Array.from({ length: count }, (_, i) => {
    const file = path.join(dir, `blob-${i}`);
    fs.writeFileSync(file, rng.bytes(rng.int(300)));
    return file;
  });
  const oids = gitInput(dir, files.join("\n"), "hash-object", "-w", "--stdin-paths").split("\n");
  for (const file of files) fs.rmSync(file);
  return oids;
}

const fanOuts = (dir: string): string[] =>
  listDir(path.join(dir, "objects"))
    .filter((name) => /^[0-9a-f]{2}$/.test(name))
    .sort();

const looseFiles = (dir: string): string[] =>
  fanOuts(dir).flatMap((fan) => listDir(path.join(dir, "objects", fan)).map((name) => fan + name));

function contents(dir: string): string {
  return [...allObjects(dir)]
    .map(([oid, { kind, data }]) => `${oid} ${kind} ${Bun.hash(data)}`)
    .sort()
    .join("\n");
}

function fsckClean(dir: string): void {
  const run = tryGit(dir, ["fsck", "--strict", "--full", "--no-dangling"]);
  expect(`${run.status} ${run.stdout}${run.stderr.replace(/notice: .*\n/g, "")}`).toBe("0 ");
}

const leftovers = (dir: string): string[] => [
  ...listDir(path.join(dir, "objects")).filter((name) => !/^(?:[0-9a-f]{2}|info|pack)$/.test(name)),
  ...listDir(path.join(dir, "objects/pack")).filter((name) => !/^pack-[0-9a-f]+\.(?:pack|idx)$/.test(name)),
  ...listDir(dir).filter((name) => name.startsWith("gc.pid")),
];

test("every kind of object goes into one pack, which git finds sound, and its file goes", async () => {
  const dir = emptyRepo();
  const blobs = addLoose(dir, 40);
  // One for each of git's own ways to store it: large ones go through in pieces.
  fs.writeFileSync(path.join(dir, "large"), Buffer.concat([rng.bytes(3_000_000), Buffer.alloc(2_000_000)]));
  blobs.push(git(dir, "hash-object", "-w", "large"), gitInput(dir, "", "hash-object", "-w", "--stdin"));
  fs.rmSync(path.join(dir, "large"));
  const tree = gitInput(dir, blobs.map((oid, i) => `100644 blob ${oid}\tf${i}\n`).join(""), "mktree");
  const commit = git(dir, "commit-tree", "-m", "one", tree);
  git(dir, "update-ref", "refs/heads/main", commit);
  git(dir, "tag", "-a", "-m", "tag", "v1", commit);
  const before = contents(dir);
  const files = looseFiles(dir).length;
  const folders = fanOuts(dir);
  const store = open(dir);
  expect(await packLoose(store, { ...NOW, commonDir: dir })).toEqual({
    kind: "packed",
    objects: files,
    packs: 1,
    damaged: 0,
  });
  expect(files).toBe(new Set([...blobs, tree, commit]).size + 1);
  expect(looseFiles(dir)).toEqual([]);
  // Another git may be about to write to one of them.
  expect(fanOuts(dir)).toEqual(folders);
  expect(leftovers(dir)).toEqual([]);
  expect(contents(dir)).toBe(before);
  expect(git(dir, "count-objects", "-v")).toContain(`count: 0\nsize: 0\nin-pack: ${files}\npacks: 1\n`);
  fsckClean(dir);
  for (const oid of [...blobs, tree, commit]) expect(store.read(oid)).toBeDefined();
});

test("how many there are is judged as git judges it", () => {
  const dir = emptyRepo();
  const fan = path.join(dir, "objects/17");
  fs.mkdirSync(fan);
  const fill = (count: number): void => {
    for (let i = 0; i < count; i++) {
      fs.writeFileSync(path.join(fan, i.toString(16).padStart(TEST_FORMAT.hexSize - 2, "0")), "");
    }
  };
  fs.writeFileSync(path.join(fan, "tmp_obj_abcdef"), "");
  for (const [limit, most] of [
    [6_700, 27],
    [256, 1],
    [257, 2],
    [1, 1],
  ] as const) {
    fs.rmSync(fan, { recursive: true });
    fs.mkdirSync(fan);
    fill(most);
    expect(hasManyLoose(path.join(dir, "objects"), TEST_FORMAT, limit)).toBe(false);
    fill(most + 1);
    expect(hasManyLoose(path.join(dir, "objects"), TEST_FORMAT, limit)).toBe(true);
  }
});

test("many go into several packs; few stay; who holds git's lock is not disturbed", async () => {
  const dir = emptyRepo();
  const oids = addLoose(dir, 50);
  expect(await packLoose(open(dir), { commonDir: dir })).toEqual({ kind: "nothing" });
  fs.writeFileSync(path.join(dir, "gc.pid"), `${process.ppid} ${os.hostname()}`);
  expect(await packLoose(open(dir), { ...NOW, commonDir: dir })).toEqual({ kind: "busy" });
  fs.rmSync(path.join(dir, "gc.pid"));
  const unique = new Set(oids).size;
  const outcome = await packLoose(open(dir), { ...NOW, commonDir: dir, batch: 20 });
  expect(outcome).toEqual({ kind: "packed", objects: unique, packs: Math.ceil(unique / 20), damaged: 0 });
  expect(packsOf(dir)).toHaveLength(Math.ceil(unique / 20));
  fsckClean(dir);
});

test("damaged ones stay as they are, and keep nobody from the others", async () => {
  const dir = emptyRepo();
  const sound = addLoose(dir, 20);
  const broken = (kind: ObjectKind, text: string | Buffer, spoil: (file: string) => void): string => {
    const oid = writeLoose(open(dir), kind, Buffer.from(text));
    const file = path.join(dir, "objects", oid.slice(0, 2), oid.slice(2));
    fs.chmodSync(file, 0o644);
    spoil(file);
    return oid;
  };
  const other = writeLoose(open(dir), "blob", Buffer.from("something else"));
  const otherFile = path.join(dir, "objects", other.slice(0, 2), other.slice(2));
  const large = rng.bytes(2_000_000);
  const damaged = [
    broken("blob", "cut short", (file) => fs.truncateSync(file, 9)),
    broken("blob", "emptied", (file) => fs.truncateSync(file, 0)),
    broken("blob", "followed by more", (file) => fs.appendFileSync(file, "more")),
    broken("blob", "another's content", (file) => fs.copyFileSync(otherFile, file)),
    // Found out only when much of it has been written already.
    broken("blob", large, (file) => fs.truncateSync(file, 1_500_000)),
  ].sort();
  const outcome = await packLoose(open(dir), NOW);
  expect(outcome).toEqual({ kind: "packed", objects: new Set(sound).size + 1, packs: 1, damaged: damaged.length });
  expect(looseFiles(dir).sort()).toEqual(damaged);
  expect(tryGit(dir, ["verify-pack", packsOf(dir)[0]!.replace(/\.pack$/, ".idx")]).status).toBe(0);
  for (const oid of [...sound, other]) expect(open(dir).read(oid)).toBeDefined();
  // Nothing but damage: no pack is made of it.
  expect(await packLoose(open(dir), NOW)).toEqual({ kind: "packed", objects: 0, packs: 0, damaged: damaged.length });
  expect(leftovers(dir)).toEqual([]);
});

test("what is stopped leaves nothing", async () => {
  const dir = emptyRepo();
  addLoose(dir, 200);
  const before = looseFiles(dir);
  const stop = new AbortController();
  const running = packLoose(open(dir), { ...NOW, signal: stop.signal });
  stop.abort(new Error("enough"));
  // Fewer than a slice's worth may be done before it is noticed.
  const message = await running.then(
    () => "done",
    (error: Error) => error.message,
  );
  if (message === "enough") expect(looseFiles(dir)).toEqual(before);
  else expect(message).toBe("done");
  expect(leftovers(dir)).toEqual([]);
  fsckClean(dir);
});

test("a full disk at any call leaves every object readable", async () => {
  const dir = emptyRepo();
  addLoose(dir, 6);
  const before = contents(dir);
  const calls = await failEveryCall(
    () => packLoose(open(dir), { ...NOW, commonDir: dir }),
    () => {
      expect(contents(dir)).toBe(before);
      expect(leftovers(dir)).toEqual([]);
    },
  );
  expect(calls).toBeGreaterThan(12);
  expect(looseFiles(dir)).toEqual([]);
  expect(contents(dir)).toBe(before);
  fsckClean(dir);
});

/** Packs in a process of its own that kills itself at call number `killAt` that changes the disk; true where it got that far. */
function packKilled(dir: string, killAt: number): boolean {
  const script = `
    import { mock } from "bun:test";
    import * as fs from "node:fs";
    let left = ${killAt};
    const counted = (call) => (...args) => {
      if (left-- === 0) process.kill(process.pid, "SIGKILL");
      return call(...args);
    };
    const names = ["openSync", "writeSync", "writeFileSync", "fsyncSync", "fchmodSync", "renameSync", "mkdirSync", "unlinkSync", "rmSync", "rmdirSync"];
    mock.module("node:fs", () => ({ ...fs, ...Object.fromEntries(names.map((name) => [name, counted(fs[name])])) }));
    const { ObjectStore } = await import("${SRC}/store/object-store.ts");
    const { packLoose } = await import("${SRC}/store/pack-loose.ts");
    const { objectFormat } = await import("${SRC}/object/oid.ts");
    const store = new ObjectStore("${dir}/objects", objectFormat("${TEST_FORMAT.name}"));
    await packLoose(store, { maxLoose: 0, commonDir: "${dir}" });
  `;
  const run = Bun.spawnSync(["bun", "-e", script], { stdout: "pipe", stderr: "pipe" });
  if (run.exitCode !== 0 && run.signalCode !== "SIGKILL") throw new Error(run.stderr.toString());
  return run.signalCode === "SIGKILL";
}

test("a kill at any call leaves every object readable, and the next time works", async () => {
  const template = emptyRepo();
  const oids = addLoose(template, 2);
  const before = contents(template);
  let killed = 0;
  for (let killAt = 0; ; killAt++) {
    const dir = path.join(tempDir("killed"), "repo");
    fs.cpSync(template, dir, { recursive: true });
    if (!packKilled(dir, killAt)) break;
    killed++;
    expect(contents(dir)).toBe(before);
    if (killAt % 8 === 0) fsckClean(dir);
    // A lock that does not name its maker yet looks like one that is being made, for a minute.
    const pending = path.join(dir, "gc.pid.lock");
    if (fs.existsSync(pending) && fs.statSync(pending).size === 0) fs.utimesSync(pending, 0, 0);
    // All files may be gone already.
    expect(["packed", "nothing"]).toContain((await packLoose(open(dir), { ...NOW, commonDir: dir })).kind);
    expect(looseFiles(dir)).toEqual([]);
    expect(contents(dir)).toBe(before);
    for (const oid of oids) expect(open(dir).read(oid)).toBeDefined();
  }
  expect(killed).toBeGreaterThan(25);
});

test("objects that no ref leads to outlive a git repack -A between the pack and the removal", async () => {
  const dir = emptyRepo();
  addLoose(dir, 30);
  const before = contents(dir);
  let repacked = 0;
  const store = open(dir);
  const add = store.addPack.bind(store);
  // The pack is in its place, and nothing is removed yet.
  store.addPack = (paths) => {
    repacked++;
    git(dir, "repack", "-A", "-d", "-q");
    git(dir, "prune-packed", "-q");
    return add(paths);
  };
  expect((await packLoose(store, NOW)).kind).toBe("packed");
  expect(repacked).toBe(1);
  expect(contents(dir)).toBe(before);
  git(dir, "repack", "-A", "-d", "-q");
  expect(contents(dir)).toBe(before);
  expect(leftovers(dir)).toEqual([]);
});

/** What git says where its own gc or prune-packed has just removed the folder it was about to write to. */
const GITS_OWN_RACE =
  /error: unable to create temporary file: No such file or directory\n(?:(?:error|fatal): (?:.*failed to insert into database|unable to (?:index file '.*'|write tag file)|(?:adding|updating) files failed|failed to write commit object|Error building trees)\n)*/g;

test("git commits, repacks and collects garbage in a loop while we pack, and readers read", async () => {
  const dir = tempDir("beside");
  git(dir, "init", "-q", "-b", "main", ".");
  git(dir, "config", "gc.auto", "0");
  const gitDir = path.join(dir, ".git");
  const loop = (text: string): Promise<void> => {
    const child = spawn("sh", ["-c", `while [ ! -e stop ]; do ${text}; done`], { cwd: dir, stdio: "ignore" });
    return new Promise((resolve) => child.on("exit", () => resolve()));
  };
  const collector = loop(
    "git repack -A -d -q 2>>errors; git gc -q --prune=2.weeks.ago 2>>errors; git prune-packed -q 2>>errors; git repack -a -d -q 2>>errors; echo >>rounds",
  );
  const committer = loop(
    "n=$((n+1)); echo $n >file; git add file 2>>failed && git commit -qm $n 2>>failed; git tag -f -a -m $n t$((n%7)) >/dev/null 2>>failed; echo >>commits",
  );
  const lines = (name: string): number =>
    fs.existsSync(path.join(dir, name)) ? fs.readFileSync(path.join(dir, name), "latin1").length : 0;
  const store = open(gitDir);
  const seen: Oid[] = [];
  const outcomes: Record<string, number> = {};
  try {
    for (let i = 0; lines("rounds") < 2 || lines("commits") < 15 || i < 15; i++) {
      const { kind } = await packLoose(store, { ...NOW, ...(i % 2 === 0 && { commonDir: gitDir }) });
      outcomes[kind] = (outcomes[kind] ?? 0) + 1;
      const tip = tryGit(dir, ["rev-parse", "-q", "--verify", "main"]).stdout.toString().trim();
      if (tip !== "") seen.push(tip);
      for (const oid of seen.slice(-20)) expect(store.read(oid)?.kind).toBe("commit");
    }
  } finally {
    fs.writeFileSync(path.join(dir, "stop"), "");
    await Promise.all([collector, committer]);
  }
  expect(outcomes.packed).toBeGreaterThan(5);
  const failed = lines("failed") === 0 ? "" : fs.readFileSync(path.join(dir, "failed"), "latin1");
  expect(failed.replace(GITS_OWN_RACE, "")).toBe("");
  fsckClean(dir);
  for (const oid of seen) expect(open(gitDir).read(oid)?.kind).toBe("commit");
  expect(Number(git(dir, "rev-list", "--count", "main"))).toBeGreaterThan(10);
  expect(hashObject(TEST_FORMAT, "commit", open(gitDir).read(seen.at(-1)!)!.data)).toBe(seen.at(-1)!);
});
