/** The mirror: kept up to date by states, never forced; branches relayed with the host's own answers. */

import { afterEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { KvError } from "../../src/errors.ts";
import type { PushResult } from "../../src/gitwire/protocol/send-pack.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { Gate } from "../../src/stargate/gate.ts";
import { initialize } from "../../src/stargate/initialize.ts";
import { silentLog } from "../../src/stargate/log.ts";
import { planMirror } from "../../src/stargate/mirror/mirror-plan.ts";
import { MirrorRemote } from "../../src/stargate/mirror/mirror-remote.ts";
import { MirrorWorker } from "../../src/stargate/mirror/mirror-worker.ts";
import { backoff, TokenBucket } from "../../src/stargate/mirror/pace.ts";
import { isPermanent, refusalOf } from "../../src/stargate/mirror/refusal.ts";
import { systemTimers, type WorkerTimers } from "../../src/stargate/mirror/timers.ts";
import { loadSettings } from "../../src/stargate/settings.ts";
import { fsck, git, tryGit } from "../support/git.ts";
import { gitAsync, tryGitAsync } from "../support/git-async.ts";
import { type HttpBackend, startHttpBackend } from "../support/http-backend.ts";
import { noise } from "../support/noise.ts";
import { large, policyPush, STARGATE_PROGRAM, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const running: TestStargate[] = [];
const backends: HttpBackend[] = [];

afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
  for (const one of backends.splice(0)) one.stop();
});

/** An empty bare repository that stands for the host. */
function host(): string {
  const dir = path.join(tempDir("host"), "mirror.git");
  fs.mkdirSync(dir);
  git(dir, "init", "-q", "--bare", "-b", "main");
  git(dir, "config", "http.receivepack", "true");
  return dir;
}

async function start(mirror: string, dir?: string): Promise<{ stargate: TestStargate; client: TestClient }> {
  const stargate = await TestStargate.start({ mirror, ...(dir !== undefined && { dir }) });
  running.push(stargate);
  return { stargate, client: new TestClient(stargate.dir, stargate.loginUrl(stargate.token())) };
}

async function until(holds: () => boolean, what: string, ms = 5_000): Promise<void> {
  for (const end = Date.now() + ms; !holds(); await Bun.sleep(10)) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
  }
}

const refOf = (dir: string, ref: string): string =>
  tryGit(dir, ["rev-parse", "-q", "--verify", ref]).stdout.toString().trim();

describe("pace", () => {
  test("a burst at once, then one an interval; unused ones do not pile up beyond the burst", () => {
    const bucket = new TokenBucket({ burst: 3, interval: 1_000 }, 0);
    expect([bucket.take(0), bucket.take(0), bucket.take(0)]).toEqual([0, 0, 0]);
    expect(bucket.take(0)).toBe(1_000);
    expect(bucket.take(400)).toBe(600);
    expect(bucket.take(1_000)).toBe(0);
    expect(bucket.take(1_001)).toBe(999);
    expect([bucket.take(99_000), bucket.take(99_000), bucket.take(99_000)]).toEqual([0, 0, 0]);
    expect(bucket.take(99_000)).toBeGreaterThan(0);
    expect(new TokenBucket({ burst: 1, interval: 0 }, 0).take(0)).toBe(0);
  });

  test("waits grow, up to a minute, and are never nothing", () => {
    expect(backoff(1, 0.999)).toBeLessThan(1_000);
    expect(backoff(1, 0)).toBe(500);
    expect(backoff(5, 0.999)).toBeGreaterThan(10_000);
    expect(backoff(5_000, 0.999_999)).toBeLessThanOrEqual(60_000);
    expect(backoff(20, 0.5)).toBe(30_000);
  });
});

