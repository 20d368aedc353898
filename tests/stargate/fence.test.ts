/** A repository that is behind its mirror takes no writes: what closes it, who says so, what opens it again, and what does not close it. */

import { afterEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { describeStatus, type Status } from "../../src/kv/stargate-status.ts";
import { type SyncMode, type SyncReport, syncExit } from "../../src/kv/sync-report.ts";
import { makeBackup } from "../../src/stargate/backup/make-backup.ts";
import { openPlace } from "../../src/stargate/backup/place.ts";
import { restoreBackup } from "../../src/stargate/backup/restore-backup.ts";
import { initialize } from "../../src/stargate/initialize.ts";
import { git, tryGit } from "../support/git.ts";
import { policyPush, STARGATE_PROGRAM, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const ends: (() => unknown)[] = [];
afterEach(stopAll);

const around = { env: process.env, clock: systemClock, signal: new AbortController().signal, progress: () => {} };
const OPS = { name: "ops", scope: "admin", door: "stdio" } as const;

function newMirror(): string {
  const mirror = path.join(tempDir("host"), "mirror.git");
  git("/", "init", "-q", "--bare", "-b", "main", `--object-format=${TEST_FORMAT.name}`, mirror);
  return mirror;
}

async function serve(options: Parameters<typeof TestStargate.start>[0]) {
  const stargate = await TestStargate.start({ adminListen: "127.0.0.1:0", ...options });
  ends.push(() => stargate.stop());
  const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token()));
  const write = async (key: string, ns = "main") => verdict(await client.push(client.plan({ [key]: "1" }, ns)));
  return { stargate, client, write };
}

const refOf = (dir: string, ref: string): string =>
  tryGit(dir, ["rev-parse", "-q", "--verify", ref]).stdout.toString().trim();

async function until(isSo: () => unknown, what: string): Promise<void> {
  for (const end = Date.now() + 20_000; !(await isSo()); await Bun.sleep(10)) {
    if (Date.now() > end) throw new Error(`not within 20 s: ${what}`);
  }
}

function init(dir: string, catchUp: boolean) {
  const options = { mirrorUrl: undefined, pushUrl: undefined, adminKey: undefined, ns: "main", format: undefined };
  return initialize({ ...options, dir, catchUp, program: STARGATE_PROGRAM, env: process.env, clock: systemClock });
}

function sync(stargate: TestStargate, mode: SyncMode): Promise<SyncReport> {
  return stargate.daemon.registry.all()[0]!.mirror!.sync({ mode, ns: undefined }, OPS);
}

/** A commit on top of `ref` of the mirror that no Stargate made. */
function foreign(mirror: string, ref: string): string {
  const oid = git(mirror, "commit-tree", "-m", "foreign", "-p", ref, `${ref}^{tree}`);
  git(mirror, "update-ref", ref, oid);
  return oid;
}

/** The trail of `dir`: kind and namespace of each line that no ref of ours moved by, the oldest first. */
function notes(dir: string): string[] {
  const { stdout } = spawnSync(STARGATE_PROGRAM[0]!, [...STARGATE_PROGRAM.slice(1), "log", "--repo", dir, "--json"]);
  const lines = stdout.toString().trim().split("\n").reverse();
  const records = lines.map((line) => JSON.parse(line) as { result: string; kind: string; ns: string; who: string });
  return records.filter(({ result }) => result === "noted").map(({ kind, ns, who }) => `${kind} ${ns} ${who}`.trim());
}

/** A repository restored from a backup; its mirror has more of `main`, a namespace `late`, and the same of `staging`. */
async function restored() {
  const mirror = newMirror();
  const { stargate, client } = await serve({ mirror });
  await client.set({ a: "1" });
  await client.set({ b: "1" }, "staging");
  const place = openPlace(tempDir("backup"), "/", {});
  const repo = openRepository(stargate.dir);
  await makeBackup({ repo, place, full: false, ...around });
  repo.close();
  const planned = client.plan({ a: "2" });
  expect(verdict(await client.push(planned))).toBe("ok");
  const late = await client.set({ c: "1" }, "late");
  await until(() => refOf(mirror, "refs/kv-mirror/late") === late, "the mirror follows");
  expect(refOf(mirror, "refs/kv-mirror/main")).toBe(planned.ledger);
  await stargate.stop();
  const dir = path.join(tempDir("restored"), "kv.git");
  await restoreBackup({ place, dir, at: undefined, check: false, program: STARGATE_PROGRAM, ...around });
  return { mirror, dir, planned };
}

