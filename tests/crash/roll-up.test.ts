/** The daemon and the process that combines its packs, either of them ended while packs are combined. */

import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { SHA1 } from "../../src/gitwire/object/oid.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { readDirIfThere } from "../../src/gitwire/store/loose.ts";
import { ObjectStore } from "../../src/gitwire/store/object-store.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { type DaemonProcess, stargateRepository, startDaemon } from "../support/daemon-process.ts";
import { fsck } from "../support/git.ts";
import { random } from "../support/random.ts";
import { TestClient } from "../support/stargate.ts";

setDefaultTimeout(120_000);

const rng = random("roll-up");
const PACKS = 20;
const OBJECTS = 4_000;

let daemon: DaemonProcess | undefined;
afterEach(() => daemon?.kill());

interface Scene {
  readonly dir: string;
  readonly token: string;
  readonly oids: readonly string[];
  /** The process that combines, which has been stopped in the middle of it. */
  readonly child: number;
}

/** A daemon that has begun to combine a good many packs. */
async function combining(): Promise<Scene> {
  const { dir, token } = stargateRepository(["--object-format", "sha1"]);
  const store = new ObjectStore(path.join(dir, "objects"), SHA1);
  const oids: string[] = [];
  for (let i = 0; i < PACKS; i++) {
    const builder = new PackBuilder(SHA1);
    for (let j = 0; j < OBJECTS; j++) oids.push(builder.write("blob", rng.bytes(60)));
    writePack(store, builder.finish(), { fsync: false });
  }
  daemon = await startDaemon(dir, token);
  const child = await until(() => isWriting(dir) && childOf(daemon!.pid));
  process.kill(child, "SIGSTOP");
  expect(isWriting(dir)).toBe(true);
  return { dir, token, oids, child };
}

/** Waits until `look` finds something. */
async function until<T>(look: () => T | false | undefined): Promise<T> {
  for (const end = Date.now() + 60_000; Date.now() < end; await Bun.sleep(2)) {
    const found = look();
    if (found !== false && found !== undefined) return found;
  }
  throw new Error("waited in vain");
}

function childOf(pid: number): number | undefined {
  const tasks = fs.readdirSync(`/proc/${pid}/task`);
  const pids = tasks.flatMap((task) => fs.readFileSync(`/proc/${pid}/task/${task}/children`, "latin1").split(" "));
  return pids.map(Number).find((one) => one > 0 && stateOf(one) !== "Z");
}

/** One letter (proc(5)); undefined where there is no such process. */
function stateOf(pid: number): string | undefined {
  try {
    return /\) (\S)/.exec(fs.readFileSync(`/proc/${pid}/stat`, "latin1"))![1];
  } catch {
    return undefined;
  }
}

const isGone = (pid: number): boolean => [undefined, "Z"].includes(stateOf(pid));

/** Files and folders below the object folder that have no name of their own yet. */
function temporary(dir: string): string[] {
  const objects = path.join(dir, "objects");
  const incoming = readDirIfThere(objects).filter((name) => name.startsWith(".tmp-kv-incoming-"));
  const below = ["pack", ...incoming.map((name) => `${name}/pack`)].flatMap((inner) =>
    readDirIfThere(path.join(objects, inner)).map((name) => `${inner}/${name}`),
  );
  return [...incoming, ...below].filter((name) => name.includes("tmp"));
}

const isWriting = (dir: string): boolean => temporary(dir).some((name) => name.includes("tmp_pack_"));

const packs = (dir: string): number =>
  fs.readdirSync(path.join(dir, "objects/pack")).filter((name) => name.endsWith(".pack")).length;

/** Nothing of the work is left, and all objects are there. */
function expectUntouched({ dir, oids }: Scene): void {
  expect(temporary(dir)).toEqual([]);
  expect(packs(dir)).toBeGreaterThanOrEqual(PACKS);
  expectAll(dir, oids);
}

function expectAll(dir: string, oids: readonly string[]): void {
  const store = new ObjectStore(path.join(dir, "objects"), SHA1, { cacheBytes: 0 });
  expect(oids.filter((oid) => !store.has(oid))).toEqual([]);
  store.close();
}

/** The daemon that runs combines them in the end, and takes pushes meanwhile. */
async function expectCombined({ dir, oids }: Scene): Promise<void> {
  await new TestClient(dir, daemon!.address).set({ key: "value" });
  await until(() => packs(dir) < PACKS && temporary(dir).length === 0);
  expectAll(dir, oids);
  expect(fsck(dir)).toBe("");
}

test("kill -9 of the daemon: the other process ends when it finds out, and has changed nothing", async () => {
  const scene = await combining();
  await daemon!.kill();
  process.kill(scene.child, "SIGCONT");
  await until(() => isGone(scene.child));
  expectUntouched(scene);
  daemon = await startDaemon(scene.dir, scene.token);
  await expectCombined(scene);
});

test("kill -9 of both at once: the next daemon goes on beside what is left", async () => {
  const scene = await combining();
  process.kill(daemon!.pid, "SIGSTOP");
  process.kill(scene.child, "SIGKILL");
  await daemon!.kill();
  expect(packs(scene.dir)).toBeGreaterThanOrEqual(PACKS);
  // Swept when nothing was written there for a while.
  const left = temporary(scene.dir);
  const folder = path.join(scene.dir, "objects", left.find((name) => !name.includes("/"))!);
  const old = new Date(Date.now() - 3_600_000);
  for (const name of [...left, `${path.basename(folder)}/pack`])
    fs.utimesSync(path.join(scene.dir, "objects", name), old, old);
  daemon = await startDaemon(scene.dir, scene.token);
  expect(fs.existsSync(folder)).toBe(false);
  await expectCombined(scene);
});

test("kill -9 of the process that combines: the daemon says so, has changed nothing, and has another one do it", async () => {
  const scene = await combining();
  process.kill(scene.child, "SIGKILL");
  await until(() => daemon!.log().includes("the process that combines packs ended: SIGKILL"));
  expectUntouched(scene);
  expect(fs.existsSync(path.join(scene.dir, "gc.pid"))).toBe(false);
  await expectCombined(scene);
});

test("SIGTERM of the daemon ends both, though the other process does not answer", async () => {
  const scene = await combining();
  await daemon!.stop();
  expect(await daemon!.exited).toBe(0);
  expect(isGone(scene.child)).toBe(true);
  expectUntouched(scene);
  expect(fs.existsSync(path.join(scene.dir, "gc.pid"))).toBe(false);
});