describe("refusals", () => {
  const result = (unpack: string, refs: Record<string, string>): PushResult => ({
    unpack,
    advertised: undefined,
    refs: new Map(
      Object.entries(refs).map(([ref, reason]) => [ref, reason === "ok" ? { ok: true } : { ok: false, reason }]),
    ),
  });

  test("name the ref to blame, and say whether to try again", () => {
    expect(refusalOf(result("ok", { a: "ok" }))).toBeUndefined();
    const hook = refusalOf(result("ok", { a: "atomic push failure", b: "pre-receive hook declined" }))!;
    expect(hook.message).toBe("the mirror refused the push: b: pre-receive hook declined");
    expect(isPermanent(hook)).toBe(true);
    expect(isPermanent(refusalOf(result("ok", { b: "push declined due to repository rule violations" }))!)).toBe(true);
    expect(isPermanent(refusalOf(result("ok", { b: "failed to update ref" }))!)).toBe(false);
    expect(isPermanent(refusalOf(result("index-pack abnormal exit", { b: "unpacker error" }))!)).toBe(false);
  });

  test("errors of the connection pass, those of access do not", () => {
    for (const code of ["NETWORK", "BUSY", "STORAGE"] as const) expect(isPermanent(new KvError(code, "x"))).toBe(false);
    for (const code of ["UNAUTHENTICATED", "FORBIDDEN", "NOT_A_REPOSITORY"] as const)
      expect(isPermanent(new KvError(code, "x"))).toBe(true);
    expect(isPermanent(new KvError("UNSUPPORTED", "does not offer 'atomic'"))).toBe(true);
  });
});

describe("plan", () => {
  const zeroOid = "0".repeat(TEST_FORMAT.hexSize);
  // Ids are numbers here; a smaller one is an ancestor of a larger one.
  const plan = (
    local: Record<string, string>,
    remote: Record<string, string>,
    publishBranch = false,
  ): ReturnType<typeof planMirror> =>
    planMirror({
      local: new Map(Object.entries(local)),
      remote: new Map(Object.entries(remote)),
      publishBranch,
      zeroOid,
      isAncestor: async (a, b) => Number(a) < Number(b),
    });

  test("everything in one push, with the watermark", async () => {
    const { lanes } = await plan({ "refs/kv/a": "2", "refs/kv-index/a": "3", "refs/kv-policy/current": "9" }, {}, true);
    expect(
      lanes
        .flatMap(({ commands }) => commands)
        .map(({ ref, oldOid, newOid }) => `${ref} ${oldOid === zeroOid ? "-" : oldOid} ${newOid}`),
    ).toEqual([
      "refs/kv/a - 2",
      "refs/kv-index/a - 3",
      "refs/heads/kv/a - 2",
      "refs/kv-mirror/a - 2",
      "refs/kv-policy/current - 9",
    ]);
    expect(lanes.map(({ ns, tip }) => [ns, tip])).toEqual([
      ["a", "2"],
      ["", "9"],
    ]);
  });

  test("only what is behind; what has diverged is left alone, with all of its namespace", async () => {
    const local = { "refs/kv/a": "5", "refs/kv-index/a": "5", "refs/kv/b": "5", "refs/kv-index/b": "5" };
    const remote = {
      "refs/kv/a": "3",
      "refs/kv-index/a": "5",
      "refs/kv-mirror/a": "3",
      "refs/kv/b": "7",
      "refs/kv/extra": "1",
    };
    const { lanes, diverged } = await plan(local, remote);
    expect(lanes.map(({ ns }) => ns)).toEqual(["a"]);
    const moves = lanes[0]!.commands.map(({ ref, oldOid }) => `${ref} ${oldOid}`);
    expect(moves).toEqual(["refs/kv/a 3", "refs/kv-mirror/a 3"]);
    expect(diverged).toEqual(["b"]);
  });

  test("a new epoch follows what is in the archives, for each ref in those of its kind, and nothing else", async () => {
    // Even and odd numbers are histories of their own; the new epoch's ledger is even.
    const isAncestor = async (a: string, b: string): Promise<boolean> =>
      Number(a) % 2 === Number(b) % 2 && Number(a) < Number(b);
    const local = {
      ...{ "refs/kv/a": "12", "refs/kv-index/a": "22", "refs/kv-epoch/a": "10", "refs/kv-chunks/a@e1": "30" },
      ...{ "refs/kv-archive/a@e1": "7", "refs/kv-index-archive/a@e1": "9" },
    };
    const behind = { "refs/kv/a": "5", "refs/kv-index/a": "9", "refs/heads/kv/a": "7", "refs/kv-mirror/a": "5" };
    const look = (remote: Record<string, string>): ReturnType<typeof planMirror> =>
      planMirror({
        ...{ local: new Map(Object.entries(local)), remote: new Map(Object.entries(remote)) },
        ...{ publishBranch: true, zeroOid, isAncestor },
      });
    const { lanes, diverged } = await look(behind);
    expect(diverged).toEqual([]);
    expect(lanes[0]!.commands.map(({ ref, oldOid, newOid }) => `${ref} ${Number(oldOid)} ${newOid}`)).toEqual([
      ...["refs/kv/a 5 12", "refs/kv-index/a 9 22", "refs/kv-epoch/a 0 10", "refs/kv-chunks/a@e1 0 30"],
      ...[
        "refs/kv-archive/a@e1 0 7",
        "refs/kv-index-archive/a@e1 0 9",
        "refs/heads/kv/a 7 12",
        "refs/kv-mirror/a 5 12",
      ],
    ]);
    // Beyond the archive, or in that of the other kind, or another archive.
    expect((await look({ ...behind, "refs/kv/a": "11" })).diverged).toEqual(["a"]);
    expect((await look({ ...behind, "refs/kv-index/a": "11" })).diverged).toEqual(["a"]);
    expect((await look({ ...behind, "refs/kv/a": "9" })).diverged).toEqual(["a"]);
    expect((await look({ ...behind, "refs/kv-archive/a@e1": "6" })).diverged).toEqual(["a"]);
    expect((await look({ ...behind, "refs/kv-chunks/a@e1": "29" })).diverged).toEqual(["a"]);
  });

  test("refs of a clone, watermarks of another and halves of a namespace are not mirrored", async () => {
    const { lanes } = await plan(
      { "refs/kv-remotes/origin/kv/a": "1", "refs/kv-mirror/a": "1", "refs/kv-index/z": "1" },
      {},
    );
    expect(lanes).toEqual([]);
  });
});

