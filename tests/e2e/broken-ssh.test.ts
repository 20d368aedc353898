/**
 * Pushes and fetches over a real sshd whose connection is cut after any number of bytes, in the handshake as well: an error that
 * names the address or a success, each write in the ledger once at most, and no file, process or descriptor left on either side.
 */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { KvError } from "../../src/errors.ts";
import { setConfig } from "../../src/gitwire/config/config-edit.ts";
import { commit } from "../../src/kv/commit.ts";
import { fetchAccepted } from "../../src/kv/fetch.ts";
import { parseKey } from "../../src/kv/key.ts";
import { configureRemote } from "../../src/kv/setup.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import { Cutter, type Direction } from "../support/cutter.ts";
import { executable } from "../support/executable.ts";
import { git } from "../support/git.ts";
import { tryGitAsync } from "../support/git-async.ts";
import { type Sshd, startSshd } from "../support/sshd.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { complaints, workspaceAt } from "../support/workspace.ts";

setDefaultTimeout(120_000);

/** Cuts of one kind; each costs a login. */
const CUTS = 6;

let stargate: TestStargate;
let sshd: Sshd;
let cutter: Cutter;
let address: string;
let direct: TestClient;
let workspace: Workspace;

beforeAll(async () => {
  stargate = await TestStargate.start({ upkeep: false });
  const { dir } = stargate;
  sshd = await startSshd({ forcedCommand: `${executable("git-kv-stargate")} shell --repo ${dir}` });
  cutter = await Cutter.start(sshd.port);
  // The proxy's port is another one, the key behind it the same.
  const hosts = path.join(sshd.dir, "known_hosts");
  fs.appendFileSync(hosts, fs.readFileSync(hosts, "utf8").replace(`:${sshd.port} `, `:${cutter.port} `));
  address = `ssh://${sshd.user}@127.0.0.1:${cutter.port}${dir}`;
  direct = new TestClient(dir, stargate.loginUrl(stargate.token()));
  await direct.set({ first: "1" });
  workspace = newClone();
  await fetchAccepted(workspace);
});

afterAll(async () => {
  cutter.stop();
  sshd.stop();
  await stargate.stop();
});

function newClone(): Workspace {
  const dir = tempDir("broken-ssh");
  git(dir, "init", "-q");
  setConfig(path.join(dir, ".git", "config"), "remote.origin.url", stargate.dir);
  const made = workspaceAt(dir, { clock: systemClock, env: { GIT_SSH_COMMAND: sshd.command } });
  configureRemote(made, address);
  return made;
}

async function set(key: string): Promise<string> {
  // Random enough to stay as long in the pack as it is.
  const value = { kind: "bytes", data: Buffer.from(crypto.getRandomValues(new Uint8Array(20_000))) } as const;
  const options = { ctype: undefined, expires: undefined, labels: undefined };
  const { kind } = await commit(workspace, { message: key }, (use) =>
    use({ op: "set", key: parseKey(key), value, options, condition: undefined }),
  );
  return kind;
}

/** Something new for a fetch to bring, written through the other door. */
let written = 0;
async function fetchNew(): Promise<string> {
  const value = Buffer.from(crypto.getRandomValues(new Uint8Array(15_000))).toString("hex");
  await direct.set({ [`news-${written++}`]: value });
  await fetchAccepted(workspace);
  return "fetched";
}

/** Places to cut at: all over the exchange, the last few bytes included. */
function limits(whole: number): number[] {
  const spread = Array.from({ length: CUTS - 2 }, (_, i) => Math.floor((whole * i) / (CUTS - 2)));
  return [...spread, whole - 600, whole - 60];
}

async function measure(act: () => Promise<string>, direction: Direction): Promise<number> {
  cutter.arm(direction, Number.POSITIVE_INFINITY);
  await act();
  cutter.disarm();
  return cutter.passed[direction];
}

const ledger = (): string[] => git(stargate.dir, "log", "--format=%s", "refs/kv/main").split("\n");

/** Locks, temporary files and quarantines, of both sides. */
const files = (): string[] =>
  [workspace.repo.gitDir, stargate.dir]
    .flatMap((root) => fs.readdirSync(root, { recursive: true }).map(String))
    .filter((name) => /\.lock$|tmp|incoming/.test(name));

