/** `stargate sync` and `stargate status`, asked over HTTP and SSH: what they say, what they may do, what they leave alone. */

import { afterEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../src/errors.ts";
import { askStatus, askSync } from "../../src/kv/ask-stargate.ts";
import { describeSync, type SyncedRef, type SyncMode, type SyncReport, syncExit } from "../../src/kv/sync-report.ts";
import type { Scope } from "../../src/stargate/tokens.ts";
import { fsck, git, tryGit } from "../support/git.ts";
import { STARGATE_PROGRAM, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { workspaceAt } from "../support/workspace.ts";

const running: TestStargate[] = [];
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
});

const refOf = (dir: string, ref: string): string =>
  tryGit(dir, ["rev-parse", "-q", "--verify", ref]).stdout.toString().trim();

/** A Stargate with a mirror on this machine and two namespaces on both. */
async function scene(): Promise<{ stargate: TestStargate; mirror: string; client: TestClient; tip: string }> {
  const mirror = path.join(tempDir("host"), "mirror.git");
  git("/", "init", "-q", "--bare", "-b", "main", mirror);
  const stargate = await TestStargate.start({ mirror });
  running.push(stargate);
  const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token()));
  await client.set({ x: "1" }, "other");
  const tip = await client.set({ a: "1" });
  await stargate.logged(() => refOf(mirror, "refs/kv-mirror/main") === tip);
  return { stargate, mirror, client, tip };
}

/** Asks as a clone that writes to `address` does. */
async function sync(
  address: string,
  mode: SyncMode,
  ns?: string,
  env: Record<string, string> = {},
): Promise<SyncReport> {
  const dir = path.join(tempDir("clone"), "c");
  git("/", "init", "-q", dir);
  git(dir, "remote", "add", "origin", address);
  return askSync(workspaceAt(dir, { env }), { mode, ns });
}

const http = (stargate: TestStargate, scope: Scope): string => stargate.loginUrl(stargate.token(scope));

function of(report: SyncReport, ref: string): Pick<SyncedRef, "standing" | "action"> {
  const { standing, action } = report.refs.find((one) => one.ref === ref)!;
  return { standing, action };
}

async function codeOf(action: () => Promise<unknown>): Promise<string> {
  try {
    await action();
    return "ok";
  } catch (error) {
    return error instanceof KvError ? error.code : String(error);
  }
}

/** A commit on top of `parent` that the Stargate did not make. */
function foreign(mirror: string, parent: string): string {
  return git(mirror, "commit-tree", "-m", "foreign", "-p", parent, `${parent}^{tree}`);
}

