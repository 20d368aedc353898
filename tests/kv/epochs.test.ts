/** Where an epoch begins, as a clone reads it from the refs of a mirror that may name anything. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { epochOf } from "../../src/kv/epochs.ts";
import { readTracked } from "../../src/kv/state.ts";
import { git, gitInput } from "../support/git.ts";
import { TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { workspaceAt } from "../support/workspace.ts";

const TRACKED = "refs/kv-remotes/origin/kv-epoch/main";

let stargate: TestStargate;
let clone: string;
let first: Oid;

beforeAll(async () => {
  stargate = await TestStargate.start({ upkeep: false });
  const { dir } = stargate;
  const client = new TestClient(dir, stargate.loginUrl(stargate.token("admin")));
  await client.set({ a: "1" });
  const planned = await client.planEpoch("e2", { seconds: Math.floor(Date.now() / 1000) });
  expect(verdict(await client.push(planned))).toBe("ok");
  first = planned.ledger;
  await client.set({ a: "2" });
  clone = tempDir("clone");
  git(clone, "init", "-q", "--bare", `--object-format=${git(dir, "rev-parse", "--show-object-format")}`);
  const refs = ["kv", "kv-index", "kv-epoch"].map((group) => `+refs/${group}/*:refs/kv-remotes/origin/${group}/*`);
  git(clone, "fetch", "-q", dir, ...refs);
});
afterAll(() => stargate.stop());

/** The first commit of the epoch, and the label of the one before. */
async function begin(): Promise<[Oid, string | undefined]> {
  const workspace = workspaceAt(clone, {});
  const state = readTracked(workspace.repo.objects, workspace.repo.refs, "main", "origin")!;
  const epoch = await epochOf(workspace, state);
  workspace.repo.close();
  return [epoch.first.oid, epoch.before?.label];
}

test("the ref is taken where it may be right", async () => {
  expect(git(clone, "rev-parse", TRACKED)).toBe(first);
  expect(await begin()).toEqual([first, "e1"]);
});

test("one that names another namespace's epoch, a later one, or no ledger commit is passed over", async () => {
  const text = git(clone, "cat-file", "commit", first);
  const forged = (edited: string): Oid =>
    gitInput(clone, `${edited}\n`, "hash-object", "-t", "commit", "-w", "--stdin");
  const index = git(clone, "rev-parse", "refs/kv-remotes/origin/kv-index/main");
  const label = text.replace("Parent-Epoch: e1", "Parent-Epoch: e9");
  for (const oid of [
    forged(label.replace("KV-NS: main", "KV-NS: other")),
    forged(label.replace("KV-Seq: 2", "KV-Seq: 2000")),
    index,
  ]) {
    git(clone, "update-ref", TRACKED, oid);
    expect(await begin()).toEqual([first, "e1"]);
  }
});
