/**
 * Writes through a Stargate whose connection is cut after any number of bytes of request or answer: each is in the ledger
 * exactly once and said to be, or is an error that names the address; and nothing is left behind on either side.
 */

import { afterAll, beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { KvError } from "../../src/errors.ts";
import { setConfig } from "../../src/gitwire/config/config-edit.ts";
import { commit } from "../../src/kv/commit.ts";
import { parseKey } from "../../src/kv/key.ts";
import { configureRemote } from "../../src/kv/setup.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import type { WriteOutcome } from "../../src/kv/write.ts";
import { Cutter, type Direction } from "../support/cutter.ts";
import { fsck, git } from "../support/git.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { complaints, workspaceAt } from "../support/workspace.ts";

let stargate: TestStargate;
let direct: TestClient;
let cutter: Cutter;
let workspace: Workspace;
let dir: string;
let shown: string;

beforeAll(async () => {
  stargate = await TestStargate.start({ upkeep: false });
  const token = stargate.token();
  direct = new TestClient(stargate.dir, stargate.loginUrl(token));
  await direct.set({ first: "1" });
  cutter = await Cutter.start(Number(new URL(stargate.url).port));
  dir = tempDir("broken");
  git(dir, "init", "-q");
  const address = `127.0.0.1:${cutter.port}/kv.git`;
  shown = `http://${address}`;
  setConfig(path.join(dir, ".git", "config"), "remote.origin.url", stargate.dir);
  workspace = workspaceAt(dir, { clock: systemClock });
  configureRemote(workspace, `http://tester:${token}@${address}`);
});

afterAll(async () => {
  cutter.stop();
  await stargate.stop();
  expect(fsck(stargate.dir)).toBe("");
  expect(complaints(dir)).toBe("");
});

/** Sets `key` as `git kv set` does; the subject of the transaction is the key. */
function set(key: string): Promise<WriteOutcome> {
  const value = { kind: "bytes", data: Buffer.from(`${key} `.repeat(40)) } as const;
  const options = { ctype: undefined, expires: undefined, labels: undefined };
  return commit(workspace, { message: key }, (use) =>
    use({ op: "set", key: parseKey(key), value, options, condition: undefined }),
  );
}

/** Open descriptors but those of packs, which stay open: each accepted write brings one. */
function descriptors(): number {
  return fs.readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return !fs.readlinkSync(`/proc/self/fd/${fd}`).includes("/objects/pack/");
    } catch {
      // The one that lists them.
      return false;
    }
  }).length;
}

/** Locks, temporary files and quarantines of both sides. */
function files(): string[] {
  const all = [path.join(dir, ".git"), stargate.dir].flatMap((root) =>
    fs.readdirSync(root, { recursive: true }).map(String),
  );
  return all.filter((name) => /\.lock$|tmp|incoming/.test(name));
}

/** Subject and KV-Txn of each transaction. */
function ledger(): { readonly subjects: string[]; readonly txns: string[] } {
  const list = (format: string): string[] => git(stargate.dir, "log", `--format=${format}`, "refs/kv/main").split("\n");
  return { subjects: list("%s"), txns: list("%(trailers:key=KV-Txn,valueonly,separator=)") };
}

/** Connections that wait for their next request, and some that are not closed on both sides yet. */
const SETTLING = 6;
const STRIDE: Record<Direction, number> = { request: 149, answer: 31 };

let measured = 0;

/** How long request and answer of one write are. */
async function measure(): Promise<Record<Direction, number>> {
  cutter.arm("request", Number.POSITIVE_INFINITY);
  await set(`measured-${measured++}`);
  return { ...cutter.passed };
}

/** Cuts a write after each `STRIDE` bytes; returns what became of each by the number of bytes. */
async function cuts(direction: Direction, forGood: boolean): Promise<Map<string, KvError | "committed">> {
  const whole = (await measure())[direction];
  expect(whole).toBeGreaterThan(8 * STRIDE[direction]);
  const outcomes = new Map<string, KvError | "committed">();
  for (let limit = 0; limit < whole; limit += STRIDE[direction]) {
    const key = `${direction}-${forGood ? "all" : "one"}-${limit}`;
    cutter.arm(direction, limit, forGood);
    const outcome = await set(key).then(
      ({ kind }) => kind as "committed",
      (error: KvError) => error,
    );
    cutter.disarm();
    outcomes.set(key, outcome);
  }
  return outcomes;
}

test.each([
  ["request", false],
  ["request", true],
  ["answer", false],
  ["answer", true],
] as const)(
  "cut within the %s, for good: %p",
  async (direction, forGood) => {
    const before = { files: files(), open: descriptors() };
    const outcomes = await cuts(direction, forGood);
    // The Stargate takes pushes one after another: when this one is through, none of those before is under way.
    await set(`${direction}-${forGood}-done`);
    const { subjects, txns } = ledger();
    expect(new Set(txns).size).toBe(txns.length);
    for (const [key, outcome] of outcomes) {
      const times = subjects.filter((subject) => subject === key).length;
      if (outcome === "committed") {
        expect([key, times]).toEqual([key, 1]);
        continue;
      }
      expect(outcome).toBeInstanceOf(KvError);
      expect([key, outcome.code, outcome.exit]).toEqual([key, "NETWORK", 5]);
      expect(outcome.message).toContain(shown);
      expect(times).toBeLessThanOrEqual(outcome.message.includes("is not known") ? 1 : 0);
      // As the hint says: once more, and it is there once.
      expect(["committed", "unchanged"]).toContain((await set(key)).kind);
    }
    const again = ledger().subjects;
    for (const key of outcomes.keys()) expect([key, again.filter((one) => one === key).length]).toEqual([key, 1]);
    const committed = [...outcomes.values()].filter((outcome) => outcome === "committed").length;
    if (forGood) expect(committed).toBeLessThan(outcomes.size);
    else if (direction === "answer") expect(committed).toBe(outcomes.size);
    expect(files()).toEqual(before.files);
    expect(descriptors()).toBeLessThanOrEqual(before.open + SETTLING);
  },
  60_000,
);