/** Processes that serve a session of this sshd, or ask for one. */
function processes(): string[] {
  const lines: string[] = [];
  for (const pid of fs.readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name))) {
    try {
      const line = fs.readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ");
      if (line.includes(`shell --repo ${stargate.dir}`) || line.includes(`-p ${cutter.port} `)) lines.push(line);
    } catch {
      // It ended meanwhile.
    }
  }
  return lines;
}

/** Descriptors of this process, where the daemon runs too, but those of packs, which stay open. */
function descriptors(): number {
  return fs.readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return !fs.readlinkSync(`/proc/self/fd/${fd}`).includes("/objects/pack/");
    } catch {
      return false;
    }
  }).length;
}

/** What is open at rest: the sockets of a session that is over may take a moment to go. */
async function descriptorsAtRest(): Promise<number> {
  let fewest = descriptors();
  for (const end = Date.now() + 500; Date.now() < end; await Bun.sleep(20)) fewest = Math.min(fewest, descriptors());
  return fewest;
}

/** Waits until no more are open than `before`, but for two that the runtime may have opened for itself: a leak stays. */
async function descriptorsBack(before: number): Promise<void> {
  for (const end = Date.now() + 30_000; descriptors() > before + 2 && Date.now() < end; ) await Bun.sleep(20);
  expect(descriptors()).toBeLessThanOrEqual(before + 2);
}

async function settled(what: () => unknown, wanted: unknown): Promise<void> {
  for (const end = Date.now() + 30_000; JSON.stringify(what()) !== JSON.stringify(wanted); await Bun.sleep(20)) {
    if (Date.now() > end) break;
  }
  expect(what()).toEqual(wanted);
}

test.each([
  ["a push", "request"],
  ["a push", "answer"],
  ["a fetch", "request"],
  ["a fetch", "answer"],
] as const)("%s, cut within the %s", async (what, direction) => {
  const act = (name: string): Promise<string> => (what === "a push" ? set(name) : fetchNew());
  const whole = await measure(() => act(`${direction}-measured`), direction);
  await settled(processes, []);
  const before = await descriptorsAtRest();
  const outcomes = new Map<string, string | KvError>();
  for (const limit of limits(whole)) {
    const name = `${what}-${direction}-${limit}`.replaceAll(" ", "-");
    // For good: else the client would find out on a second connection what became of it.
    cutter.arm(direction, limit, true);
    outcomes.set(name, await act(name).catch((error: KvError) => error));
    cutter.disarm();
  }
  // Nobody waits for what does not come, and the daemon serves the others.
  await settled(processes, []);
  await direct.set({ after: `${what} ${direction}` });
  const subjects = ledger();
  let failed = 0;
  for (const [name, outcome] of outcomes) {
    const times = subjects.filter((subject) => subject === name).length;
    if (!(outcome instanceof KvError)) {
      expect(["committed", "fetched"]).toContain(outcome);
      if (what === "a push") expect([name, times]).toEqual([name, 1]);
      continue;
    }
    failed++;
    expect([name, outcome.code, outcome.exit]).toEqual([name, "NETWORK", 5]);
    expect(outcome.message).toContain(`127.0.0.1:${cutter.port}`);
    expect(times).toBeLessThanOrEqual(1);
  }
  expect(failed).toBeGreaterThan(3);
  await settled(files, []);
  await descriptorsBack(before);
  // And all is well afterwards.
  expect(await act(`${direction}-afterwards`)).toMatch(/committed|fetched/);
  expect(complaints(stargate.dir)).toBe("");
  expect(complaints(workspace.repo.gitDir)).toBe("");
});

test("git's own client, cut: the daemon serves the others, and nothing stays", async () => {
  const work = path.join(tempDir("work"), "w");
  const env = { GIT_SSH_COMMAND: sshd.command };
  const clone = (into: string): Promise<{ status: number }> =>
    tryGitAsync("/", ["clone", "-q", "--mirror", address, into], { env });
  cutter.arm("answer", Number.POSITIVE_INFINITY);
  expect((await clone(work)).status).toBe(0);
  const whole = cutter.passed.answer;
  const before = await descriptorsAtRest();
  for (const limit of limits(whole).slice(2, -1)) {
    cutter.arm("answer", limit, true);
    expect((await clone(`${work}-${limit}`)).status).not.toBe(0);
    cutter.disarm();
    expect(fs.existsSync(`${work}-${limit}`)).toBe(false);
  }
  await settled(processes, []);
  await direct.set({ after: "git" });
  expect(files()).toEqual([]);
  await descriptorsBack(before);
  expect((await clone(`${work}-again`)).status).toBe(0);
});