describe("mirroring", () => {
  test("brings every accepted state to the mirror, watermark included", async () => {
    const mirror = host();
    const { stargate, client } = await start(mirror);
    expect(refOf(mirror, "refs/heads/main")).toBe(refOf(stargate.dir, "refs/heads/main"));
    const first = await client.set({ a: "1" });
    await until(() => refOf(mirror, "refs/kv-mirror/main") === first, "the first transaction");
    const second = await client.set({ b: "1" });
    await client.set({ x: "1" }, "other");
    await until(
      () => refOf(mirror, "refs/kv-mirror/main") === second && refOf(mirror, "refs/kv/other") !== "",
      "the others",
    );
    for (const ref of ["refs/kv/main", "refs/kv-index/main", "refs/kv-policy/current"]) {
      expect(refOf(mirror, ref)).toBe(refOf(stargate.dir, ref));
    }
    expect(fsck(mirror)).toBe("");
    await until(() => stargate.daemon.registry.all()[0]?.mirror?.report().state === "idle", "idle");
    expect(stargate.daemon.registry.all()[0]?.gate.journal.backlog("main").count).toBe(0);
  });

  test("works over HTTP through the real git, and survives its absence", async () => {
    const mirror = host();
    let isDown = false;
    const backend = startHttpBackend(path.dirname(mirror), {
      intercept: () => (isDown ? new Response("busy", { status: 503 }) : undefined),
    });
    backends.push(backend);
    const { stargate, client } = await start(`${backend.url}/mirror.git`);
    const first = await client.set({ a: "1" });
    await until(() => refOf(mirror, "refs/kv-mirror/main") === first, "the first");
    isDown = true;
    const second = await client.set({ b: "1" });
    await stargate.logged((line) => line.component === "mirror" && line.code === "BUSY");
    expect(refOf(mirror, "refs/kv/main")).toBe(first);
    isDown = false;
    await until(() => refOf(mirror, "refs/kv-mirror/main") === second, "the second", 10_000);
  }, 20_000);

  test("publishes the ledger as a branch where the policy says so, and keeps that branch to itself", async () => {
    const mirror = host();
    const first = await start(mirror);
    await first.client.set({ a: "1" });
    const admin = new TestClient(first.stargate.dir, first.stargate.loginUrl(first.stargate.token("admin")));
    const policy = policyPush(admin, "version: 1\nmirror: { publish_branch: true }\n");
    expect(verdict(await admin.push(policy))).toBe("ok");
    const ledger = await first.client.set({ b: "1" });
    await until(() => refOf(mirror, "refs/heads/kv/main") === ledger, "the branch");
    expect(refOf(first.stargate.dir, "refs/heads/kv/main")).toBe("");
    const branch = { ref: "refs/heads/kv/main", oldOid: first.client.repo.format.zeroOid, newOid: ledger };
    expect(verdict(await first.client.push({ commands: [branch] }))).toBe("REF_FORBIDDEN");
  });

  test("a mirror with commits of its own is not touched, and is said to have diverged", async () => {
    const mirror = host();
    const { stargate, client } = await start(mirror);
    const first = await client.set({ a: "1" });
    await until(() => refOf(mirror, "refs/kv-mirror/main") === first, "the first");
    await stargate.stop();
    running.length = 0;
    const foreign = git(mirror, "commit-tree", "-m", "foreign", "-p", first, `${first}^{tree}`);
    git(mirror, "update-ref", "refs/kv/main", foreign);
    const again = await TestStargate.start({ dir: stargate.dir });
    running.push(again);
    const late = new TestClient(again.dir, again.loginUrl(again.token()));
    expect(verdict(await late.push(late.plan({ b: "1" })))).toBe("DIVERGED");
    const report = (): ReturnType<NonNullable<ReturnType<typeof link>>["report"]> => link(again)!.report();
    await until(() => report().state === "diverged", "diverged");
    expect(report().diverged).toEqual(["main"]);
    expect(refOf(mirror, "refs/kv/main")).toBe(foreign);
    expect(refOf(mirror, "refs/kv-mirror/main")).toBe(first);
  });

  const link = (stargate: TestStargate) => stargate.daemon.registry.all()[0]?.mirror;

  test("a large value is there with its pieces, in the same push; a new Stargate takes them up", async () => {
    const mirror = host();
    const { stargate, client } = await start(`${serve(mirror).url}/mirror.git`);
    const tip = await client.set({ big: large(noise("mirror", 1_500_000)) });
    await until(() => refOf(mirror, "refs/kv-mirror/main") === tip, "the large value");
    const chunks = refOf(stargate.dir, "refs/kv-chunks/main@e1");
    expect(chunks).not.toBe("");
    expect(refOf(mirror, "refs/kv-chunks/main@e1")).toBe(chunks);
    expect(fsck(mirror)).toBe("");
    const headers = { Authorization: `Bearer ${stargate.token("read")}` };
    const status = await (await fetch(`${stargate.url}/kv/status`, { headers })).json();
    expect(status).toMatchObject({ namespaces: [{ ns: "main", ledger: tip, chunks }] });
    const { stargate: second } = await start(`${serve(mirror).url}/mirror.git`);
    expect(refOf(second.dir, "refs/kv-chunks/main@e1")).toBe(chunks);
    expect(fsck(second.dir)).toBe("");
  });

  test("a refusal for good is parked with the host's text, and nothing is half there", async () => {
    const mirror = host();
    const { stargate, client } = await start(`${serve(mirror).url}/mirror.git`);
    await until(() => refOf(mirror, "refs/kv-policy/current") !== "", "the policy");
    fs.writeFileSync(path.join(mirror, "hooks/pre-receive"), "#!/bin/sh\necho 'secret found' >&2\nexit 1\n", {
      mode: 0o755,
    });
    await client.set({ a: "1" });
    await until(() => link(stargate)?.report().state === "blocked", "blocked");
    expect(link(stargate)?.report().error).toContain("pre-receive hook declined");
    expect(refOf(mirror, "refs/kv/main")).toBe("");
    const status = (await (
      await fetch(`${stargate.url}/kv/status`, { headers: { Authorization: `Bearer ${stargate.token("read")}` } })
    ).json()) as {
      namespaces: { backlog: number }[];
    };
    expect(status.namespaces[0]?.backlog).toBe(1);
  });

  function serve(mirror: string): HttpBackend {
    const backend = startHttpBackend(path.dirname(mirror));
    backends.push(backend);
    return backend;
  }
});