describe("a restored repository that is behind its mirror", () => {
  test("takes no writes of what the mirror has more of, says so wherever it is asked, and goes on after init --catch-up", async () => {
    const { mirror, dir } = await restored();
    const before = git(mirror, "for-each-ref");
    const { stargate, client, write } = await serve({ dir });
    // The very first push, while the mirror is looked at.
    expect(await write("fork")).toBe("DIVERGED");
    expect(client.said).toMatch(/transactions of 'main' that this repository has not.*\nhint: .*init --catch-up/);
    expect([await write("x", "late"), await write("x", "staging"), await write("x", "new")]).toEqual([
      "DIVERGED",
      "ok",
      "ok",
    ]);
    // A restart would not open it.
    expect((await fetch(`${stargate.opsUrl}/healthz`)).status).toBe(200);
    const ready = await fetch(`${stargate.opsUrl}/readyz?exclude=mirror`);
    expect([ready.status, await ready.text()]).toEqual([
      503,
      expect.stringMatching(/"writes".*no writes to 'main' are taken.*and 1 more/),
    ]);
    const metrics = await (await fetch(`${stargate.opsUrl}/metrics`)).text();
    expect(metrics).toContain('stargate_writes_refused{repo="kv.git"} 2');
    expect(metrics).toContain('stargate_health_ready{repo="kv.git"} 0');
    const page = await (await fetch(`${stargate.opsUrl}/api/status`)).json();
    const [status] = (page as { repositories: Status[] }).repositories;
    expect(status!.refused!.map(({ ns }) => ns).sort()).toEqual(["late", "main"]);
    const said = describeStatus(status!);
    expect(said.join("\n")).toMatch(/^no writes to 'main' since 20.*: the mirror has transactions/m);
    // What is said of each namespace's copy is no other word than that.
    const copies = status!.namespaces.map(({ ns, mirror: copy }) => `${ns} ${copy}`);
    expect(copies.filter((one) => !one.startsWith("staging"))).toEqual(["main diverged", "new current"]);
    expect(said.filter((line) => line.startsWith("namespace main:"))).toEqual([
      expect.stringMatching(/, mirror diverged$/),
    ]);
    expect(said.filter((line) => line.startsWith("namespace new:"))).toEqual([
      expect.stringMatching(/, mirror up to date$/),
    ]);
    // Reading goes on.
    const headers = { Authorization: `Bearer ${stargate.token("read")}` };
    expect((await fetch(`${stargate.url}/info/refs?service=git-upload-pack`, { headers })).status).toBe(200);
    await until(() => refOf(mirror, "refs/kv-mirror/new") !== "", "the others are mirrored");
    for (const line of before.split("\n").filter((one) => /\/(?:main|late)/.test(one)))
      expect(git(mirror, "for-each-ref")).toContain(line);
    await stargate.stop();

    expect(await init(dir, true)).toMatchObject({ caughtUp: [{ ns: "main", from: 2, to: 2 }], mirrorHasMore: false });
    const again = await serve({ dir });
    expect([await again.write("after"), await again.write("after", "late")]).toEqual(["ok", "ok"]);
    expect((await fetch(`${again.stargate.opsUrl}/readyz`)).status).toBe(200);
    expect(notes(dir)).toEqual(
      ["restore  local", "foreign main mirror", "foreign late mirror"].map((one) =>
        one.replace("local", process.env.USER ?? "local"),
      ),
    );
  }, 30_000);

  test("takes none at all while nobody can see the mirror, until that is seen or somebody decides otherwise", async () => {
    const { mirror, dir } = await restored();
    fs.renameSync(mirror, `${mirror}.away`);
    const { stargate, client, write } = await serve({ dir });
    expect([await write("x"), await write("x", "staging"), await write("x", "new")]).toEqual(Array(3).fill("DIVERGED"));
    expect(client.said).toContain("restored from a backup, and the mirror has not been seen since");
    const policy = policyPush(client, "version: 1\n");
    const admin = new TestClient(dir, stargate.loginUrl(stargate.token("admin")));
    expect(verdict(await admin.push(policy))).toBe("DIVERGED");
    expect((await fetch(`${stargate.opsUrl}/readyz`)).status).toBe(503);
    const { repositories } = (await (await fetch(`${stargate.opsUrl}/api/status`)).json()) as {
      repositories: Status[];
    };
    const lines = describeStatus(repositories[0]!).filter((line) => line.startsWith("namespace "));
    expect([lines.length, lines.filter((line) => !line.endsWith(", mirror unknown"))]).toEqual([2, []]);
    await expect(sync(stargate, "dry-run")).rejects.toThrow();
    const report = await sync(stargate, "fork");
    expect([report.refs, syncExit(report)]).toEqual([[], 0]);
    expect(await write("x", "staging")).toBe("ok");

    // It comes back and has more: that is another matter.
    fs.renameSync(`${mirror}.away`, mirror);
    await stargate.daemon.reload();
    await stargate.logged(({ component, ns }) => component === "fence" && ns === "main");
    expect([await write("y"), await write("y", "staging")]).toEqual(["DIVERGED", "ok"]);
    await stargate.stop();
    expect(notes(dir).slice(1)).toEqual(["fork  ops", "foreign main mirror", "foreign late mirror"]);
  }, 30_000);

  test("a push without a daemon is refused too", async () => {
    const { dir } = await restored();
    const command = STARGATE_PROGRAM.map((word) => `'${word}'`).join(" ");
    const env = {
      GIT_SSH_COMMAND: `f() { shift $(($# - 1)); SSH_ORIGINAL_COMMAND="$1" ${command} shell --repo '${dir}' --user alice; }; f`,
    };
    const client = new TestClient(dir, `ssh://git@host.test${dir}`, env);
    expect(verdict(await client.push(client.plan({ x: "1" })))).toBe("DIVERGED");
  });

  test("whoever asks for what was accepted is answered", async () => {
    const mirror = newMirror();
    const { stargate, client, write } = await serve({ mirror });
    const planned = client.plan({ a: "1" });
    expect(verdict(await client.push(planned))).toBe("ok");
    await until(() => refOf(mirror, "refs/kv-mirror/main") === planned.ledger, "the mirror follows");
    foreign(mirror, "refs/kv/main");
    await sync(stargate, "dry-run");
    expect(await write("b")).toBe("DIVERGED");
    expect(verdict(await client.push(planned))).toBe("ok");
  });
});

