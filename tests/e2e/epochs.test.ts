/**
 * Epochs with the compiled programs: a Stargate that asks for signatures, a real host behind `git daemon`, an admin, a writer who is
 * in the middle of things and one who was away.
 */

import { afterAll, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable, type Run, runProgram } from "../support/executable.ts";
import { fsck, git } from "../support/git.ts";
import { type GitDaemon, startGitDaemon } from "../support/git-daemon.ts";
import { ENV, Scene, stargateOk } from "../support/scene.ts";
import { newKey, type TestKey } from "../support/signing.ts";
import { tempDir } from "../support/temp.ts";

let host: GitDaemon | undefined;
let scene: Scene | undefined;
afterAll(async () => {
  await scene?.serving.stop();
  host?.stop();
});

const CACHE = tempDir("cache");

/** Runs git-kv in `dir` as the holder of `key`. */
function as(key: TestKey, dir: string, ...args: string[]): Run {
  const signing = { GIT_CONFIG_COUNT: "2", GIT_CONFIG_KEY_0: "gpg.format", GIT_CONFIG_VALUE_0: "ssh" };
  const env = {
    ...ENV,
    ...signing,
    GIT_CONFIG_KEY_1: "user.signingKey",
    GIT_CONFIG_VALUE_1: key.file,
    SSH_AUTH_SOCK: "",
    XDG_CACHE_HOME: CACHE,
  };
  return runProgram(executable("git-kv"), args, { cwd: dir, env });
}

function ok(run: Run): string {
  if (run.status !== 0) throw new Error(`exit ${run.status}: ${run.stderr}${run.stdout}`);
  return run.stdout.replace(/\n$/, "");
}

const oneJson = (text: string): Record<string, unknown> => JSON.parse(text.split("\n")[0]!);
/** Bytes of all packs and loose objects. */
function objectBytes(dir: string): number {
  const files = fs.readdirSync(path.join(dir, "objects"), { recursive: true, withFileTypes: true });
  return files.reduce(
    (sum, file) => sum + (file.isFile() ? fs.statSync(path.join(file.parentPath, file.name)).size : 0),
    0,
  );
}
const refsOf = (dir: string, group: string): string[] =>
  git(dir, "for-each-ref", "--format=%(refname)", `refs/${group}`)
    .split("\n")
    .filter((line) => line !== "");

