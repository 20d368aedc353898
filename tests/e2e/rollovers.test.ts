/** Two starts of epochs with the compiled programs: those who come after them, those who were away, and those who write meanwhile. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import * as path from "node:path";
import { executable } from "../support/executable.ts";
import { fsck, git } from "../support/git.ts";
import { ENV, kv, kvOk, Scene, stargateOk } from "../support/scene.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

let scene: Scene;
/** Has a token of scope admin. */
let office: string;
/** Set up before the first rollover, and away until after the second. */
let away: string;
/** Transactions: 1 and 2 in e1, 4 and 5 in e2, 7 and 8 in e3. */
let begun: Date;

beforeAll(async () => {
  scene = await Scene.start();
  away = scene.clone("away");
  const admin = stargateOk(scene.root, "token", "add", "--repo", "kv.git", "--name", "root", "--scope", "admin");
  office = scene.clone("office");
  git(office, "config", `http.${scene.serving.url}/.extraHeader`, `Authorization: Bearer ${admin}`);
  begun = new Date();
  kvOk(office, "set", "cfg:a", "one");
  kvOk(office, "set", "cfg:gone", "there");
  kvOk(away, "fetch", "--read-from", "stargate");
  kvOk(office, "epoch", "new", "--label", "e2");
  kvOk(office, "set", "cfg:a", "two");
  kvOk(office, "del", "cfg:gone");
  kvOk(office, "epoch", "new", "--label", "e3");
  kvOk(office, "set", "cfg:a", "three");
  kvOk(office, "set", "cfg:b", "new", "--wait");
}, 60_000);
afterAll(() => scene.serving.stop());

const rows = (text: string, ...columns: number[]): string[] =>
  text.split("\n").map((line) => columns.map((i) => line.split("\t")[i]).join(" "));

/** A clone of the host as it is now. */
function newcomer(name: string): string {
  kvOk(scene.root, "clone", scene.github, name, "--no-setup");
  const dir = path.join(scene.root, name);
  expect(rows(kvOk(dir, "epoch", "list"), 0, 1)).toEqual(["e3 current", "e2 not here"]);
  return dir;
}

test("history --epochs and get --at reach into archives that are not here yet", () => {
  const dir = newcomer("reader");
  // The epoch began with the second revision; who made it is told in the archive.
  expect(rows(kvOk(dir, "history", "cfg:a"), 3, 4, 5)).toEqual(["set 3 unsigned", "set 2 -"]);
  expect(kv(dir, "history", "cfg:gone").status).toBe(6);
  expect(rows(kvOk(dir, "history", "cfg:a", "--epochs"), 3, 4)).toEqual(["set 3", "set 2", "set 1"]);
  expect(rows(kvOk(dir, "history", "cfg:gone", "--epochs"), 3, 4)).toEqual(["del 2", "set 1"]);
  expect(rows(kvOk(dir, "epoch", "list"), 0, 1)).toEqual(["e3 current", "e2 closed", "e1 closed"]);
  // Each of these begins without any.
  for (const [i, at, value] of [
    [1, "1", "one"],
    [2, "-4", "two"],
    [3, git(scene.repo, "rev-parse", "refs/kv-archive/main@e1"), "one"],
    [4, git(scene.repo, "rev-parse", "refs/kv-archive/main@e2"), "two"],
  ] as const) {
    expect(kvOk(newcomer(`at${i}`), "get", "cfg:a", "--at", at)).toBe(value);
  }
  const before = kv(newcomer("early"), "get", "cfg:a", "--at", new Date(begun.getTime() - 3_600_000).toISOString());
  expect([before.status, before.stdout]).toEqual([6, ""]);
  expect(rows(kvOk(newcomer("differs"), "diff", "2", "7"), 0)).toEqual(["~ cfg:a", "- cfg:gone"]);
  expect(fsck(dir)).toBe("");
});

test("a client that was away over both writes, reads and watches on, and calls it no rollback", () => {
  expect(kvOk(away, "get", "cfg:gone")).toBe("there");
  const written = kv(away, "set", "cfg:away", "1");
  expect([written.status, written.stderr]).toEqual([0, ""]);
  expect(kv(away, "get", "cfg:gone").status).toBe(6);
  const fetched = kv(away, "fetch");
  expect([fetched.status, fetched.stderr]).toEqual([0, expect.not.stringContaining("not part")]);
  expect(rows(kvOk(away, "watch", "--since", "2"), 0, 1, 2)).toEqual([
    "4 set cfg:a",
    "5 del cfg:gone",
    "7 set cfg:a",
    "8 set cfg:b",
    "9 set cfg:away",
  ]);
  const audited = (dir: string, ...args: string[]) =>
    JSON.parse(kvOk(dir, "verify", "--json", ...args)).summary as object;
  // What it audited last is in an epoch that was closed meanwhile.
  const known = git(scene.repo, "rev-parse", "refs/kv-archive/main@e1");
  for (const dir of [away, newcomer("auditor")]) {
    expect(audited(dir, "--since", known)).toMatchObject({ findings: 0, namespaces: [{ firstSeq: 3 }] });
  }
  const other = kv(newcomer("stranger"), "verify", "--since", git(scene.repo, "rev-parse", "refs/kv-index/main"));
  expect([other.status, other.stderr]).toEqual([4, expect.stringContaining("is not in the ledger of 'main'")]);
  expect(audited(away, "--all")).toMatchObject({ findings: 0, namespaces: [{ firstSeq: 1, transactions: 9 }] });
  expect(fsck(away)).toBe("");
});