async function stopAll(): Promise<void> {
  for (const end of ends.splice(0).reverse()) await end();
}

describe("a daemon whose mirror is ahead for another reason", () => {
  test("a copy from before: the first write waits for a slow mirror, and is refused", async () => {
    const mirror = newMirror();
    const { stargate, client } = await serve({ mirror });
    await client.set({ a: "1" });
    await stopAll();
    const copy = path.join(tempDir("copy"), "kv.git");
    fs.cpSync(stargate.dir, copy, { recursive: true });
    const first = await serve({ dir: stargate.dir });
    const oid = await first.client.set({ a: "2" });
    await until(() => refOf(mirror, "refs/kv-mirror/main") === oid, "the mirror follows");
    await stopAll();
    const slow = path.join(tempDir("slow"), "upload-pack");
    fs.writeFileSync(slow, '#!/bin/sh\nsleep 1\nexec git-upload-pack "$@"\n', { mode: 0o755 });
    git(copy, "config", "remote.mirror.uploadpack", slow);
    const second = await serve({ dir: copy });
    expect(await second.write("fork")).toBe("DIVERGED");
    expect(notes(copy)).toEqual(["foreign main mirror"]);
  }, 30_000);

  test("two Stargates by mistake: the one that finds out stops, over a restart with the mirror away too", async () => {
    const mirror = newMirror();
    const first = await serve({ mirror });
    await first.client.set({ a: "1" });
    await stopAll();
    const copy = path.join(tempDir("copy"), "kv.git");
    fs.cpSync(first.stargate.dir, copy, { recursive: true });
    const [one, two] = [await serve({ dir: first.stargate.dir }), await serve({ dir: copy })];
    const oid = await one.client.set({ a: "2" });
    await until(() => refOf(mirror, "refs/kv-mirror/main") === oid, "the first one's");
    // It has not looked since: this one is let in, and its push to the mirror finds out.
    expect(await two.write("b")).toBe("ok");
    await until(async () => (await two.write("c")) === "DIVERGED", "the second one stops");
    expect(refOf(mirror, "refs/kv/main")).toBe(oid);
    expect(await one.write("d")).toBe("ok");
    await stopAll();
    fs.renameSync(mirror, `${mirror}.away`);
    expect(await (await serve({ dir: copy })).write("e")).toBe("DIVERGED");
    expect(await (await serve({ dir: first.stargate.dir })).write("e")).toBe("ok");
  }, 30_000);

  test("somebody decides: --fork until the mirror has something else, --force for good; the trail has both", async () => {
    const mirror = newMirror();
    const { stargate, client, write } = await serve({ mirror });
    const tip = await client.set({ a: "1" });
    await until(() => refOf(mirror, "refs/kv-mirror/main") === tip, "the mirror follows");
    foreign(mirror, "refs/kv/main");
    expect((await sync(stargate, "dry-run")).refs.some(({ standing }) => standing === "ahead")).toBe(true);
    expect(await write("b")).toBe("DIVERGED");
    await sync(stargate, "fork");
    expect(await write("b")).toBe("ok");
    foreign(mirror, "refs/kv/main");
    await sync(stargate, "repair");
    expect(await write("c")).toBe("DIVERGED");
    expect(syncExit(await sync(stargate, "force"))).toBe(0);
    expect(await write("c")).toBe("ok");
    await until(() => refOf(mirror, "refs/kv-mirror/main") === refOf(stargate.dir, "refs/kv/main"), "in order again");
    await stargate.stop();
    const expected = ["foreign main mirror", "fork main ops", "foreign main mirror", "force main ops"];
    expect(notes(stargate.dir)).toEqual(expected);
  }, 30_000);

  test("the mirror is put right by its own people: writes go on by themselves", async () => {
    const mirror = newMirror();
    const { stargate, client, write } = await serve({ mirror });
    const tip = await client.set({ a: "1" });
    await until(() => refOf(mirror, "refs/kv-mirror/main") === tip, "the mirror follows");
    foreign(mirror, "refs/kv/main");
    await sync(stargate, "dry-run");
    expect(await write("b")).toBe("DIVERGED");
    // The worker goes by what it knew of the mirror before, for the others: that opens nothing.
    expect(await write("x", "other")).toBe("ok");
    await until(() => refOf(mirror, "refs/kv-mirror/other") !== "", "the other namespace");
    expect(await write("b")).toBe("DIVERGED");
    git(mirror, "update-ref", "refs/kv/main", tip);
    await sync(stargate, "dry-run");
    expect(await write("b")).toBe("ok");
  });

  test("a policy that is not here closes every namespace", async () => {
    const mirror = newMirror();
    const { stargate, client, write } = await serve({ mirror });
    await client.set({ a: "1" });
    await until(() => refOf(mirror, "refs/kv-policy/current") !== "", "the policy");
    foreign(mirror, "refs/kv-policy/current");
    await sync(stargate, "dry-run");
    expect([await write("b"), await write("b", "other")]).toEqual(["DIVERGED", "DIVERGED"]);
    expect(client.said).toContain("a policy that this repository has not");
  });

  test("no mirror, no fence: whoever takes it away has decided", async () => {
    const mirror = newMirror();
    const { stargate, client, write } = await serve({ mirror });
    const tip = await client.set({ a: "1" });
    await until(() => refOf(mirror, "refs/kv-mirror/main") === tip, "the mirror follows");
    foreign(mirror, "refs/kv/main");
    await sync(stargate, "dry-run");
    expect(await write("b")).toBe("DIVERGED");
    git(stargate.dir, "config", "--unset", "remote.mirror.url");
    await stargate.daemon.reload();
    expect(await write("b")).toBe("ok");
    expect((await fetch(`${stargate.opsUrl}/readyz`)).status).toBe(200);
  });
});

