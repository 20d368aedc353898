/** Reads that ask the mirror first, where `kv.autoFetch` says so. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { commit } from "../../src/kv/commit.ts";
import { parseKey } from "../../src/kv/key.ts";
import { openKv } from "../../src/kv/open-kv.ts";
import { stateToRead } from "../../src/kv/read-from.ts";
import { Workspace } from "../../src/kv/workspace.ts";
import { failureOf } from "../support/failure.ts";
import { git } from "../support/git.ts";
import { kv, kvOk } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { countingClock, newRepository, workspaceAt } from "../support/workspace.ts";

/** A store that stands for the mirror, and a clone of it that has its first transaction. */
async function world() {
  const mirror = newRepository(TEST_FORMAT);
  const origin = workspaceAt(mirror);
  await commit(origin, { create: { epoch: "e1" } }, () => {});
  const clone = path.join(tempDir("clone"), "c");
  git("/", "init", "-q", `--object-format=${TEST_FORMAT.name}`, clone);
  git(clone, "remote", "add", "origin", mirror);
  kvOk(clone, "fetch");
  const write = async (text: string): Promise<void> => {
    const options = { ctype: undefined, expires: undefined, labels: undefined };
    const value = { kind: "bytes", data: Buffer.from(text) } as const;
    await commit(origin, { message: undefined }, (use) =>
      use({ op: "set", key: parseKey("k"), value, options, condition: undefined }),
    );
  };
  return { mirror, clone, write };
}

/** A read of the clone in a process of its own, as it were: the seq it sees and what it warns of. */
async function look(dir: string, clock = countingClock()): Promise<{ seq: number; warnings: string[] }> {
  const warnings: string[] = [];
  const { repo, around } = workspaceAt(dir);
  const workspace = new Workspace(repo, undefined, { ...around, clock, warn: (text) => void warnings.push(text) });
  const { seq } = (await stateToRead(workspace)).ledger;
  repo.close();
  return { seq, warnings };
}

test("not without the setting; with true at every read; with a duration when it is over", async () => {
  const { clone, write } = await world();
  await write("1");
  expect((await look(clone)).seq).toBe(1);
  git(clone, "config", "kv.autoFetch", "false");
  expect((await look(clone)).seq).toBe(1);
  git(clone, "config", "kv.autoFetch", "true");
  expect(await look(clone)).toEqual({ seq: 2, warnings: [] });
  await write("2");
  expect((await look(clone)).seq).toBe(3);
  git(clone, "config", "kv.autoFetch", "10m");
  const clock = countingClock();
  expect((await look(clone, clock)).seq).toBe(3);
  await write("3");
  clock.at += 599_000;
  expect((await look(clone, clock)).seq).toBe(3);
  clock.at += 1_000;
  expect((await look(clone, clock)).seq).toBe(4);
  await write("4");
  expect((await look(clone, clock)).seq).toBe(4);
  // A clock that was ahead when the stamp was set keeps nobody from looking.
  clock.at -= 3_600_000;
  expect((await look(clone, clock)).seq).toBe(5);
  git(clone, "config", "kv.autoFetch", "soon");
  expect((await failureOf(look(clone))).code).toBe("CONFIG");
  git(clone, "config", "kv.autoFetch", "10 parsecs");
  expect((await failureOf(look(clone))).message).toBe(
    "kv.autoFetch: '10 parsecs' is neither true nor false nor a duration",
  );
});

test("a mirror that is away is told, what is here is read, and it is asked again when the duration is over", async () => {
  const { mirror, clone, write } = await world();
  git(clone, "config", "kv.autoFetch", "1h");
  fs.renameSync(mirror, `${mirror}.away`);
  const clock = countingClock();
  const first = await look(clone, clock);
  expect([first.seq, first.warnings]).toEqual([
    1,
    [expect.stringMatching(/^kv\.autoFetch: .*; what is here is read$/s)],
  ]);
  fs.renameSync(`${mirror}.away`, mirror);
  await write("1");
  expect(await look(clone, clock)).toEqual({ seq: 1, warnings: [] });
  clock.at += 3_600_000;
  expect(await look(clone, clock)).toEqual({ seq: 2, warnings: [] });
  // Without a remote there is nobody to ask.
  git(clone, "config", "kv.autoFetch", "true");
  git(clone, "remote", "remove", "origin");
  await write("2");
  expect(await look(clone)).toEqual({ seq: 2, warnings: [] });
}, 30_000);

test("every command that reads the newest state asks, and so does the library", async () => {
  const { clone, write } = await world();
  git(clone, "config", "kv.autoFetch", "true");
  await write("a");
  expect(kvOk(clone, "get", "k")).toBe("a");
  const reads: [string[], RegExp][] = [
    [["list"], /^k$/],
    [["history", "k", "-n", "1"], /\tset\t(\d+)\t/],
    [["log", "-n", "1"], /\t\+1\t/],
    [["diff", "-1", "--patch"], /\+ ?4$/],
    [["snapshot", "--export", "-"], /"value":"5"/],
  ];
  for (const [i, [args, expected]] of reads.entries()) {
    await write(String(i + 1));
    const before = git(clone, "rev-parse", "refs/kv-remotes/origin/kv/main");
    const { status, stdout, stderr } = kv(clone, ...args);
    expect([args, status, stderr]).toEqual([args, 0, expect.not.stringContaining("error")]);
    expect(stdout.trimEnd()).toMatch(expected);
    expect(git(clone, "rev-parse", "refs/kv-remotes/origin/kv/main")).not.toBe(before);
  }
  await write("last");
  const store = openKv({ dir: clone });
  expect((await store.get("k"))?.text()).toBe("last");
  store.close();
}, 30_000);