test("writes that race with the start of an epoch are made again on it, and none is lost", async () => {
  const writers = ["w1", "w2", "w3"].map((name) => scene.clone(name));
  const WRITES = 6;
  const work = writers.map(async (dir, who) => {
    const seen: string[] = [];
    for (let i = 0; i < WRITES; i++) {
      const child = Bun.spawn([executable("git-kv"), "set", `race:${who}:${i}`, "v", "--json", "--no-wait"], {
        cwd: dir,
        env: ENV,
        stdout: "pipe",
        stderr: "pipe",
      });
      const [out, err] = [await new Response(child.stdout).text(), await new Response(child.stderr).text()];
      expect([await child.exited, err]).toEqual([0, ""]);
      seen.push((JSON.parse(out) as { oid: string }).oid);
    }
    return seen;
  });
  const roots: string[] = [];
  for (const label of ["e4", "e5"]) {
    const child = Bun.spawn([executable("git-kv"), "epoch", "new", "--label", label], {
      cwd: office,
      env: ENV,
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err] = [await new Response(child.stdout).text(), await new Response(child.stderr).text()];
    expect([await child.exited, err]).toEqual([0, expect.stringContaining(`the epoch '${label}' follows`)]);
    roots.push(out.trim());
  }
  const oids = (await Promise.all(work)).flat();
  kvOk(office, "fetch", "--read-from", "stargate");
  expect(kvOk(office, "list", "--prefix", "race:", "--count")).toBe(String(writers.length * WRITES));
  // Every commit that a writer was told of is in the ledger, in one epoch or another, once.
  const refs = ["refs/kv/main", "refs/kv-archive/main@e3", "refs/kv-archive/main@e4"];
  const all = git(scene.repo, "rev-list", ...refs).split("\n");
  expect(oids.filter((oid) => !all.includes(oid))).toEqual([]);
  expect(new Set(oids).size).toBe(oids.length);
  expect(git(scene.repo, "rev-parse", "refs/kv-epoch/main")).toBe(roots[1]!);
  stargateOk(scene.root, "fsck", "--repo", "kv.git");
  const summary = JSON.parse(kvOk(office, "verify", "--all", "--json")).summary as object;
  expect(summary).toMatchObject({ findings: 0, namespaces: [{ transactions: 9 + writers.length * WRITES + 2 }] });
}, 60_000);

test("a mirror that has not heard of an epoch is behind, for a clone that has seen neither of its ends", () => {
  const host = path.join(scene.root, "behind.git");
  git(scene.root, "init", "-q", "--bare", `--object-format=${TEST_FORMAT.name}`, host);
  const [ledger, index] = ["kv", "kv-index"].map((group) => `refs/${group}-archive/main@e1:refs/${group}/main`);
  git(scene.repo, "push", "-q", host, ledger!, index!, "refs/kv-policy/current");
  const dir = path.join(scene.root, "late");
  git(scene.root, "init", "-q", `--object-format=${TEST_FORMAT.name}`, dir);
  git(dir, "remote", "add", "origin", host);
  git(dir, "config", "remote.origin.pushurl", scene.url);
  for (const group of ["kv", "kv-index", "kv-epoch", "kv-mirror"])
    git(dir, "config", "--add", "remote.origin.fetch", `+refs/${group}/*:refs/kv-remotes/origin/${group}/*`);
  scene.giveToken(dir);
  kvOk(dir, "fetch", "--read-from", "stargate");
  const fetched = kv(dir, "fetch");
  expect([fetched.status, fetched.stderr]).toEqual([0, expect.not.stringContaining("warning")]);
  expect(kv(dir, "get", "cfg:gone").status).toBe(6);
});

test("a label that was used is refused, by a dry run too, and compact passes it over", () => {
  kvOk(office, "epoch", "new", "--label", "e0");
  kvOk(office, "set", "cfg:short", "1", "--ttl", "0s");
  // The archive is not in this clone.
  git(office, "update-ref", "-d", "refs/kv-remotes/origin/kv-archive/main@e2");
  for (const args of [
    ["epoch", "new", "--label", "e2"],
    ["compact", "--label", "e2"],
    ["compact", "--label", "e2", "--dry-run"],
  ]) {
    const run = kv(office, ...args);
    expect([run.status, run.stdout, run.stderr]).toEqual([4, "", expect.stringContaining("had an epoch 'e2' before")]);
  }
  const again = kv(office, "epoch", "new", "--label", "e0");
  expect([again.status, again.stderr]).toEqual([4, expect.stringContaining("'e0' of 'main' has begun already")]);
  expect(kvOk(office, "compact", "--dry-run")).toContain("the epoch 'e6' would begin");
  kvOk(office, "compact");
  expect(rows(kvOk(office, "epoch", "list"), 0)[0]).toBe("e6");
});
