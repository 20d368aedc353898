/**
 * Large values through a Stargate: what they leave on its disk and take of its memory, and what happens when the connection or the
 * disk ends in the middle.
 */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { KvError } from "../../src/errors.ts";
import { setConfig } from "../../src/gitwire/config/config-edit.ts";
import { commit } from "../../src/kv/commit.ts";
import { fetchPieces } from "../../src/kv/fetch-pieces.ts";
import { parseKey } from "../../src/kv/key.ts";
import { configureRemote } from "../../src/kv/setup.ts";
import { tidyUp } from "../../src/kv/tidy.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import { Cutter } from "../support/cutter.ts";
import { git, gitInput } from "../support/git.ts";
import { gitAsync } from "../support/git-async.ts";
import { keystream, planLarge } from "../support/large-value.ts";
import { large, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { StargateProcess } from "../support/stargate-process.ts";
import { tempDir } from "../support/temp.ts";
import { complaints, workspaceAt } from "../support/workspace.ts";

const MiB = 1024 * 1024;

const noise = (seed: number, size: number): Buffer => Buffer.from(keystream(seed)(Buffer.alloc(size)));

/** Bytes of the packs in the repository at `gitDir`. */
function packBytes(gitDir: string): number {
  const dir = path.join(gitDir, "objects/pack");
  const packs = fs.readdirSync(dir).filter((name) => name.endsWith(".pack"));
  return packs.reduce(
    (sum, name) => sum + (fs.statSync(path.join(dir, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

/** Waits until `holds`; the test's own limit ends it. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await Bun.sleep(20);
}

const leftovers = (gitDir: string): string[] =>
  (fs.readdirSync(path.join(gitDir, "objects"), { recursive: true }) as string[]).filter((name) =>
    /tmp|incoming/.test(name),
  );

/** A clone that writes through `port`. */
function clone(stargate: TestStargate, port: number): { workspace: Workspace; gitDir: string } {
  const dir = tempDir("large-clone");
  git(dir, "init", "-q", `--object-format=${git(stargate.dir, "rev-parse", "--show-object-format")}`);
  setConfig(path.join(dir, ".git", "config"), "remote.origin.url", stargate.url);
  const workspace = workspaceAt(dir, { clock: systemClock });
  configureRemote(workspace, `http://t:${stargate.token()}@127.0.0.1:${port}/kv.git`);
  return { workspace, gitDir: path.join(dir, ".git") };
}

async function set(workspace: Workspace, key: string, data: Buffer): Promise<void> {
  const options = { ctype: undefined, expires: undefined, labels: undefined };
  await commit(workspace, {}, (use) =>
    use({ op: "set", key: parseKey(key), value: { kind: "bytes", data }, options, condition: undefined }),
  );
}

test("a value that changes a little here and there is stored at what was sent for it, on both sides", async () => {
  const stargate = await TestStargate.start();
  const cutter = await Cutter.start(Number(new URL(stargate.url).port));
  try {
    const { workspace, gitDir } = clone(stargate, cutter.port);
    const data = noise(1, 12 * MiB);
    await set(workspace, "big", data);
    const first = { server: packBytes(stargate.dir), clone: packBytes(gitDir) };
    const { gate } = stargate.daemon.registry.all()[0]!;
    const known = () => gate.known.within("main").of(parseKey("big"));
    const before = known();
    expect(before?.nodes.length).toBe(191 * 32);
    // 40 runs of 8 KiB, in nearly every piece.
    const runs = 40;
    for (let i = 0; i < runs; i++) noise(2 + i, 8_192).copy(data, i * 300_000);
    cutter.arm("request", Number.POSITIVE_INFINITY);
    await set(workspace, "big", data);
    const sent = cutter.passed.request;
    // Remembered for the next one: as many nodes, of the version that is there now.
    expect(known()?.nodes.length).toBe(191 * 32);
    expect(known()?.oid).not.toBe(before!.oid);
    await stargate.logged(({ component, packs }) => component === "upkeep" && packs !== undefined, 60_000);
    await tidyUp(workspace);
    expect(sent).toBeLessThan(1.1 * runs * 8_192);
    expect(packBytes(stargate.dir) - first.server).toBeLessThan(1.05 * sent);
    expect(packBytes(gitDir) - first.clone).toBeLessThan(1.05 * sent);
    expect(complaints(stargate.dir)).toBe("");
    workspace.repo.close();
  } finally {
    cutter.stop();
    await stargate.stop();
  }
}, 120_000);

test("memory does not grow with the value", async () => {
  const stargate = await StargateProcess.start();
  const dir = tempDir("large-client");
  try {
    const client = new TestClient(stargate.dir, stargate.address);
    const most: number[] = [];
    for (const [i, size] of [48, 160].entries()) {
      const planned = await planLarge(client, `value${i}`, size * MiB, i, dir);
      expect(verdict(await client.push(planned))).toBe("ok");
      planned.pack.dispose();
      most.push(stargate.mostResident);
    }
    expect(most[0]).toBeLessThan(200 * MiB);
    expect(most[1]! - most[0]!).toBeLessThan(56 * MiB);
  } finally {
    await stargate.stop();
  }
}, 120_000);

test("a connection that ends at any part of a push leaves nothing, and the push can be made again", async () => {
  const stargate = await TestStargate.start({ upkeep: false });
  const cutter = await Cutter.start(Number(new URL(stargate.url).port));
  try {
    const token = stargate.token();
    const client = new TestClient(stargate.dir, `http://t:${token}@127.0.0.1:${cutter.port}/kv.git`);
    await client.set({ a: "1", b: large(noise(3, 2 * MiB)) });
    const refs = (): string => git(stargate.dir, "for-each-ref");
    const before = refs();
    const planned = client.plan({ big: large(noise(4, 20 * MiB)) });
    for (const part of [0.1, 0.5, 0.99]) {
      cutter.arm("request", Math.floor(part * 20 * MiB));
      await expect(client.push(planned)).rejects.toMatchObject({ code: "NETWORK" });
      await until(() => leftovers(stargate.dir).length === 0);
      expect(refs()).toBe(before);
    }
    cutter.disarm();
    expect(verdict(await client.push(planned))).toBe("ok");
    expect(git(stargate.dir, "rev-parse", "refs/kv/main")).toBe(planned.ledger);
    expect(complaints(stargate.dir)).toBe("");
  } finally {
    cutter.stop();
    await stargate.stop();
  }
}, 120_000);

describe("a disk without room", () => {
  test("refuses what does not fit with STORAGE, keeps nothing of it, and takes what does", async () => {
    // Files may have 4 MiB here: writing more of one fails as on a full disk.
    const stargate = await StargateProcess.start(tempDir("full"), "trap '' XFSZ; ulimit -f 8192;");
    try {
      const client = new TestClient(stargate.dir, stargate.address);
      await client.set({ a: "1" });
      const before = git(stargate.dir, "for-each-ref");
      const planned = client.plan({ big: large(noise(5, 12 * MiB)) });
      const result = await client.push(planned).catch((error: KvError) => error);
      if (result instanceof KvError) throw result;
      expect(
        `${result.unpack} ${[...result.refs.values()].map((ref) => (ref.ok ? "ok" : ref.reason)).join()}`,
      ).toStartWith("STORAGE: ");
      expect(git(stargate.dir, "for-each-ref")).toBe(before);
      expect(leftovers(stargate.dir)).toEqual([]);
      await client.set({ b: "2", c: large(noise(6, 2 * MiB)) });
      expect(complaints(stargate.dir)).toBe("");
    } finally {
      await stargate.stop();
    }
  }, 60_000);
});

test("a server that has lost a piece gives a reader an error and nothing else", async () => {
  const first = await TestStargate.start({ upkeep: false });
  const { dir } = first;
  const planned = new TestClient(dir, first.loginUrl(first.token())).plan({ big: large(noise(7, 3 * MiB)) });
  expect(verdict(await new TestClient(dir, first.loginUrl(first.token())).push(planned))).toBe("ok");
  await first.stop();
  const pieces = git(dir, "ls-tree", "-r", "--object-only", "refs/kv-chunks/main@e1").split("\n");
  const lost = pieces[2]!;
  const all = git(dir, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split("\n");
  const packDir = path.join(dir, "objects/pack");
  const before = fs.readdirSync(packDir);
  const kept = all.filter((oid) => oid !== lost).join("\n");
  gitInput(dir, `${kept}\n`, "pack-objects", "-q", path.join(packDir, "pack"));
  for (const name of before) fs.rmSync(path.join(packDir, name));
  const stargate = await TestStargate.start({ dir, upkeep: false });
  try {
    const { workspace, gitDir } = clone(stargate, Number(new URL(stargate.url).port));
    await gitAsync(gitDir, "fetch", "-q", stargate.loginUrl(stargate.token()), "+refs/kv/main:refs/kv/main");
    const had = packBytes(gitDir);
    const failure = await fetchPieces(workspace, pieces).catch((error: KvError) => error);
    expect(failure).toBeInstanceOf(KvError);
    expect((failure as KvError).message).toContain(lost);
    expect(packBytes(gitDir)).toBe(had);
    // The others are still to be had.
    await fetchPieces(
      workspace,
      pieces.filter((oid) => oid !== lost),
    );
    expect(pieces.filter((oid) => !workspace.repo.objects.has(oid))).toEqual([lost]);
    workspace.repo.close();
  } finally {
    await stargate.stop();
  }
}, 60_000);