describe("what does not close it", () => {
  test("a mirror that cannot be reached at the start is not waited for", async () => {
    const mirror = newMirror();
    const { stargate } = await serve({ mirror });
    await stopAll();
    fs.renameSync(mirror, `${mirror}.away`);
    const { write } = await serve({ dir: stargate.dir });
    const started = performance.now();
    expect(await write("a")).toBe("ok");
    expect(performance.now() - started).toBeLessThan(4_000);
  });

  test("one that takes the connection and says nothing is waited for once, for five seconds", async () => {
    const { stargate } = await serve({ mirror: newMirror() });
    await stopAll();
    const silent = net.createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    ends.push(() => silent.close());
    const { port } = silent.address() as net.AddressInfo;
    git(stargate.dir, "config", "remote.mirror.url", `git://127.0.0.1:${port}/mirror.git`);
    const { write } = await serve({ dir: stargate.dir });
    const started = performance.now();
    expect(await write("a")).toBe("ok");
    const first = performance.now() - started;
    expect(first).toBeGreaterThan(3_000);
    expect(first).toBeLessThan(15_000);
    const second = performance.now();
    expect(await write("b")).toBe("ok");
    expect(performance.now() - second).toBeLessThan(4_000);
  }, 30_000);

  test("commits on the published branch, pieces and watermarks of somebody else", async () => {
    const mirror = newMirror();
    const { stargate, client, write } = await serve({ mirror });
    const admin = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("admin")));
    const policy = "version: 1\nmirror: { publish_branch: true }\n";
    expect(verdict(await admin.push(policyPush(admin, policy)))).toBe("ok");
    const tip = await client.set({ a: "1" });
    await until(() => refOf(mirror, "refs/heads/kv/main") === tip, "the branch");
    foreign(mirror, "refs/heads/kv/main");
    git(mirror, "update-ref", "refs/kv-chunks/main@e1", refOf(mirror, "refs/heads/kv/main"));
    git(mirror, "update-ref", "refs/kv-mirror/main", refOf(mirror, "refs/heads/kv/main"));
    await sync(stargate, "dry-run");
    expect(await write("b")).toBe("ok");
  });
});
