/** Waiting for the mirror: what it is sure of, how kindly it asks, when it gives up; and which writes wait. */

import { afterEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../src/errors.ts";
import { waitsByDefault } from "../../src/kv/mirror-ack.ts";
import { parseReadFrom, stateFrom } from "../../src/kv/read-from.ts";
import { Pauses } from "../../src/kv/ref-poller.ts";
import { requireMirror, waitForMirror } from "../../src/kv/wait.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import { Cutter } from "../support/cutter.ts";
import { git, gitInput, tryGit } from "../support/git.ts";
import { startGitDaemon } from "../support/git-daemon.ts";
import { type HttpBackend, startHttpBackend } from "../support/http-backend.ts";
import { policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { workspaceAt } from "../support/workspace.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Clocks that a test winds do not pass by themselves; a wait needs one that does. */
const passing = () => ({
  now: () => Date.now(),
  random: (n: number) => new Uint8Array(n).fill(128),
  utcOffset: () => 0,
});

interface World {
  readonly mirror: string;
  readonly backend: HttpBackend;
  readonly front: Cutter;
  readonly stargate: TestStargate;
  readonly client: TestClient;
  readonly workspace: Workspace;
}

/** A Stargate whose mirror is served by the real git, and a clone that reads from there. */
async function world(): Promise<World> {
  const mirror = path.join(tempDir("host"), "mirror.git");
  git("/", "init", "-q", "--bare", "-b", "main", mirror);
  git(mirror, "config", "http.receivepack", "true");
  const backend = startHttpBackend(path.dirname(mirror));
  ends.push(() => backend.stop());
  const front = await Cutter.start(backend.port);
  ends.push(() => front.stop());
  const stargate = await TestStargate.start({ mirror: `${backend.url}/mirror.git` });
  ends.push(() => stargate.stop());
  const dir = path.join(tempDir("clone"), "c");
  git("/", "init", "-q", dir);
  git(dir, "remote", "add", "origin", `http://127.0.0.1:${front.port}/mirror.git`);
  git(dir, "config", "remote.origin.pushurl", stargate.loginUrl(stargate.token()));
  git(dir, "config", "--add", "remote.origin.fetch", "+refs/kv/*:refs/kv-remotes/origin/kv/*");
  const workspace = workspaceAt(dir, { clock: passing() });
  const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token()));
  return { mirror, backend, front, stargate, client, workspace };
}

function block(mirror: string): () => void {
  const hook = path.join(mirror, "hooks/pre-receive");
  // Nothing for good: the worker tries again soon.
  fs.writeFileSync(hook, "#!/bin/sh\nkill -9 $PPID\n", { mode: 0o755 });
  return () => fs.rmSync(hook);
}

async function errorOf(action: Promise<unknown>): Promise<KvError> {
  const error = await action.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof KvError) return error;
  throw new Error(`no error of ours: ${error}`);
}