test("a new epoch: begun by an admin, on the mirror as one step, small to clone, and nobody takes it for a rollback", async () => {
  const [admin, writer] = [newKey(), newKey("ecdsa-256")];
  const policy = (pushUrl: string): string =>
    `version: 1\nstargate: { push_url: "${pushUrl}", admins: ["${admin.line}"] }\n` +
    `mirror: { publish_branch: true }\nnamespaces: { main: { require_signed_commits: true, verify: replay, ` +
    `max_value_inline: 64KiB, writers: ["${admin.line}", "${writer.line}"] } }\n`;
  scene = await Scene.start(undefined, {
    adminKey: `${admin.file}.pub`,
    policy,
    mirror: async (root) => {
      host = await startGitDaemon(root, { writes: true });
      return `git://127.0.0.1:${host.port}/github.git`;
    },
  });
  const [work, away, stale] = [scene.clone("work"), scene.clone("away"), scene.clone("stale")];
  const large = randomBytes(400_000);
  fs.writeFileSync(path.join(scene.root, "large"), large);
  fs.writeFileSync(path.join(scene.root, "gone"), randomBytes(400_000));
  const file = (name: string): string => path.join(scene!.root, name);
  ok(as(writer, work, "set", "big:kept", "--file", file("large")));
  ok(as(writer, work, "set", "big:gone", "--file", file("gone")));
  for (let i = 0; i < 6; i++) ok(as(writer, work, "set", "cfg:a", `value ${i}`));
  // The one who is away knows so much, the one in the middle of things a little less than all.
  ok(as(writer, away, "set", "cfg:away", "1"));
  ok(as(writer, stale, "fetch"));
  ok(as(writer, work, "set", "cfg:short", "1", "--ttl", "1s"));
  ok(as(writer, work, "set", "cfg:deleted", "1"));
  ok(as(writer, work, "del", "cfg:deleted"));
  const deleted = ok(as(writer, work, "del", "big:gone"));
  ok(as(writer, work, "wait", "--oid", deleted));
  const before = git(scene.repo, "rev-parse", "refs/kv/main");
  const beforeIndex = git(scene.repo, "rev-parse", "refs/kv-index/main");

  // Not by a writer, and not before there is something to leave behind is it asked for.
  expect(as(writer, work, "epoch", "new", "--label", "e2")).toMatchObject({ status: 3, stdout: "" });
  expect(as(admin, work, "epoch", "new", "--label", "no good").status).toBe(4);
  expect(as(admin, work, "epoch", "new", "--label", "e1").status).toBe(4);
  while (as(writer, work, "get", "cfg:short").status !== 7);
  const dry = oneJson(ok(as(admin, work, "compact", "--dry-run", "--json")));
  expect(dry).toMatchObject({ epoch: "e2", unchanged: false, dropsPieces: true, live: 3, expired: 1, tombstones: 2 });
  expect(git(scene.repo, "rev-parse", "refs/kv/main")).toBe(before);

  const begun = oneJson(ok(as(admin, work, "compact", "--json", "-m", "spring cleaning")));
  const root = String(begun.oid);
  expect(begun).toMatchObject({
    epoch: "e2",
    closed: { label: "e1", last: before },
    live: 3,
    expired: 1,
    tombstones: 2,
  });
  expect(
    git(
      scene.repo,
      "rev-parse",
      "refs/kv-epoch/main",
      "refs/kv-archive/main@e1",
      "refs/kv-index-archive/main@e1",
    ).split("\n"),
  ).toEqual([root, before, beforeIndex]);
  expect(git(scene.repo, "rev-list", "--count", "refs/kv/main")).toBe("1");
  expect(oneJson(ok(as(admin, work, "compact", "--json")))).toMatchObject({ unchanged: true, epoch: "e2" });

  // The mirror has all of it, by a push that is no fast-forward, and says so to whoever waits.
  ok(as(writer, work, "wait", "--oid", root));
  for (const group of ["kv/", "kv-index/", "kv-epoch/", "kv-archive/", "kv-index-archive/", "kv-chunks/"]) {
    const [here, there] = [scene.repo, scene.github].map((dir) => git(dir, "for-each-ref", `refs/${group}`));
    expect(there).toBe(here!);
  }
  expect(git(scene.github, "rev-parse", "refs/heads/kv/main")).toBe(root);
  expect(
    ok(as(admin, work, "stargate", "sync", "--dry-run"))
      .split("\n")
      .filter((line) => /diverged|ahead|behind/.test(line)),
  ).toEqual([]);
  expect(fsck(scene.github)).toBe(fsck(scene.repo));
  stargateOk(scene.root, "fsck", "--repo", "kv.git");

  // One who knows only the old epoch writes on: it is planned again, pieces and all, and so is one who was away for longer.
  ok(as(writer, stale, "set", "cfg:late", "1"));
  ok(as(writer, stale, "set", "big:again", "--file", file("gone")));
  const news = as(writer, away, "fetch");
  expect([news.status, news.stderr]).toEqual([0, expect.not.stringContaining("not part")]);
  expect(refsOf(away, "kv-remotes/origin/kv-archive")).toEqual(["refs/kv-remotes/origin/kv-archive/main@e1"]);
  expect(ok(as(writer, away, "get", "cfg:a"))).toBe("value 5");
  expect(as(writer, away, "get", "cfg:short").status).toBe(6);
  ok(as(writer, away, "set", "cfg:away", "2"));
  const said = ok(as(writer, away, "watch", "--since", "10", "--json"))
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(said.filter(({ seq }) => seq === begun.seq).map(({ key, op }) => [key, op])).toEqual([["cfg:short", "del"]]);

  // A clone made now has the new epoch only, and with it what it needs.
  const tip = git(scene.repo, "rev-parse", "refs/kv/main");
  ok(as(writer, work, "wait", "--oid", tip));
  const fresh = path.join(scene.root, "fresh");
  ok(as(writer, scene.root, "clone", scene.hostUrl, fresh, "--no-setup"));
  expect(fs.existsSync(fresh)).toBe(true);
  expect(git(fresh, "rev-list", "--count", "refs/kv-remotes/origin/kv/main")).toBe(
    git(scene.repo, "rev-list", "--count", tip),
  );
  expect(git(fresh, "cat-file", "--batch-all-objects", "--batch-check")).not.toContain(before);
  const full = path.join(scene.root, "full.git");
  git(scene.root, "clone", "-q", "--mirror", scene.hostUrl, full);
  expect(objectBytes(path.join(fresh, ".git"))).toBeLessThan(objectBytes(full) / 4);
  expect(ok(as(writer, fresh, "get", "cfg:a"))).toBe("value 5");
  const read = runProgram(executable("git-kv"), ["get", "big:kept", "--output", "kept"], { cwd: fresh, env: ENV });
  expect(read.status).toBe(0);
  const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
  expect(digest(fs.readFileSync(path.join(fresh, "kept")))).toBe(digest(large));
  expect(
    ok(as(writer, fresh, "epoch", "list"))
      .split("\n")
      .map((line) => line.split("\t").slice(0, 2)),
  ).toEqual([
    ["e2", "current"],
    ["e1", "not here"],
  ]);

  // Verified by itself, and over the boundary with the archive fetched.
  const alone = oneJson(ok(as(writer, fresh, "verify", "--json")));
  expect(alone).toMatchObject({ summary: { findings: 0 } });
  const all = oneJson(ok(as(writer, fresh, "verify", "--all", "--json")));
  const { seq } = oneJson(ok(as(writer, work, "set", "cfg:end", "1", "--json")));
  expect(all).toMatchObject({ summary: { findings: 0, namespaces: [{ transactions: Number(seq) - 1 }] } });
  expect(
    ok(as(writer, fresh, "epoch", "list"))
      .split("\n")
      .map((line) => line.split("\t").slice(0, 3)),
  ).toEqual([
    ["e2", "current", expect.any(String)],
    ["e1", "closed", `#1-#${Number(begun.seq) - 1}`],
  ]);

  const short = as(writer, fresh, "history", "cfg:short");
  expect([short.status, short.stderr]).toEqual([
    6,
    expect.stringContaining("hint: --epochs brings what is in earlier"),
  ]);

  // Without a clone the archives are read as well, from the Stargate and from the host.
  git(scene.github, "config", "uploadpack.allowFilter", "true");
  const nowhere = tempDir("nowhere");
  for (const url of [
    scene.url.replace("http://", `http://t:${scene.token}@`),
    `git://127.0.0.1:${host!.port}/github.git`,
  ]) {
    const from = (...args: string[]): string => ok(as(writer, nowhere, "--repo", url, ...args));
    expect(from("get", "cfg:a", "--at", "4")).toBe("value 1");
    for (const args of [
      ["history", "cfg:a", "--epochs", "--patch"],
      ["history", "cfg:short", "--epochs", "--json"],
      ["history", "big:kept", "--epochs", "--json"],
    ]) {
      expect([url, args, from(...args)]).toEqual([url, args, ok(as(writer, fresh, ...args))]);
    }
  }

  // A ledger that really was taken back is still called that.
  const message = path.join(scene.root, "message");
  fs.writeFileSync(message, git(scene.repo, "log", "-1", "--format=%B", "refs/kv/main"));
  const forged = git(scene.github, "commit-tree", "-F", message, "-p", before, `${tip}^{tree}`);
  await scene.serving.stop();
  git(scene.github, "update-ref", "refs/kv/main", forged);
  expect(as(writer, work, "fetch").stderr).toContain("is not part of the accepted one");
  expect(ok(as(writer, work, "get", "cfg:end"))).toBe("1");
}, 240_000);
