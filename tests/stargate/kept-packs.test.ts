/**
 * Small packs ride in the journal: what a power cut takes of their files, which nobody synced, is written again at the next start;
 * and the journal lets go of them when they are safe elsewhere.
 */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { LIMITS } from "../../src/limits.ts";
import { Journal } from "../../src/stargate/journal.ts";
import { releaseKeptPacks } from "../../src/stargate/kept-packs.ts";
import { stargateDir } from "../../src/stargate/settings.ts";
import { fsck, git } from "../support/git.ts";
import { random } from "../support/random.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";

setDefaultTimeout(60_000);

function keptIn(dir: string): string[] {
  const journal = new Journal(stargateDir(dir));
  try {
    return journal.keptPacks().map(({ name }) => name);
  } finally {
    journal.close();
  }
}

async function served<T>(
  dir: string | undefined,
  act: (client: TestClient, stargate: TestStargate) => Promise<T>,
): Promise<T> {
  const stargate = await TestStargate.start(dir === undefined ? { upkeep: false } : { dir });
  try {
    return await act(new TestClient(stargate.dir, stargate.loginUrl(stargate.token())), stargate);
  } finally {
    await stargate.stop();
  }
}

/** What a power cut may leave of a file that was written and renamed, and never synced. */
const DAMAGES: readonly (readonly [string, (file: string) => void])[] = [
  ["gone", (file) => fs.rmSync(file)],
  ["empty", (file) => rewrite(file, () => Buffer.alloc(0))],
  ["cut short", (file) => rewrite(file, (bytes) => bytes.subarray(0, bytes.length >> 1))],
  ["zeroed", (file) => rewrite(file, (bytes) => Buffer.alloc(bytes.length))],
  ["with a block of zeros", (file) => rewrite(file, (bytes) => Buffer.from(bytes).fill(0, bytes.length - 30))],
];

function rewrite(file: string, change: (bytes: Buffer) => Buffer): void {
  const bytes = change(fs.readFileSync(file));
  fs.rmSync(file);
  fs.writeFileSync(file, bytes, { mode: 0o444 });
}

test("whatever a power cut does to their files, the next start has every acknowledged transaction", async () => {
  const numbers = random("power cuts");
  const dir = await served(undefined, async (client, stargate) => {
    await client.set({ a: "1" });
    return stargate.dir;
  });
  for (let round = 0; round < 4; round++) {
    const tip = await served(dir, async (client) => {
      await client.set({ [`k${round}`]: "1" });
      return client.set({ [`k${round}`]: "2", a: String(round) });
    });
    const kept = keptIn(dir);
    expect(kept.length).toBeGreaterThanOrEqual(2);
    const told: string[] = [];
    for (const name of numbers.shuffle(kept).slice(0, 1 + numbers.int(3))) {
      for (const ending of numbers.shuffle(["pack", "idx"]).slice(0, 1 + numbers.int(2))) {
        const [damage, apply] = numbers.pick(DAMAGES);
        apply(path.join(dir, "objects", "pack", `${name}.${ending}`));
        told.push(`${ending} ${damage}`);
      }
    }
    await served(dir, async (client) => {
      expect([told, fsck(dir), git(dir, "rev-parse", "refs/kv/main")]).toEqual([told, "", tip]);
      await client.set({ [`after${round}`]: "1" });
    });
  }
  expect(fsck(dir)).toBe("");
});

test("a pack over the limit is synced and not kept", async () => {
  const numbers = random("large pack");
  await served(undefined, async (client, { dir }) => {
    await client.set({ a: "1" });
    const before = keptIn(dir);
    await client.set({ big: numbers.bytes(LIMITS.keptPackBytes).toString("base64") });
    expect(keptIn(dir)).toEqual(before);
  });
});

test("a roll-up lets go of what it combined", async () => {
  await served(undefined, async (client, stargate) => {
    git(stargate.dir, "config", "--unset", "gc.auto");
    for (let i = 0; i < 4; i++) await client.set({ [`k${i}`]: "1" });
    await stargate.stop();
    expect(keptIn(stargate.dir)).toHaveLength(4);
    const again = await TestStargate.start({ dir: stargate.dir });
    const next = new TestClient(stargate.dir, again.loginUrl(again.token()));
    for (let i = 0; i < LIMITS.packs + 1; i++) await next.set({ [`k${i}`]: "2" });
    await again.logged(({ component, packs }) => component === "upkeep" && packs !== undefined, 20_000);
    await again.stop();
    const there = fs.readdirSync(path.join(stargate.dir, "objects", "pack"));
    for (const name of keptIn(stargate.dir)) expect(there).toContain(`${name}.pack`);
    expect(keptIn(stargate.dir).length).toBeLessThan(LIMITS.packs);
  });
});

test("where nobody rolls up, they are synced when there are too many", async () => {
  await served(undefined, async (client, stargate) => {
    for (let i = 0; i < 4; i++) await client.set({ [`k${i}`]: "1" });
    await stargate.stop();
    const journal = new Journal(stargateDir(stargate.dir));
    releaseKeptPacks(client.repo, journal, 4);
    expect(journal.keptPacks()).toHaveLength(4);
    releaseKeptPacks(client.repo, journal, 3);
    expect(journal.keptPacks()).toEqual([]);
    journal.close();
    expect(fsck(stargate.dir)).toBe("");
  });
});

test("a row that is taken back takes its pack along", async () => {
  let broken = true;
  const stargate = await TestStargate.start({
    upkeep: false,
    onStage: (stage) => {
      const packs = path.join(stargate.dir, "objects", "pack");
      // A file in its place: nothing can be moved in.
      if (stage === "journaled" && broken) {
        fs.renameSync(packs, `${packs}.kept`);
        fs.writeFileSync(packs, "");
      }
    },
  });
  const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token()));
  const result = await client.push(client.plan({ a: "1" }));
  expect([...result.refs.values()].every(({ ok }) => !ok)).toBe(true);
  broken = false;
  const packs = path.join(stargate.dir, "objects", "pack");
  fs.rmSync(packs);
  fs.renameSync(`${packs}.kept`, packs);
  expect(keptIn(stargate.dir)).toEqual([]);
  await client.set({ b: "1" });
  await stargate.stop();
  expect(keptIn(stargate.dir)).toHaveLength(1);
  expect(fsck(stargate.dir)).toBe("");
});
