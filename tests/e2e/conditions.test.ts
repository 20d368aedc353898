/** Conditions with the compiled executables and a real Stargate: many processes at one ledger, and none loses anything. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { fetchAccepted } from "../../src/kv/fetch.ts";
import { Workspace } from "../../src/kv/workspace.ts";
import { executable, type Run, runProgram } from "../support/executable.ts";
import { fsck, git } from "../support/git.ts";
import { ENV, kv, kvOk, Scene } from "../support/scene.ts";

const SLOW = 120_000;

/** Runs git-kv in `dir` beside others. */
async function kvAside(dir: string, ...args: string[]): Promise<Run> {
  const child = Bun.spawn([executable("git-kv"), ...args], { cwd: dir, env: ENV, stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { status: await child.exited, signal: null, stdout, stderr };
}

describe("conditions", () => {
  let scene: Scene;
  let one: string;
  let two: string;
  beforeAll(async () => {
    scene = await Scene.start();
    one = scene.clone("one");
    two = scene.clone("two");
  }, SLOW);
  afterAll(async () => {
    await scene.serving.stop();
  });

  test(
    "two processes that increment one counter lose no increment",
    async () => {
      kvOk(one, "set", "counter", "0");
      const each = 5;
      /** Reads, adds one, and writes where nobody else has meanwhile. */
      const increment = async (dir: string): Promise<void> => {
        for (;;) {
          const read = JSON.parse(kvOk(dir, "get", "counter", "--read-from", "stargate", "--json"));
          const done = await kvAside(dir, "set", "counter", String(Number(read.value) + 1), "--expect-blob", read.oid);
          if (done.status === 0) return;
          expect([done.status, done.stderr]).toEqual([2, expect.stringMatching(/^error: key "counter" is at blob/)]);
        }
      };
      const worker = async (dir: string): Promise<void> => {
        for (let i = 0; i < each; i++) await increment(dir);
      };
      await Promise.all([worker(one), worker(two)]);
      expect(kv(one, "get", "counter", "--read-from=stargate").stdout).toBe(String(2 * each));
      expect(JSON.parse(kvOk(one, "get", "counter", "--json")).rev).toBe(2 * each + 1);
    },
    SLOW,
  );

  test(
    "32 writers of different keys all succeed",
    async () => {
      const before = Number(git(scene.repo, "rev-list", "--count", "refs/kv/main"));
      const writers = Array.from({ length: 32 }, (_, i) =>
        kvAside(i % 2 === 0 ? one : two, "set", `many:${i}`, `${i}`),
      );
      for (const { status, stderr } of await Promise.all(writers)) expect([status, stderr]).toEqual([0, ""]);
      expect(kvOk(one, "list", "--prefix", "many:", "--count", "--read-from=stargate")).toBe("32");
      expect(Number(git(scene.repo, "rev-list", "--count", "refs/kv/main"))).toBe(before + 32);
      expect(fsck(scene.repo)).toBe("");
    },
    SLOW,
  );

  test(
    "a clone that is behind is told what is true now",
    () => {
      kvOk(one, "set", "state", "old");
      kvOk(two, "fetch", "--read-from=stargate");
      const oid = JSON.parse(kvOk(one, "set", "state", "new", "--json")).oid;
      const blob = JSON.parse(kvOk(one, "get", "state", "--json")).oid;
      const tree = git(one, "rev-parse", `${oid}^{tree}`);
      // Two still knows "old": neither is that value there any more, nor are these conditions out of date.
      expect(JSON.parse(kvOk(two, "set", "state", "old", "--json"))).toMatchObject({ rev: 3 });
      kvOk(one, "set", "only-one-knows", "1");
      kvOk(two, "set", "state", "next", "--expect-blob", JSON.parse(kvOk(two, "get", "state", "--json")).oid);
      kvOk(one, "set", "gone", "1");
      kvOk(two, "del", "gone");
      expect(kv(one, "set", "state", "x", "--expect-tree", tree).status).toBe(2);
      expect(kv(one, "cas", "set", "state", "x", "--expect-tree", tree, "--expect-blob", blob).status).toBe(2);
      const now = JSON.parse(kvOk(one, "get", "state", "--json", "--read-from=stargate")).oid;
      const at = git(one, "rev-parse", "refs/kv/main^{tree}");
      kvOk(one, "set", "elsewhere", "1");
      // Behind again, two demands a state that only the others have seen.
      const tip = git(one, "rev-parse", "refs/kv/main^{tree}");
      expect(kv(two, "cas", "set", "state", "y", "--expect-tree", at, "--expect-blob", now).status).toBe(2);
      kvOk(two, "cas", "set", "state", "y", "--expect-tree", tip, "--expect-blob", now);
      expect(kv(one, "cas", "set", "state", "z", "--expect-blob", now).status).toBe(64);
    },
    SLOW,
  );

  test(
    "a clock that is wrong is warned about, once, over HTTP and by the ledger",
    async () => {
      // The Stargate's own clock is the real one; the clone's is told by what it reads.
      const around = (offset: number, warnings: string[]) => ({
        env: ENV,
        clock: { ...systemClock, now: () => Date.now() + offset },
        signal: new AbortController().signal,
        progress: () => {},
        warn: (text: string) => void warnings.push(text),
      });
      const fetchWith = async (offset: number): Promise<string[]> => {
        const warnings: string[] = [];
        const workspace = new Workspace(openRepository(one, ENV), undefined, around(offset, warnings));
        await fetchAccepted(workspace);
        await fetchAccepted(workspace);
        return warnings;
      };
      expect(await fetchWith(0)).toEqual([]);
      expect(await fetchWith(5 * 60_000)).toEqual([
        expect.stringMatching(/^the clock here is [45] min ahead of that of http:/),
      ]);
      expect(await fetchWith(-3 * 86_400_000)).toEqual([
        expect.stringMatching(/^the clock here is 3 days behind that of http:/),
      ]);
      kvOk(one, "set", "short", "v", "--ttl", "30d");
      const fromTomorrow = { ...ENV, GIT_COMMITTER_DATE: `@${Math.floor(Date.now() / 1000) + 86_400} +0000` };
      runProgram(executable("git-kv"), ["set", "x", "1"], { cwd: one, env: fromTomorrow });
      const read = kv(one, "get", "short");
      expect([read.status, read.stdout]).toEqual([0, "v"]);
      expect(read.stderr).toMatch(/^warning: the newest transaction was made 24 h from now, by the clock here/);
      expect(kv(one, "list").stderr).toContain("which keys have expired is uncertain");
      expect(kv(one, "get", "x").stderr).toBe("");
      expect(kv(one, "compact", "--dry-run").stderr).toContain("which keys have expired is uncertain");
      expect(kv(one, "set", "short", "w", "--ttl", "30d").stderr).toContain("one of the two clocks is wrong");
    },
    SLOW,
  );

  test(
    "conditions of a batch: each by itself, checks alone, and all or nothing",
    () => {
      const mset = (lines: object[], ...flags: string[]): Run => {
        const input = lines.map((line) => JSON.stringify(line)).join("\n");
        return runProgram(executable("git-kv"), ["mset", "--file", "-", "--json", ...flags], {
          cwd: one,
          env: ENV,
          input,
        });
      };
      expect(mset([{ op: "set", key: "a", value: "1" }], "--if-absent").status).toBe(0);
      const { oid, rev } = JSON.parse(kvOk(one, "get", "a", "--json"));
      const check = (condition: object): object => ({ op: "check", key: "a", if: condition });
      const tip = git(one, "rev-parse", "refs/kv/main");
      const held = mset([check({ blob: oid }), { op: "check", key: "b", if: { absent: true } }]);
      expect([held.status, JSON.parse(held.stdout)]).toEqual([
        0,
        expect.objectContaining({ oid: tip, unchanged: true }),
      ]);
      for (const lines of [
        [check({ rev: rev + 1 }), { op: "set", key: "b", value: "1" }],
        [
          { op: "set", key: "b", value: "1" },
          { op: "del", key: "a", if: { absent: true } },
        ],
        [check({ absent: true })],
      ]) {
        expect(mset(lines).status).toBe(2);
      }
      expect(
        mset(
          [
            { op: "set", key: "b", value: "1" },
            { op: "set", key: "a", value: "2" },
          ],
          "--if-absent",
        ).status,
      ).toBe(2);
      expect(kv(one, "get", "b").status).toBe(6);
      expect(git(one, "rev-parse", "refs/kv/main")).toBe(tip);
      const both = [
        { op: "set", key: "b", value: "1" },
        { op: "set", key: "a", value: "2", if: { rev } },
      ];
      expect(mset(both, "--if-absent").status).toBe(0);
      expect(kv(one, "get", "a").stdout).toBe("2");
    },
    SLOW,
  );
});