describe("the worker, by its clock", () => {
  /** A gate without a daemon, and a mirror that counts pushes. */
  async function scene(): Promise<{ gate: Gate; dir: string; mirror: string }> {
    const mirror = host();
    const dir = path.join(tempDir("worker"), "kv.git");
    const options = {
      dir,
      mirrorUrl: mirror,
      pushUrl: undefined,
      adminKey: undefined,
      ns: "main",
      format: TEST_FORMAT,
    };
    await initialize({ ...options, program: STARGATE_PROGRAM, env: process.env, clock: systemClock });
    const settings = loadSettings(dir);
    const gate = await Gate.open({ dir, settings, env: process.env, clock: systemClock, log: silentLog, role: "test" });
    return { gate, dir, mirror };
  }

  test("a stream of writes shares pushes, a lone one leaves at once", async () => {
    const { gate, dir, mirror } = await scene();
    let now = 0;
    const sleeping: { until: number; wake: () => void }[] = [];
    const timers: WorkerTimers = {
      now: () => now,
      random: () => 0.5,
      sleep: (ms, signal) =>
        new Promise((wake) => {
          sleeping.push({ until: now + ms, wake });
          signal.addEventListener("abort", () => wake(), { once: true });
        }),
    };
    const advance = async (ms: number): Promise<void> => {
      now += ms;
      for (const one of sleeping.splice(0)) one.until <= now ? one.wake() : sleeping.push(one);
      await Bun.sleep(100);
    };
    const worker = new MirrorWorker(
      gate,
      new MirrorRemote(gate.repo, mirror, process.env),
      { burst: 1, interval: 10_000 },
      timers,
    );
    const other = new TestClient(dir, dir);
    const commit = (key: string): string => {
      const { commands, pack, ledger } = other.plan({ [key]: "1" });
      writePack(gate.repo.objects, pack.finish());
      for (const { ref, newOid } of commands) git(dir, "update-ref", ref, newOid);
      worker.wake();
      return ledger;
    };
    const first = commit("a");
    worker.start();
    await until(() => refOf(mirror, "refs/kv-mirror/main") === first, "the lone write");
    commit("b");
    commit("c");
    const last = commit("d");
    await Bun.sleep(100);
    expect(refOf(mirror, "refs/kv-mirror/main")).toBe(first);
    expect(worker.report().nextTry).toBe(10_000);
    await advance(9_000);
    expect(refOf(mirror, "refs/kv-mirror/main")).toBe(first);
    await advance(1_100);
    await until(() => refOf(mirror, "refs/kv-mirror/main") === last, "all three in one push");
    await worker.stop();
    gate.close();
  });

  test("a mirror that was away between two looks is pushed to when it is seen, not ten minutes later", async () => {
    const { gate, dir, mirror } = await scene();
    const remote = new MirrorRemote(gate.repo, mirror, process.env);
    const worker = new MirrorWorker(gate, remote, { burst: 1, interval: 0 }, systemTimers);
    fs.renameSync(mirror, `${mirror}.away`);
    const { commands, pack, ledger } = new TestClient(dir, dir).plan({ a: "1" });
    writePack(gate.repo.objects, pack.finish());
    for (const { ref, newOid } of commands) git(dir, "update-ref", ref, newOid);
    worker.wake();
    worker.start();
    await until(() => worker.report().state === "blocked", "the failure");
    fs.renameSync(`${mirror}.away`, mirror);
    worker.saw(new Map((await remote.refs(["refs/kv"])).refs.map(({ name, oid }) => [name, oid])));
    await until(() => refOf(mirror, "refs/kv-mirror/main") === ledger, "the push");
    await worker.stop();
    gate.close();
  });
});