describe("wait", () => {
  test("ends when the commit, or one after it, is there; polls over one connection with growing pauses", async () => {
    const { mirror, backend, front, client, workspace } = await world();
    const first = await client.set({ a: "1" });
    await waitForMirror(workspace, first, 30_000);
    expect(tryGit(mirror, ["rev-parse", "-q", "--verify", "refs/kv-mirror/main"]).stdout.toString().trim()).toBe(first);
    const free = block(mirror);
    const second = await client.set({ b: "1" });
    const [connections, requests] = [front.connections, backend.requests.length];
    const polls = (): number =>
      backend.requests.slice(requests).filter(({ target, headers }) => {
        return target.endsWith("git-upload-pack") && headers.get("host")?.endsWith(String(front.port));
      }).length;
    const error = await errorOf(waitForMirror(workspace, second, 2_500));
    expect(error).toMatchObject({ code: "MIRROR_TIMEOUT", exit: 10 });
    // A machine that is busy may cut the last look short, and says so.
    expect(error.message).toStartWith(`${second} is not on the mirror after 2.5 s`);
    // Pauses of 0.1 s and half as much again each time: eight looks at the most, and three requests of the fetch after the first.
    expect(polls()).toBeGreaterThanOrEqual(2);
    expect(polls()).toBeLessThanOrEqual(12);
    expect(front.connections - connections).toBeLessThanOrEqual(1);
    free();
    const third = await client.set({ c: "1" });
    await waitForMirror(workspace, second, 90_000);
    expect([second, third]).toContain(git(mirror, "rev-parse", "refs/kv-mirror/main"));
  }, 120_000);

  test("sees what becomes of a mirror after the first look, over connections of stock git that show their refs once", async () => {
    const { mirror, client, workspace } = await world();
    const daemon = await startGitDaemon(path.dirname(mirror));
    ends.push(() => daemon.stop());
    const first = await client.set({ a: "1" });
    await waitForMirror(workspace, first, 30_000);
    const tips = ["refs/kv/main", "refs/kv-index/main", "refs/kv-mirror/main"];
    const before = tips.map((ref) => `update ${ref} ${git(mirror, "rev-parse", ref)}\n`).join("");
    const second = await client.set({ b: "1" });
    await waitForMirror(workspace, second, 30_000);
    const after = tips.map((ref) => `update ${ref} ${git(mirror, "rev-parse", ref)}\n`).join("");
    const move = (text: string): void => void gitInput(mirror, text, "update-ref", "--stdin");
    for (const address of [`git://127.0.0.1:${daemon.port}/mirror.git`, mirror]) {
      git(workspace.repo.gitDir, "config", "remote.origin.url", address);
      const reader = workspaceAt(workspace.repo.gitDir, { clock: passing() });
      move(before);
      const waiting = waitForMirror(reader, second, 20_000);
      await Bun.sleep(700);
      move(after);
      await waiting;
    }
  }, 60_000);

  test("a mirror that is away, or says nothing, ends no sooner and no later than the time given", async () => {
    const { front, client, workspace, backend } = await world();
    const tip = await client.set({ a: "1" });
    await waitForMirror(workspace, tip, 30_000);
    backend.stop();
    const gone = await errorOf(waitForMirror(workspace, "1".repeat(40), 300));
    expect(gone.code).toBe("MIRROR_TIMEOUT");
    expect(gone.message).toContain(`(last try: `);
    front.stop();
    const silent = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Promise<Response>(() => {}) });
    ends.push(() => silent.stop(true));
    git(workspace.repo.gitDir, "config", "remote.origin.url", `http://127.0.0.1:${silent.port}/mirror.git`);
    const other = workspaceAt(workspace.repo.gitDir, { clock: passing() });
    const error = await errorOf(waitForMirror(other, tip, 300));
    expect(error.message).toContain("the mirror gave no answer");
  }, 60_000);

  test("where reads come from the Stargate itself, it tells what its mirror has", async () => {
    const { mirror, stargate, client } = await world();
    const dir = path.join(tempDir("clone"), "c");
    git("/", "init", "-q", dir);
    git(dir, "remote", "add", "origin", stargate.loginUrl(stargate.token()));
    git(dir, "config", "remote.origin.pushurl", stargate.loginUrl(stargate.token()));
    git(dir, "config", "--add", "remote.origin.fetch", "+refs/kv/*:refs/kv-remotes/origin/kv/*");
    const workspace = workspaceAt(dir, { clock: passing() });
    await requireMirror(workspace);
    const first = await client.set({ a: "1" });
    await waitForMirror(workspace, first, 30_000);
    expect(git(mirror, "rev-parse", "refs/kv-mirror/main")).toBe(first);
    const free = block(mirror);
    const second = await client.set({ b: "1" });
    expect(await errorOf(waitForMirror(workspace, second, 300))).toMatchObject({ code: "MIRROR_TIMEOUT" });
    await waitForMirror(workspace, first, 30_000);
    free();
    await waitForMirror(workspace, second, 90_000);
    expect(git(mirror, "rev-parse", "refs/kv-mirror/main")).toBe(second);

    const alone = await TestStargate.start();
    ends.push(() => alone.stop());
    git(dir, "config", "remote.origin.url", alone.loginUrl(alone.token()));
    git(dir, "config", "remote.origin.pushurl", alone.loginUrl(alone.token()));
    const other = workspaceAt(dir, { clock: passing() });
    for (const ask of [() => waitForMirror(other, second, 30_000), () => requireMirror(other)]) {
      expect(await errorOf(ask())).toMatchObject({
        code: "CONFIG",
        message: expect.stringContaining("has no mirror"),
      });
    }
    expect((await errorOf(requireMirror(other))).hint).toEndWith(": write with --no-wait");
    // Who cannot be asked now is asked by the write itself.
    await alone.stop();
    await requireMirror(workspaceAt(dir));
  }, 120_000);

  test("pauses grow to the longest, and begin anew where something happens", () => {
    const pauses = new Pauses(100, 5_000, () => 0.5);
    const first = Array.from({ length: 14 }, () => pauses.next());
    expect(first[0]).toBe(100);
    expect(first).toEqual([...first].sort((a, b) => a - b));
    expect(first.at(-1)).toBe(5_000);
    pauses.restart();
    expect(pauses.next()).toBe(100);
    const jittered = new Pauses(100, 5_000, () => 1);
    expect(jittered.next()).toBe(125);
  });
});

describe("which writes wait by themselves", () => {
  test("those under a policy that says so, where a Stargate decides", async () => {
    const { stargate, workspace } = await world();
    const admin = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("admin")));
    const withPolicy = async (text: string): Promise<boolean> => {
      expect(verdict(await admin.push(policyPush(admin, text)))).toBe("ok");
      await stateFrom(workspace, "stargate").catch(() => {});
      return waitsByDefault(workspace);
    };
    expect(await waitsByDefault(workspace)).toBe(false);
    expect(await withPolicy("version: 1\nstargate: { require_mirror_ack_by_default: true }\n")).toBe(true);
    expect(await withPolicy("version: 1\nstargate: { require_mirror_ack_by_default: false }\n")).toBe(false);
    expect(await withPolicy("# require_mirror_ack_by_default: yes, perhaps\nversion: 1\n")).toBe(false);
    const local = path.join(tempDir("local"), "c");
    git("/", "init", "-q", local);
    expect(await waitsByDefault(workspaceAt(local))).toBe(false);
  }, 60_000);
});

describe("which copy is read", () => {
  test("the Stargate shows what the mirror does not have yet; github is another word for the mirror", async () => {
    const { mirror, client, workspace } = await world();
    const first = await client.set({ a: "1" });
    await waitForMirror(workspace, first, 30_000);
    block(mirror);
    const second = await client.set({ a: "2" });
    expect(parseReadFrom("github")).toBe("mirror");
    expect((await stateFrom(workspace, "mirror")).ledger.oid).toBe(first);
    expect((await stateFrom(workspace, "local")).ledger.oid).toBe(first);
    expect((await stateFrom(workspace, "stargate")).ledger.oid).toBe(second);
    expect((await stateFrom(workspace, "local")).ledger.oid).toBe(second);
    expect((await stateFrom(workspace, "mirror")).ledger.oid).toBe(first);
    expect(() => parseReadFrom("moon")).toThrow("none of local, mirror and stargate");
  }, 60_000);
});
