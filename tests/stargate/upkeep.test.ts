import { expect, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { fsck, git, gitInput } from "../support/git.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";

test("a served repository packs what a stock receive-pack leaves loose", async () => {
  const first = await TestStargate.start();
  await first.stop();
  const { dir } = first;
  git(dir, "config", "gc.auto", "1");
  const fan = path.join(dir, "objects/17");
  const files = Array.from({ length: 40 }, (_, i) => path.join(dir, `blob-${i}`));
  let written = 0;
  // Until two of them are in the folder that is looked at.
  while (!fs.existsSync(fan) || fs.readdirSync(fan).length < 2) {
    for (const file of files) fs.writeFileSync(file, `blob ${written++}`);
    gitInput(dir, files.join("\n"), "hash-object", "-w", "--stdin-paths");
  }
  // And what a kill leaves between making the lock and having it.
  const pending = path.join(dir, "gc.pid.lock");
  fs.writeFileSync(pending, `999999999 ${os.hostname()}`);
  const stargate = await TestStargate.start({ dir });
  try {
    const line = await stargate.logged(({ component, loose }) => component === "upkeep" && loose !== undefined, 20_000);
    expect(line).toMatchObject({ level: "info", damaged: 0 });
    expect(git(dir, "count-objects", "-v")).toContain("count: 0\n");
    expect(fs.existsSync(pending)).toBe(false);
    const client = new TestClient(dir, stargate.loginUrl(stargate.token()));
    await client.set({ key: "value" });
    for (let i = 0; i < written; i += 97)
      expect(git(dir, "cat-file", "blob", blobOf(dir, `blob ${i}`))).toBe(`blob ${i}`);
  } finally {
    await stargate.stop();
  }
}, 60_000);

const blobOf = (dir: string, text: string): string => gitInput(dir, text, "hash-object", "--stdin");

test("a served repository keeps few packs, and serves all the while", async () => {
  const stargate = await TestStargate.start();
  try {
    const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token()));
    const packDir = path.join(stargate.dir, "objects/pack");
    const packs = (): number => fs.readdirSync(packDir).filter((name) => name.endsWith(".pack")).length;
    for (let i = 0; i < 20; i++) await client.set({ [`key${i % 5}`]: `value ${i}` });
    const line = await stargate.logged(({ component, packs }) => component === "upkeep" && packs !== undefined);
    expect(line.level).toBe("info");
    expect(packs()).toBeLessThan(17);
    for (let i = 0; i < 20; i++) await client.set({ [`key${i}`]: `value ${i}` });
    expect(
      fsck(stargate.dir)
        .replace(/notice: .*/g, "")
        .trim(),
    ).toBe("");
    expect(git(stargate.dir, "rev-list", "--count", "refs/kv/main")).toBe("40");
  } finally {
    await stargate.stop();
  }
});

test("objects that nobody reads any more are not kept in memory", async () => {
  let shift = 0;
  const stargate = await TestStargate.start({ clock: { ...systemClock, now: () => Date.now() + shift } });
  try {
    await new TestClient(stargate.dir, stargate.loginUrl(stargate.token())).set({ key: "value" });
    const { objects } = stargate.daemon.registry.byName("kv.git")!.gate.repo;
    const oid = git(stargate.dir, "rev-parse", "refs/kv/main");
    expect(objects.read(oid)?.kind).toBe("commit");
    // Out of reach: from here on it is in memory or nowhere.
    fs.renameSync(path.join(stargate.dir, "objects/pack"), path.join(stargate.dir, "pack"));
    expect(objects.read(oid)?.kind).toBe("commit");
    for (const pack of objects.packs()) pack.release();
    for (let isKept = true; isKept; isKept = objects.read(oid) !== undefined) {
      for (let look = 0; look < 2; look++) {
        shift += 31_000;
        await Bun.sleep(1_100);
      }
    }
  } finally {
    await stargate.stop();
  }
}, 60_000);

test("garbage is collected where the heap has grown, and not again at once", async () => {
  const collect = spyOn(Bun, "gc");
  const stargate = await TestStargate.start({ upkeep: false });
  try {
    Bun.gc(true);
    await Bun.sleep(1_200);
    collect.mockClear();
    await Bun.sleep(2_200);
    expect(collect).not.toHaveBeenCalled();
    const taken = Array.from({ length: 20 }, () => Buffer.alloc(Math.max(4e6, process.memoryUsage().heapUsed / 10), 1));
    while (collect.mock.calls.length === 0) await Bun.sleep(50);
    await Bun.sleep(2_200);
    expect([collect.mock.calls.length, taken.length]).toEqual([1, 20]);
  } finally {
    collect.mockRestore();
    await stargate.stop();
  }
}, 60_000);
