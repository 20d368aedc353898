/**
 * Writes through a server, a Stargate or git's own, whose connection is cut after any number of bytes of request or answer: each is in the ledger
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
import { git } from "../support/git.ts";
import { bareRepository } from "../support/push.ts";
import { freePort } from "../support/sshd.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { complaints, workspaceAt } from "../support/workspace.ts";

/** A clone, the server it writes to, and the proxy between them. */
interface Side {
  readonly cutter: Cutter;
  readonly workspace: Workspace;
  readonly dir: string;
  readonly server: string;
  /** The address as messages show it. */
  readonly shown: string;
}

let stargate: TestStargate;
let daemon: Bun.Subprocess;
let sides: Record<"Stargate" | "git daemon", Side>;
let side: Side;

beforeAll(async () => {
  stargate = await TestStargate.start({ upkeep: false });
  const token = stargate.token();
  await new TestClient(stargate.dir, stargate.loginUrl(token)).set({ first: "1" });
  const bare = bareRepository();
  const port = await freePort();
  const args = ["--listen=127.0.0.1", `--port=${port}`, "--export-all", "--enable=receive-pack", "--verbose"];
  const started = Bun.spawn(["git", "daemon", ...args, path.dirname(bare)], { stdout: "ignore", stderr: "pipe" });
  daemon = started;
  await started.stderr.getReader().read();
  sides = {
    Stargate: await sideOf(stargate.dir, Number(new URL(stargate.url).port), "http://", `tester:${token}@`, "/kv.git"),
    "git daemon": await sideOf(bare, port, "git://", "", bare),
  };
});

afterAll(async () => {
  for (const { cutter } of Object.values(sides)) cutter.stop();
  await stargate.stop();
  daemon.kill();
  for (const { dir, server } of Object.values(sides)) {
    expect(complaints(server)).toBe("");
    expect(complaints(dir)).toBe("");
  }
});

async function sideOf(server: string, port: number, scheme: string, login: string, tail: string): Promise<Side> {
  const cutter = await Cutter.start(port);
  const dir = tempDir("broken");
  git(dir, "init", "-q");
  setConfig(path.join(dir, ".git", "config"), "remote.origin.url", server);
  const workspace = workspaceAt(dir, { clock: systemClock });
  const place = `127.0.0.1:${cutter.port}${tail}`;
  configureRemote(workspace, scheme + login + place);
  return { cutter, workspace, dir, server, shown: scheme + place };
}

/** Sets `key` as `git kv set` does; the subject of the transaction is the key. */
function set(key: string): Promise<WriteOutcome> {
  const value = { kind: "bytes", data: Buffer.from(`${key} `.repeat(40)) } as const;
  const options = { ctype: undefined, expires: undefined, labels: undefined };
  return commit(side.workspace, { message: key }, (use) =>
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

/** Locks, temporary files and quarantines of the clone, and of the Stargate. */
function files(): string[] {
  const all = [path.join(side.dir, ".git"), stargate.dir].flatMap((root) =>
    fs.readdirSync(root, { recursive: true }).map(String),
  );
  return all.filter((name) => /\.lock$|tmp|incoming/.test(name));
}

/** Subject and KV-Txn of each transaction. */
function ledger(): { readonly subjects: string[]; readonly txns: string[] } {
  const list = (format: string): string[] => git(side.server, "log", `--format=${format}`, "refs/kv/main").split("\n");
  return { subjects: list("%s"), txns: list("%(trailers:key=KV-Txn,valueonly,separator=)") };
}

/** Connections that wait for their next request, and some that are not closed on both sides yet. */
const SETTLING = 6;
const STRIDE: Record<Direction, number> = { request: 149, answer: 31 };

let measured = 0;

/** How long request and answer of one write are. */
async function measure(): Promise<Record<Direction, number>> {
  side.cutter.arm("request", Number.POSITIVE_INFINITY);
  await set(`measured-${measured++}`);
  return { ...side.cutter.passed };
}

/** Cuts a write again and again, a stride later each time; returns what became of each by the number of bytes. */
async function cuts(direction: Direction, forGood: boolean): Promise<Map<string, KvError | "committed">> {
  const whole = (await measure())[direction];
  // Git's own server starts a process for each connection.
  const stride = STRIDE[direction] * (side === sides.Stargate ? 1 : 3);
  expect(whole).toBeGreaterThan(3 * stride);
  const outcomes = new Map<string, KvError | "committed">();
  for (let limit = 0; limit < whole; limit += stride) {
    const key = `${direction}-${forGood ? "all" : "one"}-${limit}`;
    side.cutter.arm(direction, limit, forGood);
    const outcome = await set(key).then(
      ({ kind }) => kind as "committed",
      (error: KvError) => error,
    );
    side.cutter.disarm();
    outcomes.set(key, outcome);
  }
  return outcomes;
}

test.each([
  ["Stargate", "request", false],
  ["Stargate", "request", true],
  ["Stargate", "answer", false],
  ["Stargate", "answer", true],
  ["git daemon", "request", false],
  ["git daemon", "request", true],
  ["git daemon", "answer", false],
  ["git daemon", "answer", true],
] as const)(
  "%s: cut within the %s, for good: %p",
  async (name, direction, forGood) => {
    side = sides[name];
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
      expect(outcome.message).toContain(side.shown);
      expect(times).toBeLessThanOrEqual(outcome.message.includes("is not known") ? 1 : 0);
      // As the hint says: once more, and it is there once.
      expect(["committed", "unchanged"]).toContain((await set(key)).kind);
    }
    const again = ledger().subjects;
    for (const key of outcomes.keys()) expect([key, again.filter((one) => one === key).length]).toEqual([key, 1]);
    const committed = [...outcomes.values()].filter((outcome) => outcome === "committed").length;
    if (forGood) expect(committed).toBeLessThan(outcomes.size);
    else if (direction === "answer" && name === "Stargate") expect(committed).toBe(outcomes.size);
    expect(files()).toEqual(before.files);
    expect(descriptors()).toBeLessThanOrEqual(before.open + SETTLING);
  },
  60_000,
);
