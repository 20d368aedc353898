/** The process that combines packs for a daemon: what it leaves when it is killed, meets a full disk, or cannot be started. */

import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../src/errors.ts";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { rollUp } from "../../src/gitwire/store/maintenance.ts";
import { ObjectStore } from "../../src/gitwire/store/object-store.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { type CombineBounds, CombineProcess } from "../../src/stargate/combine-process.ts";
import { listDir, packsOf } from "../gitwire/pack/fixtures.ts";
import { git, tryGit } from "../support/git.ts";
import { random } from "../support/random.ts";
import { STARGATE_PROGRAM } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

setDefaultTimeout(120_000);

const COMMAND = [...STARGATE_PROGRAM, "combine-packs"];
const rng = random("combine-process");

interface Said {
  readonly level: string;
  readonly [field: string]: unknown;
}

const open: CombineProcess[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

function start(
  command: readonly string[] = COMMAND,
  bounds: CombineBounds = {},
): { combining: CombineProcess; said: Said[] } {
  const said: Said[] = [];
  const log = (level: string, _: string, fields: object): void => void said.push({ level, ...fields });
  const combining = new CombineProcess(command, log, { least: 0, ...bounds });
  open.push(combining);
  return { combining, said };
}

/** A repository of `count` packs, `objects` in each. */
function repository(count: number, objects = 3): { dir: string; store: ObjectStore; oids: Oid[] } {
  const dir = tempDir("combined");
  git(dir, "init", "-q", "--bare", `--object-format=${TEST_FORMAT.name}`, ".");
  const store = new ObjectStore(path.join(dir, "objects"), TEST_FORMAT, { cacheBytes: 0 });
  const oids: Oid[] = [];
  for (let i = 0; i < count; i++) addPack(store, objects, oids);
  return { dir, store, oids };
}

function addPack(store: ObjectStore, objects: number, oids: Oid[]): void {
  const builder = new PackBuilder(TEST_FORMAT);
  for (let i = 0; i < objects; i++) oids.push(builder.write("blob", rng.bytes(60)));
  writePack(store, builder.finish(), { fsync: false });
}

/** All objects are there, and nothing that is not a pack, of which there are so many. */
function expectSound(dir: string, store: ObjectStore, oids: readonly Oid[], packs: number): void {
  expect(packsOf(dir).length).toBe(packs);
  const fresh = new ObjectStore(path.join(dir, "objects"), TEST_FORMAT, { cacheBytes: 0 });
  expect(oids.filter((oid) => !store.has(oid) || !fresh.has(oid))).toEqual([]);
  expect(listDir(path.join(dir, "objects")).filter((name) => name.includes("tmp"))).toEqual([]);
  expect(listDir(path.join(dir, "objects/pack")).filter((name) => name.includes("tmp"))).toEqual([]);
  expect(fs.existsSync(path.join(dir, "gc.pid"))).toBe(false);
  const run = tryGit(dir, ["fsck", "--strict", "--full", "--no-dangling"]);
  expect(`${run.status} ${run.stdout}${run.stderr.replace(/notice: .*\n/g, "")}`).toBe("0 ");
}

/** Processes that this one has started and not yet reaped. */
function children(): number[] {
  return fs
    .readdirSync("/proc/self/task")
    .flatMap((task) => fs.readFileSync(`/proc/self/task/${task}/children`, "latin1").split(" "))
    .filter((pid) => pid !== "" && commandOf(Number(pid)).includes("combine-packs"))
    .map(Number);
}

function commandOf(pid: number): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

/** Whether there is a pack that is being made. */
function isWriting(dir: string): boolean {
  const objects = path.join(dir, "objects");
  return listDir(objects).some(
    (name) => name.startsWith(".tmp-kv-incoming-") && listDir(path.join(objects, name, "pack")).length > 0,
  );
}

const roll = (dir: string, store: ObjectStore, { combine }: CombineProcess, signal?: AbortSignal) =>
  rollUp(store, { maxPacks: 2, commonDir: dir, combine, ...(signal && { signal }) });

test("one process combines the packs of one repository after the other, and ends with us", async () => {
  const { combining, said } = start();
  const [first, second] = [repository(5), repository(4)];
  const [a, b] = await Promise.all([
    roll(first.dir, first.store, combining),
    roll(second.dir, second.store, combining),
  ]);
  expect([a, b]).toMatchObject([
    { kind: "rolled", packs: 5, pack: { objectCount: 15 } },
    { kind: "rolled", packs: 4, pack: { objectCount: 12 } },
  ]);
  expectSound(first.dir, first.store, first.oids, 1);
  expectSound(second.dir, second.store, second.oids, 1);
  const [pid] = children();
  for (let i = 0; i < 4; i++) addPack(first.store, 20, first.oids);
  expect((await roll(first.dir, first.store, combining)).kind).toBe("rolled");
  expectSound(first.dir, first.store, first.oids, 1);
  expect(children()).toEqual([pid!]);
  await combining.close();
  expect(children()).toEqual([]);
  expect(said).toEqual([]);
});

test("it is not started for a few small packs, and does those too once it runs", async () => {
  const { combining } = start(COMMAND, { least: 20_000 });
  const small = repository(4);
  expect((await roll(small.dir, small.store, combining)).kind).toBe("rolled");
  expect(children()).toEqual([]);
  const large = repository(4, 200);
  expect((await roll(large.dir, large.store, combining)).kind).toBe("rolled");
  expect(children()).toHaveLength(1);
  // Where it is stopped nobody else does what is asked of it.
  process.kill(children()[0]!, "SIGSTOP");
  for (let i = 0; i < 4; i++) addPack(small.store, 3, small.oids);
  const rolling = roll(small.dir, small.store, combining);
  expect(await Promise.race([rolling, Bun.sleep(500)])).toBeUndefined();
  process.kill(children()[0]!, "SIGCONT");
  expect((await rolling).kind).toBe("rolled");
  expectSound(small.dir, small.store, small.oids, 1);
  expectSound(large.dir, large.store, large.oids, 1);
});

test("what is wrong with a pack is told as it is here", async () => {
  const { combining } = start();
  const { dir, store } = repository(4);
  const damaged = packsOf(dir)[0]!;
  fs.chmodSync(damaged, 0o644);
  const bytes = fs.readFileSync(damaged);
  bytes[30]! ^= 0xff;
  fs.writeFileSync(damaged, bytes);
  const error = await roll(dir, store, combining).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(KvError);
  expect((error as KvError).code).toBe("CORRUPT");
  expect((error as KvError).message).toContain(path.basename(damaged));
  expect(packsOf(dir).length).toBe(4);
  // One that is gone has been repacked by somebody else.
  const gone = repository(4);
  gone.store.refresh();
  const combine = (paths: readonly string[], options: Parameters<CombineProcess["combine"]>[1]) => {
    fs.rmSync(paths[1]!);
    return combining.combine(paths, options);
  };
  expect(await rollUp(gone.store, { maxPacks: 2, commonDir: gone.dir, combine })).toEqual({ kind: "busy" });
});

test("a process that is killed leaves everything as it was, and another one follows", async () => {
  const { combining } = start();
  const { dir, store, oids } = repository(12, 2_000);
  const rolling = roll(dir, store, combining).catch((thrown: unknown) => thrown);
  let killed: number | undefined;
  while (killed === undefined) {
    await Bun.sleep(1);
    if (isWriting(dir)) killed = children()[0];
  }
  process.kill(killed, "SIGKILL");
  const error = await rolling;
  expect(error).toMatchObject({ code: "IO", message: "the process that combines packs ended: SIGKILL" });
  expectSound(dir, store, oids, 12);
  expect((await roll(dir, store, combining)).kind).toBe("rolled");
  expectSound(dir, store, oids, 1);
  expect(children()).not.toContain(killed);
});

test("a process that is stopped is killed in the end, and another one follows", async () => {
  const { combining } = start(COMMAND, { patience: 2_000 });
  const { dir, store, oids } = repository(12, 2_000);
  const rolling = roll(dir, store, combining).catch((thrown: unknown) => thrown);
  let stopped: number | undefined;
  while (stopped === undefined) {
    await Bun.sleep(1);
    if (isWriting(dir)) stopped = children()[0];
  }
  process.kill(stopped, "SIGSTOP");
  const message = "the process that combines packs gave no sign of work for 2 s and was killed";
  expect(await rolling).toMatchObject({ code: "IO", message });
  expect(children()).not.toContain(stopped);
  expectSound(dir, store, oids, 12);
  // One that does not even take what it is asked, which is longer than a pipe holds.
  const mute = start(["/bin/sleep", "3600"], { patience: 500 }).combining;
  const paths = Array.from({ length: 4_000 }, (_, i) => path.join(dir, `objects/pack/pack-${i}.pack`));
  const asked = mute.combine(paths, { dir: path.join(dir, "nowhere"), format: TEST_FORMAT });
  await expect(asked).rejects.toMatchObject({ code: "IO", message: expect.stringContaining("for 0.5 s") });
  expect((await roll(dir, store, start().combining)).kind).toBe("rolled");
  expectSound(dir, store, oids, 1);
});

test("one that has much to do says that it goes on, and is left alone", async () => {
  const signs = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo '{\"working\":true}'; sleep 0.1; done";
  const end = `echo '{"error":{"code":"CORRUPT","message":"after 4 s"},"rss":1}'; cat`;
  const { combining } = start(["/bin/sh", "-c", `read line; ${signs}; ${end}`, "combine-packs"], { patience: 3_000 });
  const { dir, store, oids } = repository(4);
  await expect(roll(dir, store, combining)).rejects.toMatchObject({ code: "CORRUPT", message: "after 4 s" });
  expectSound(dir, store, oids, 4);
  // The real one does so too: what it answers with is not the first it says.
  const large = repository(8, 20_000);
  const said = path.join(large.dir, "said");
  const real = start(["/bin/sh", "-c", `exec "$0" "$@" | tee ${said}`, ...COMMAND]).combining;
  expect((await roll(large.dir, large.store, real)).kind).toBe("rolled");
  expect(fs.readFileSync(said, "utf8").split("\n")[0]).toBe('{"working":true}');
});

test("told to stop, it is gone before the answer", async () => {
  const { combining } = start();
  const { dir, store, oids } = repository(12, 2_000);
  const stop = new AbortController();
  const rolling = roll(dir, store, combining, stop.signal).catch((thrown: unknown) => thrown);
  while (children().length === 0) await Bun.sleep(1);
  await Bun.sleep(rng.int(400));
  stop.abort(new KvError("TERMINATED", "stop"));
  const end = await rolling;
  // On a fast machine it may have been done.
  if ((end as { kind?: string }).kind !== "rolled") {
    expect(end).toBe(stop.signal.reason);
    expect(children()).toEqual([]);
    expectSound(dir, store, oids, 12);
  } else expectSound(dir, store, oids, 1);
});

test("where it cannot be started, packs are combined here, and the log says so", async () => {
  const { combining, said } = start(["/nowhere/git-kv-stargate", "combine-packs"]);
  const { dir, store, oids } = repository(5);
  expect((await roll(dir, store, combining)).kind).toBe("rolled");
  expectSound(dir, store, oids, 1);
  expect(said).toMatchObject([{ level: "warn", code: "IO", doing: "start a process that combines packs" }]);
  for (let i = 0; i < 4; i++) addPack(store, 20, oids);
  expect((await roll(dir, store, combining)).kind).toBe("rolled");
  // Not tried again at once.
  expect(said.length).toBe(1);
});

test("a program that answers nonsense, or ends, is an error and no pack", async () => {
  for (const script of ["read line; echo nonsense; cat", "exit 3", "read line; echo '{\"rss\":1}'; cat"]) {
    const { combining } = start(["/bin/sh", "-c", script, "combine-packs"]);
    const { dir, store, oids } = repository(4);
    const error = await roll(dir, store, combining).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(KvError);
    expectSound(dir, store, oids, 4);
  }
});

/** The calls by which that process changes something, or answers. */
const CALLS = ["pwrite64", "fchmod", "rename", "fsync", "write"];

for (const [what, fault] of [
  ["killed", "signal=KILL"],
  ["told that the disk is full", "error=ENOSPC"],
  ["told that the disk fails", "error=EIO"],
] as const) {
  test(`${what} at any call, it leaves everything as it was`, async () => {
    const met: string[] = [];
    for (const name of CALLS) {
      for (let isMet = true, when = 1; isMet; when++) {
        const inject = `inject=${name}:${fault}:when=${when}`;
        const { combining } = start(["strace", "-qq", "-o", "/dev/null", "-e", inject, ...COMMAND]);
        const { dir, store, oids } = repository(4);
        const result = await roll(dir, store, combining).catch((thrown: unknown) => thrown);
        isMet = result instanceof Error;
        if (isMet) met.push(name);
        expectSound(dir, store, oids, isMet ? 4 : 1);
        await combining.close();
      }
    }
    console.error(`${what}: ${met.join(" ")}`);
    expect(new Set(met)).toEqual(new Set(CALLS));
    expect(met.length).toBeGreaterThan(8);
  });
}
