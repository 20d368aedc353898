/**
 * What is left when a transaction fails or is killed at any of its calls to the disk: all refs old or all new, readable by
 * git as they are, and nobody blocked: the next transaction clears the dead one's locks away, and then git works too.
 */

import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import type { RefChange } from "../../../src/gitwire/refs/ref-transaction.ts";
import { git, gitInput } from "../../support/git.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import {
  complaints,
  type Fault,
  faultyDisk,
  GONE,
  gitValues,
  leftovers,
  makeFixture,
  newRepository,
  openRefs,
  type Start,
  values,
} from "./fixture.ts";

const fixture = makeFixture();
const [C0, C1, C2] = fixture.commits as [string, string, string];
const ZERO = TEST_FORMAT.zeroOid;

const SCENARIOS: readonly (readonly [name: string, start: Start, changes: readonly RefChange[]])[] = [
  [
    "several refs, some loose, one new, one deleted",
    {
      loose: { "refs/kv/main": C0, "refs/heads/kv/main": C0 },
      packed: {
        "refs/kv-index/main": C0,
        "refs/kv/main": C1,
        "refs/kv-epoch/main": C0,
        "refs/tags/t": fixture.tag,
        "refs/a/b": C2,
      },
    },
    [
      { name: "refs/kv/main", oldOid: C0, newOid: C2 },
      { name: "refs/kv-index/main", oldOid: C0, newOid: C2 },
      { name: "refs/kv-chunks/main@e1", oldOid: ZERO, newOid: C2 },
      { name: "refs/kv-epoch/main", oldOid: C0, newOid: ZERO },
      { name: "refs/heads/kv/main", oldOid: C0, newOid: C1 },
    ],
  ],
  [
    "several refs, all packed",
    { packed: { "refs/kv/main": C0, "refs/kv-index/main": C0 } },
    [
      { name: "refs/kv/main", newOid: C2 },
      { name: "refs/kv-index/main", newOid: C2 },
    ],
  ],
  [
    "several refs in an empty repository",
    {},
    [
      { name: "refs/kv/main", newOid: C2 },
      { name: "refs/kv-index/main", newOid: C2 },
    ],
  ],
  [
    "several deletions of loose refs over packed ones",
    { loose: { "refs/kv/a": C0, "refs/kv/b": C0 }, packed: { "refs/kv/a": C1, "refs/kv/b": C1 } },
    [
      { name: "refs/kv/a", newOid: ZERO },
      { name: "refs/kv/b", newOid: ZERO },
    ],
  ],
  ["one ref over a packed one", { packed: { "refs/kv/a": C0 } }, [{ name: "refs/kv/a", oldOid: C0, newOid: C1 }]],
  ["one new ref in new folders", {}, [{ name: "refs/x/y/z", oldOid: ZERO, newOid: C1 }]],
  [
    "one deletion of a loose ref over another value packed",
    { loose: { "refs/kv/a": C0 }, packed: { "refs/kv/a": C1, "refs/kv/b": C1 } },
    [{ name: "refs/kv/a", oldOid: C0, newOid: ZERO }],
  ],
  ["one deletion of a packed ref", { packed: { "refs/kv/a": C1 } }, [{ name: "refs/kv/a", newOid: ZERO }]],
];

/** Runs the transaction on a disk that fails at call `n`; true when the disk was not asked so often. */
async function run(dir: string, changes: readonly RefChange[], n: number, fault: Fault): Promise<boolean> {
  const disk = faultyDisk(n, fault);
  const store = openRefs(dir, fixture, { disk, lockWait: 0, ...(fault === "once" ? {} : { identity: GONE }) });
  try {
    await store.update(changes);
  } catch (error) {
    expect(error).toMatchObject({ code: "STORAGE" });
  } finally {
    store.close();
  }
  return disk.calls() <= n;
}

/** Makes the records in the repository look as if they had been written an hour ago. */
function ageRecords(dir: string): void {
  const then = new Date(Date.now() - 3_600_000);
  for (const name of leftovers(dir)) if (name.startsWith("git-kv-")) fs.utimesSync(path.join(dir, name), then, then);
}