describe("over HTTP", () => {
  test("a dry run names every ref and changes nothing; all equal is exit 0", async () => {
    const { stargate, mirror } = await scene();
    const before = git(mirror, "for-each-ref");
    const report = await sync(http(stargate, "read"), "dry-run");
    expect(report.refs.map(({ ref }) => ref).sort()).toEqual(
      git(mirror, "for-each-ref", "--format=%(refname)", "refs/kv*/**").split("\n"),
    );
    expect(new Set(report.refs.map(({ standing, action }) => `${standing} ${action}`))).toEqual(
      new Set(["equal none"]),
    );
    expect(syncExit(report)).toBe(0);
    expect(git(mirror, "for-each-ref")).toBe(before);
  });

  test("behind, missing and extra: repair pushes them, of one namespace or of all, and takes nothing away", async () => {
    const { stargate, mirror, client, tip } = await scene();
    const first = git(stargate.dir, "rev-parse", "refs/kv/main~0");
    await withoutMirroring(mirror, async () => {
      const second = await client.set({ b: "1" });
      await client.set({ y: "1" }, "other");
      git(mirror, "update-ref", "-d", "refs/kv-mirror/other");
      git(mirror, "update-ref", "refs/kv/strange", tip);
      const dry = await sync(http(stargate, "read"), "dry-run");
      expect(of(dry, "refs/kv/main")).toEqual({ standing: "behind", action: "planned" });
      expect(of(dry, "refs/kv-mirror/other")).toEqual({ standing: "missing", action: "planned" });
      expect(of(dry, "refs/kv/strange")).toEqual({ standing: "extra", action: "none" });
      expect(describeSync(dry).join("\n")).toMatch(/refs\/kv\/main +behind +\w{12} +\w{12} +to be pushed/);
      allow(mirror);
      const one = await sync(http(stargate, "write"), "repair", "main");
      expect(new Set(one.refs.map(({ ns }) => ns))).toEqual(new Set(["main"]));
      expect(of(one, "refs/kv/main")).toEqual({ standing: "behind", action: "pushed" });
      expect(refOf(mirror, "refs/kv-mirror/main")).toBe(second);
      const all = await sync(http(stargate, "write"), "repair");
      expect(syncExit(all)).toBe(0);
      expect(refOf(mirror, "refs/kv-mirror/other")).toBe(refOf(stargate.dir, "refs/kv/other"));
      expect(refOf(mirror, "refs/kv/strange")).toBe(tip);
      expect(first).toBe(tip);
    });
  });

  test("what is ahead or has diverged is left alone by repair (exit 11), and overwritten by force with a lease, for an admin only", async () => {
    const { stargate, mirror, client, tip } = await scene();
    const ahead = foreign(mirror, tip);
    git(mirror, "update-ref", "refs/kv/main", ahead);
    expect(of(await sync(http(stargate, "read"), "dry-run"), "refs/kv/main")).toEqual({
      standing: "ahead",
      action: "left",
    });
    // What is seen once keeps writes from going on beside it, until somebody decides that they do.
    expect(verdict(await client.push(client.plan({ b: "1" })))).toBe("DIVERGED");
    expect(await codeOf(() => sync(http(stargate, "write"), "fork"))).toBe("FORBIDDEN");
    const beside = await sync(http(stargate, "admin"), "fork");
    expect(of(beside, "refs/kv/main")).toEqual({ standing: "ahead", action: "forked" });
    expect([syncExit(beside), refOf(mirror, "refs/kv/main")]).toEqual([0, ahead]);
    const mine = await client.set({ b: "1" });
    const report = await sync(http(stargate, "write"), "repair");
    expect(of(report, "refs/kv/main")).toEqual({ standing: "diverged", action: "left" });
    expect(of(report, "refs/kv-index/main")).toEqual({ standing: "behind", action: "refused" });
    expect(syncExit(report)).toBe(11);
    expect(refOf(mirror, "refs/kv/main")).toBe(ahead);
    expect(refOf(mirror, "refs/kv-mirror/main")).toBe(tip);
    for (const scope of ["read", "write"] as const) {
      expect(await codeOf(() => sync(http(stargate, scope), "force"))).toBe("FORBIDDEN");
    }
    expect(await codeOf(() => sync(http(stargate, "read"), "repair"))).toBe("FORBIDDEN");
    expect(refOf(mirror, "refs/kv/main")).toBe(ahead);
    const forced = await sync(http(stargate, "admin"), "force");
    expect(of(forced, "refs/kv/main")).toEqual({ standing: "diverged", action: "forced" });
    expect(syncExit(forced)).toBe(0);
    for (const ref of ["refs/kv/main", "refs/kv-mirror/main"]) expect(refOf(mirror, ref)).toBe(mine);
    expect(fsck(stargate.dir)).toBe("");
    // The commit of the mirror was looked at and is not ours now.
    expect(tryGit(stargate.dir, ["cat-file", "-e", ahead]).status).not.toBe(0);
    expect(fs.readdirSync(path.join(stargate.dir, "stargate")).filter((name) => name.startsWith("look-"))).toEqual([]);
    const line = await stargate.logged(({ doing }) => doing === "force");
    expect(line).toMatchObject({ ref: "refs/kv/main", old: ahead, new: mine });
  });

  test("a mirror that refuses is told of with its words, exit 5", async () => {
    const { stargate, mirror, client } = await scene();
    git(mirror, "config", "receive.hideRefs", "refs/kv");
    await client.set({ b: "1" });
    const report = await sync(http(stargate, "write"), "repair");
    expect(of(report, "refs/kv/main")).toEqual({ standing: "behind", action: "refused" });
    expect(describeSync(report).join("\n")).toContain("deny updating a hidden ref");
    expect(syncExit(report)).toBe(5);
  });

  test("requests that are none, namespaces that are none, a Stargate without a mirror, the wrong address", async () => {
    const { stargate } = await scene();
    const headers = { Authorization: `Bearer ${stargate.token("admin")}` };
    for (const body of ["", "{}", "[]", '{"mode":"all"}', '{"mode":"force","ns":7}', '{"mode":"repair","x":1}']) {
      const response = await fetch(`${stargate.url}/kv/sync`, { method: "POST", body, headers });
      expect(response.status).toBe(400);
      expect(((await response.json()) as { error: { code: string } }).error.code).toBe("INPUT_INVALID");
    }
    for (const body of ["x".repeat(4_097), JSON.stringify({ mode: "dry-run", ns: "n".repeat(2_000_000) })]) {
      const response = await fetch(`${stargate.url}/kv/sync`, { method: "POST", body, headers });
      expect(response.status).toBe(413);
      expect(((await response.json()) as { error: { code: string } }).error.code).toBe("LIMIT_EXCEEDED");
    }
    expect((await fetch(`${stargate.url}/kv/sync`, { headers })).status).toBe(405);
    expect((await fetch(`${stargate.url}/kv/sync`, { method: "POST", body: "{}" })).status).toBe(401);
    expect(await codeOf(() => sync(http(stargate, "write"), "repair", "nowhere"))).toBe("NS_NOT_FOUND");
    const alone = await TestStargate.start();
    running.push(alone);
    expect(await codeOf(() => sync(http(alone, "write"), "dry-run"))).toBe("CONFIG");
    expect(await codeOf(() => sync(`${alone.url}x`, "dry-run"))).toBe("NOT_A_REPOSITORY");
  });
});

