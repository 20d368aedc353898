/** Two Stargates on one mirror by mistake, as real daemons: both acknowledge writes before either can know; nothing of that is lost without a word. */

import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { fsck, git, tryGit } from "../support/git.ts";
import { kv, kvOk, Scene, Serving, stargateOk } from "../support/scene.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

let scene: Scene;
const servings: Serving[] = [];
afterAll(async () => {
  for (const one of servings) await one.stop();
});

/** A Stargate and a clone that writes to it. */
interface Side {
  readonly repo: string;
  readonly clone: string;
  readonly serving: Serving;
  /** Ledger commits it has acknowledged, with the key each set. */
  readonly acknowledged: Map<string, string>;
}

async function side(repo: string, name: string): Promise<Side> {
  const serving = await Serving.start(repo);
  servings.push(serving);
  const clone = path.join(scene.root, name);
  fs.cpSync(path.join(scene.root, "app"), clone, { recursive: true });
  git(clone, "config", "remote.origin.pushurl", `${serving.url.replace("://", `://test:${scene.token}@`)}/kv.git`);
  return { repo, clone, serving, acknowledged: new Map() };
}

function write({ clone, acknowledged }: Side, key: string, value: string): void {
  acknowledged.set(kvOk(clone, "set", key, value), key);
}

async function until(isSo: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 60_000; !isSo(); await Bun.sleep(50)) {
    if (Date.now() > end) throw new Error(`not within 60 s: ${what}`);
  }
}

const tipOf = (dir: string): string => git(dir, "rev-parse", "refs/kv/main");

test("one of them goes on, the other says DIVERGED; what that has acknowledged is found and written again", async () => {
  scene = await Scene.start();
  servings.push(scene.serving);
  const app = scene.clone("app");
  kvOk(app, "set", "shared", "before", "--wait");
  await scene.serving.stop();
  fs.appendFileSync(path.join(scene.repo, "stargate.yaml"), "mirror: { refresh: 1s }\n");
  const copy = path.join(scene.root, "copy", "kv.git");
  fs.cpSync(scene.repo, copy, { recursive: true });
  const sides = [await side(scene.repo, "one"), await side(copy, "two")];
  const common = tipOf(scene.github);
  // Neither can see the mirror while both take writes: the longest window there is.
  fs.renameSync(scene.github, `${scene.github}.away`);
  sides.forEach((each, i) => {
    write(each, "shared", `of ${i}`);
    write(each, `only:${i}`, `value ${i}`);
  });
  fs.renameSync(`${scene.github}.away`, scene.github);
  await until(() => tipOf(scene.github) !== common, "one of them reaches the mirror");
  const winner = sides.find(({ repo }) => tipOf(repo) === tipOf(scene.github))!;
  const loser = sides.find((each) => each !== winner)!;

  // The winner goes on. The loser refuses from its next look or push on; what it takes until then counts.
  write(winner, "later", "1");
  let refused = kv(loser.clone, "set", "shared", "again");
  for (let i = 0; refused.status === 0; i++) {
    loser.acknowledged.set(refused.stdout.trim(), "shared");
    refused = kv(loser.clone, "set", "shared", `again ${i}`);
  }
  expect(refused.status).toBe(5);
  expect(refused.stderr).toContain("no writes to 'main' are taken: the mirror has transactions of 'main' that this");
  expect(stargateOk(scene.root, "status", "--repo", loser.repo)).toContain("the mirror has transactions of 'main'");
  expect(kv(winner.clone, "set", "later", "2", "--wait").status).toBe(0);
  // Nothing of the winner's was overwritten, and all of the loser's is here, by ref, in the trail and by key.
  const trail = (): string => stargateOk(scene.root, "log", "--repo", loser.repo, "--json");
  const expectKept = (): void => {
    for (const { repo, acknowledged } of sides) {
      for (const oid of acknowledged.keys()) git(repo, "merge-base", "--is-ancestor", oid, "refs/kv/main");
    }
    for (const oid of winner.acknowledged.keys()) git(scene.github, "merge-base", "--is-ancestor", oid, "refs/kv/main");
    for (const [oid, key] of loser.acknowledged) {
      expect(trail()).toContain(oid);
      expect(kvOk(loser.clone, "history", key)).toContain(oid.slice(0, 12));
    }
  };
  expectKept();

  // Somebody decides that the loser goes on beside it: what it has acknowledged stays part of its ledger.
  expect(stargateOk(scene.root, "sync", "--repo", loser.repo, "--fork", "--json")).toContain("diverged");
  write(loser, "beside", "1");
  expect(trail()).toContain('"kind":"fork"');
  expectKept();
  expect(tryGit(scene.github, ["merge-base", "--is-ancestor", tipOf(loser.repo), "refs/kv/main"]).status).not.toBe(0);
  expect(kvOk(loser.clone, "verify")).toEndWith("no findings");

  // As the runbook has it: stop it, see what only it has, and write that again through the other.
  await loser.serving.stop();
  git(loser.repo, "fetch", "-q", "mirror", "refs/kv/*:refs/diverged/*");
  expect(git(loser.repo, "merge-base", "refs/kv/main", "refs/diverged/main")).toBe(common);
  const only = kvOk(scene.root, "--repo", loser.repo, "diff", common, "--json");
  const keys = only.split("\n").map((line) => (JSON.parse(line) as { key: string }).key);
  expect(keys.sort()).toEqual([...new Set(loser.acknowledged.values())].sort());
  for (const key of keys.filter((one) => one !== "shared")) {
    kvOk(winner.clone, "set", key, kv(scene.root, "--repo", loser.repo, "get", key).stdout);
  }
  expect(kvOk(winner.clone, "get", "beside")).toBe("1");
  expect(kvOk(winner.clone, "get", "later")).toBe("2");
  // Who wrote to the loser is told by the winner, does what the hint says, and has that copy as well.
  git(loser.clone, "config", "remote.origin.pushurl", git(winner.clone, "config", "remote.origin.pushurl"));
  const foreign = kv(loser.clone, "set", "moved", "1");
  expect([foreign.status, foreign.stderr]).toEqual([3, expect.stringContaining("is not part of the Stargate's")]);
  git(loser.clone, "update-ref", "refs/kept/main", "refs/kv/main");
  for (const ref of ["refs/kv/main", "refs/kv-index/main"]) git(loser.clone, "update-ref", "-d", ref);
  kvOk(loser.clone, "set", "moved", "1");
  expect(kvOk(loser.clone, "get", "later")).toBe("2");
  git(scene.root, "init", "-q", `--object-format=${TEST_FORMAT.name}`, "kept");
  const kept = path.join(scene.root, "kept");
  git(kept, "fetch", "-q", loser.clone, "refs/kept/main:refs/kv/main");
  expect(kvOk(kept, "get", "beside")).toBe("1");
  // A copy that is made anew from the mirror leads on where the other one did.
  kvOk(winner.clone, "set", "last", "1", "--wait");
  const fresh = path.join(scene.root, "fresh", "kv.git");
  stargateOk(scene.root, "init", "--repo", fresh, "--mirror-remote", scene.github, "--catch-up");
  expect(tipOf(fresh)).toBe(tipOf(winner.repo));
  for (const dir of [winner.repo, loser.repo, fresh]) expect(fsck(dir)).toBe("");
}, 240_000);