describe("relay", () => {
  test("branches go to the host in the same session, and its answer comes back", async () => {
    const mirror = host();
    const { stargate, client } = await start(`${serveHttp(mirror).url}/mirror.git`);
    const work = path.join(tempDir("w"), "w");
    await gitAsync("/", "clone", "-q", client.address, work);
    await gitAsync(work, "commit", "-q", "--allow-empty", "-m", "one");
    await gitAsync(work, "tag", "v1");
    await gitAsync(work, "push", "-q", "origin", "HEAD:main", "HEAD:topic", "v1");
    const head = git(work, "rev-parse", "HEAD");
    for (const dir of [mirror, stargate.dir]) {
      for (const ref of ["refs/heads/main", "refs/heads/topic", "refs/tags/v1"]) expect(refOf(dir, ref)).toBe(head);
    }
    // A rule of the host's refuses one ref: that one is refused here, with its words, and not stored.
    fs.writeFileSync(path.join(mirror, "hooks/update"), '#!/bin/sh\n[ "$1" != refs/heads/main ]\n', { mode: 0o755 });
    await gitAsync(work, "commit", "-q", "--allow-empty", "-m", "two");
    const run = await tryGitAsync(work, ["push", "origin", "HEAD:main", "HEAD:topic"]);
    expect(run.status).not.toBe(0);
    expect(run.stderr).toMatch(/remote rejected.* HEAD -> main \(hook declined\)/);
    expect(refOf(stargate.dir, "refs/heads/main")).toBe(head);
    expect(refOf(stargate.dir, "refs/heads/topic")).toBe(git(work, "rev-parse", "HEAD"));
    await gitAsync(work, "push", "-q", "origin", ":topic");
    for (const dir of [mirror, stargate.dir]) expect(refOf(dir, "refs/heads/topic")).toBe("");
  });

  test("what was merged on the host meanwhile is no obstacle to a push that contains it", async () => {
    const mirror = host();
    const { stargate, client } = await start(`${serveHttp(mirror).url}/mirror.git`);
    const work = path.join(tempDir("w"), "w");
    await gitAsync("/", "clone", "-q", mirror, work);
    await gitAsync(work, "commit", "-q", "--allow-empty", "-m", "merged in the web page");
    await gitAsync(work, "push", "-q", "origin", "HEAD:main");
    await gitAsync(work, "commit", "-q", "--allow-empty", "-m", "on top");
    await gitAsync(work, "push", "-q", client.address, "HEAD:main");
    const head = git(work, "rev-parse", "HEAD");
    expect(refOf(mirror, "refs/heads/main")).toBe(head);
    expect(refOf(stargate.dir, "refs/heads/main")).toBe(head);
    // One that does not contain it is sent back, and our copy catches up.
    await gitAsync(work, "commit", "-q", "--allow-empty", "-m", "merged again");
    await gitAsync(work, "push", "-q", "origin", "HEAD:main");
    const merged = git(work, "rev-parse", "HEAD");
    await gitAsync(work, "reset", "-q", "--hard", "HEAD^");
    await gitAsync(work, "commit", "-q", "--allow-empty", "-m", "beside it");
    const run = await tryGitAsync(work, ["push", client.address, "HEAD:main"]);
    expect(run.stderr).toContain("fetch first");
    await until(() => refOf(stargate.dir, "refs/heads/main") === merged, "our copy");
    expect(refOf(mirror, "refs/heads/main")).toBe(merged);
    expect(fsck(stargate.dir)).toBe("");
  });

  test("a host that cannot be reached refuses branches, and takes no transaction away", async () => {
    const mirror = host();
    const backend = serveHttp(mirror);
    const { stargate, client } = await start(`${backend.url}/mirror.git`);
    const work = path.join(tempDir("w"), "w");
    await gitAsync("/", "clone", "-q", client.address, work);
    backend.stop();
    await gitAsync(work, "commit", "-q", "--allow-empty", "-m", "one");
    const run = await tryGitAsync(work, ["push", "origin", "HEAD:main"]);
    expect(run.status).not.toBe(0);
    expect(run.stderr).toContain("NETWORK");
    await client.set({ a: "1" });
    expect(refOf(stargate.dir, "refs/kv/main")).not.toBe("");
  });

  function serveHttp(mirror: string): HttpBackend {
    const backend = startHttpBackend(path.dirname(mirror));
    backends.push(backend);
    return backend;
  }
});
