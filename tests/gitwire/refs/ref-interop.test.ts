/** Stock git and other processes at work on the same refs at the same time. */

import { expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../../src/errors.ts";
import { gitInput } from "../../support/git.ts";
import { complaints, gitValues, leftovers, makeFixture, newRepository, openRefs, values } from "./fixture.ts";

const fixture = makeFixture();
const MILLISECONDS = 1500;

/** Runs a git command over and over until the deadline, and until it worked `least` times; counts how often it worked. */
async function repeatGit(dir: string, args: readonly string[], deadline: number, least: number): Promise<number> {
  let worked = 0;
  while (Date.now() < deadline || worked < least) {
    const child = spawn("git", args as string[], { cwd: dir, stdio: "ignore" });
    if ((await ended(child)) === 0) worked++;
  }
  return worked;
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.on("close", (status) => resolve(status)));
}

test("readers in another process see both refs of a transaction or none, while git packs refs", async () => {
  const [first, second] = fixture.commits as [string, string];
  const dir = newRepository(fixture, { loose: { "refs/kv/a": first, "refs/kv/b": first } });
  const deadline = Date.now() + MILLISECONDS;
  const reader = spawn(process.execPath, [path.join(import.meta.dir, "read-child.ts"), dir, String(deadline)]);
  const readerEnded = ended(reader);
  let output = "";
  reader.stdout.on("data", (chunk) => (output += chunk));
  reader.stderr.on("data", (chunk) => (output += chunk));
  const packing = repeatGit(dir, ["pack-refs", "--all"], deadline, 3);
  const store = openRefs(dir, fixture);
  let moves = 0;
  for (let value = first; Date.now() < deadline || moves < 9; moves++) {
    const next = value === first ? second : first;
    await store.update(["refs/kv/a", "refs/kv/b"].map((name) => ({ name, oldOid: value, newOid: next })));
    // A loose file, so that the next move has to take it out of the way.
    if (moves % 2 === 0) await store.update([{ name: moves % 4 === 0 ? "refs/kv/a" : "refs/kv/b", newOid: next }]);
    value = next;
    await Bun.sleep(0);
  }
  expect(await packing).toBeGreaterThan(2);
  await readerEnded;
  expect(output).toMatch(/^[0-9]+ reads, 0 torn\n$/);
  expect(Number(output.split(" ")[0])).toBeGreaterThan(10);
  expect(moves).toBeGreaterThan(8);
  expect(values(store)).toEqual(gitValues(dir));
  expect(leftovers(dir)).toEqual([]);
});

/**
 * Commits none of which a ref ever has twice: `git pack-refs` removes a loose file that holds again what it packed a while
 * ago, although packed-refs has moved on meanwhile, and the ref falls back (seen with 2.39). No ledger goes in circles.
 */
function distinctCommits(dir: string, count: number): string[] {
  const lines = Array.from(
    { length: count },
    (_, i) => `commit refs/heads/chain\nmark :${i + 1}\ncommitter A <a@b> ${i} +0000\ndata 0\n`,
  );
  gitInput(dir, lines.join(""), "fast-import", "--quiet", "--export-marks=marks");
  const marks = fs.readFileSync(path.join(dir, "marks"), "utf8").trim().split("\n");
  const oids: string[] = [];
  for (const line of marks) oids[Number(line.slice(1, line.indexOf(" "))) - 1] = line.slice(line.indexOf(" ") + 1);
  return oids;
}

test("no update is lost between us and git update-ref, pack-refs and gc", async () => {
  const commits = distinctCommits(fixture.dir, 2000);
  const dir = newRepository(fixture, {
    packed: { "refs/kv/a": commits[0]!, "refs/kv/b": commits[0]!, "refs/heads/main": commits[0]! },
  });
  const store = openRefs(dir, fixture);
  const deadline = Date.now() + MILLISECONDS;
  const packing = repeatGit(dir, ["pack-refs", "--all"], deadline, 6);
  const collecting = repeatGit(dir, ["-c", "gc.auto=1", "gc", "--quiet"], deadline, 1);
  const gitsRef = (async () => {
    let at = 0;
    let worked = 0;
    while (Date.now() < deadline || worked < 6) {
      const to = at + 1;
      const child = spawn("git", ["update-ref", "refs/heads/main", commits[to]!, commits[at]!], {
        cwd: dir,
        stdio: "ignore",
      });
      if ((await ended(child)) === 0) {
        at = to;
        worked++;
      } else expect(store.resolve("refs/heads/main")).toBe(commits[at]!);
    }
    return { at, worked };
  })();
  let ours = 0;
  let refused = 0;
  for (let at = 0; Date.now() < deadline || ours < 6 || ours <= refused; ) {
    const to = at + 1;
    try {
      const names = ours % 3 === 0 ? ["refs/kv/a"] : ["refs/kv/a", "refs/kv/b", "refs/heads/main"];
      // Our moves of main put it back where git left it, under the condition that it is still there.
      const main = store.resolve("refs/heads/main")!;
      await store.update(
        names.map((name) =>
          name === "refs/heads/main" ? { name, oldOid: main, newOid: main } : { name, newOid: commits[to]! },
        ),
      );
      at = to;
      ours++;
      expect(store.resolve("refs/kv/a")).toBe(commits[at]!);
    } catch (error) {
      expect(error).toBeInstanceOf(KvError);
      expect(["CAS_CONFLICT", "LOCKED"]).toContain((error as KvError).code);
      refused++;
    }
    await Bun.sleep(1);
  }
  const gits = await gitsRef;
  expect(await packing).toBeGreaterThan(5);
  expect(await collecting).toBeGreaterThan(0);
  expect(store.resolve("refs/heads/main")).toBe(commits[gits.at]!);
  expect(gits.worked).toBeGreaterThan(5);
  expect(ours).toBeGreaterThan(refused);
  expect(values(store)).toEqual(gitValues(dir));
  expect(complaints(dir)).toBe("");
  expect(leftovers(dir).filter((name) => !name.startsWith("gc"))).toEqual([]);
});

test("many writers of one process: each transaction sees the one before", async () => {
  const { commits } = fixture;
  const dir = newRepository(fixture, { loose: { "refs/kv/a": commits[0]!, "refs/kv/b": commits[0]! } });
  let won = 0;
  let lost = 0;
  const writer = async (): Promise<void> => {
    const store = openRefs(dir, fixture);
    for (let i = 0; i < 10; i++) {
      const at = store.resolve("refs/kv/a")!;
      const to = commits[(commits.indexOf(at) + 1) % 6]!;
      try {
        await store.update(["refs/kv/a", "refs/kv/b"].map((name) => ({ name, oldOid: at, newOid: to })));
        won++;
      } catch (error) {
        expect((error as KvError).code).toBe("CAS_CONFLICT");
        lost++;
      }
    }
    store.close();
  };
  await Promise.all(Array.from({ length: 6 }, writer));
  expect(won + lost).toBe(60);
  const store = openRefs(dir, fixture);
  expect(store.resolve("refs/kv/a")).toBe(commits[won % 6]!);
  expect(store.resolve("refs/kv/b")).toBe(commits[won % 6]!);
});