describe("over SSH", () => {
  /** An "ssh" that runs the gateway's shell as sshd would, for a login of `scope`. */
  function ssh(dir: string, scope: Scope): Record<string, string> {
    const file = path.join(tempDir("ssh"), "ssh");
    const shell = [...STARGATE_PROGRAM, "shell", "--repo", dir, "--user", "alice", "--scope", scope];
    fs.writeFileSync(
      file,
      `#!/bin/sh\nfor last; do :; done\nSSH_ORIGINAL_COMMAND="$last" exec ${shell.map((word) => `'${word}'`).join(" ")}\n`,
      { mode: 0o755 },
    );
    return { GIT_SSH: file, GIT_SSH_VARIANT: "ssh" };
  }

  test("through the daemon, and without one; by the scope of the login", async () => {
    const { stargate, mirror, client, tip } = await scene();
    const address = `ssh://git@host.test${stargate.dir}`;
    git(mirror, "update-ref", "refs/kv/main", foreign(mirror, tip));
    const mine = await client.set({ b: "1" });
    expect(of(await sync(address, "repair", "main", ssh(stargate.dir, "write")), "refs/kv/main").action).toBe("left");
    expect(await codeOf(() => sync(address, "force", "main", ssh(stargate.dir, "write")))).toBe("FORBIDDEN");
    const forced = await sync(address, "force", "main", ssh(stargate.dir, "admin"));
    expect(of(forced, "refs/kv/main").action).toBe("forced");
    expect(refOf(mirror, "refs/kv-mirror/main")).toBe(mine);
    await stargate.stop();
    running.length = 0;
    git(mirror, "update-ref", "-d", "refs/kv-index/other");
    const alone = await sync(address, "repair", undefined, ssh(stargate.dir, "write"));
    expect(of(alone, "refs/kv-index/other")).toEqual({ standing: "missing", action: "pushed" });
    const dir = path.join(tempDir("clone"), "c");
    git("/", "init", "-q", dir);
    git(dir, "remote", "add", "origin", address);
    const status = await askStatus(workspaceAt(dir, { env: ssh(stargate.dir, "read") }));
    expect(status.role).toBe("stopped");
    expect(status.namespaces.map(({ ns }) => ns)).toEqual(["main", "other"]);
  }, 30_000);
});

/** Keeps the mirror from being pushed to while `act` runs, or until {@link allow}. */
async function withoutMirroring(mirror: string, act: () => Promise<void>): Promise<void> {
  fs.writeFileSync(path.join(mirror, "hooks/pre-receive"), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  try {
    await act();
  } finally {
    allow(mirror);
  }
}

function allow(mirror: string): void {
  fs.rmSync(path.join(mirror, "hooks/pre-receive"), { force: true });
}