for (const fault of ["once", "killed", "torn"] as const) {
  test.each(SCENARIOS)(`${fault} at every call: %s`, async (_, start, changes) => {
    const before = { ...start.packed, ...start.loose };
    const after: Record<string, string> = { ...before };
    for (const { name, newOid } of changes) {
      if (newOid === ZERO) delete after[name];
      else after[name] = newOid;
    }
    const seen = new Set<string>();
    let n = 0;
    for (let done = false; !done; n++) {
      const dir = newRepository(fixture, start);
      done = await run(dir, changes, n, fault);
      const store = openRefs(dir, fixture, { lockWait: 0 });
      const left = values(store);
      const state = Bun.deepEquals(left, before) ? "old" : "new";
      expect({ n, refs: left }).toEqual({ n, refs: state === "old" ? before : after });
      seen.add(state);
      const readByGit = n % 8 === 0 || done;
      if (readByGit) expect(gitValues(dir)).toEqual(left);
      if (fault === "torn") ageRecords(dir);
      if (fault === "once") expect({ n, left: leftovers(dir).length <= 2 }).toEqual({ n, left: true });
      // Somebody else comes along and does not wait: the transaction can be made now.
      await store.update(changes.map(({ name }) => ({ name, newOid: C2 })));
      expect({ n, left: leftovers(dir) }).toEqual({ n, left: [] });
      if (readByGit) {
        gitInput(dir, changes.map(({ name }) => `update ${name} ${C1}\n`).join(""), "update-ref", "--stdin");
        git(dir, "pack-refs", "--all");
        if (done) expect(complaints(dir)).toBe("");
      }
      store.close();
    }
    expect(n).toBeGreaterThan(5);
    expect([...seen].sort()).toEqual(["new", "old"]);
  });
}

test("a process killed with SIGKILL at a call of the disk", async () => {
  const changes = SCENARIOS[0]![2];
  const child = path.join(import.meta.dir, "crash-child.ts");
  const states: string[] = [];
  for (let n = 0; n < 40; n += 3) {
    const dir = newRepository(fixture, SCENARIOS[0]![1]);
    const killed = spawnSync(process.execPath, [child, dir, String(n), JSON.stringify(changes)], { encoding: "utf8" });
    expect(killed.stderr).toBe("");
    const store = openRefs(dir, fixture, { lockWait: 0 });
    const left = values(store);
    const isNew = left["refs/kv/main"] === C2;
    for (const { name, oldOid, newOid } of changes) expect(left[name] ?? ZERO).toBe(isNew ? newOid : oldOid!);
    states.push(killed.signal === null ? "whole" : isNew ? "new" : "old");
    const blocked = leftovers(dir).length > 0;
    expect(await store.recover()).toBe(blocked ? 1 : 0);
    await store.update(changes.map(({ name }) => ({ name, newOid: C1 })));
    expect(leftovers(dir)).toEqual([]);
    git(dir, "update-ref", "refs/kv/main", C0);
    store.close();
  }
  expect([...new Set(states)].sort()).toEqual(["new", "old", "whole"]);
}, 60_000);

test("recover leaves alone what lives, and what it cannot know unless it is told", async () => {
  const dir = newRepository(fixture);
  const alive = path.join(dir, "refs/heads/git.lock");
  fs.writeFileSync(alive, "");
  const elsewhere =
    "git-kv lock 1 00000000000000aa 1 1 other-boot ns other-host\nrefs/heads/e.lock\nrefs/../../escape.lock\n";
  fs.writeFileSync(path.join(dir, "git-kv-00000000000000aa.lock"), elsewhere);
  fs.linkSync(path.join(dir, "git-kv-00000000000000aa.lock"), path.join(dir, "refs/heads/e.lock"));
  const store = openRefs(dir, fixture);
  expect(await store.recover()).toBe(0);
  expect(leftovers(dir).length).toBe(3);
  expect(await store.recover(true)).toBe(1);
  expect(leftovers(dir)).toEqual(["refs/heads/git.lock"]);
});
