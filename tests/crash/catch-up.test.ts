/**
 * kill -9 and a full disk at the system calls of `init --catch-up` that change something: the refs are all as they were or all as the mirror's,
 * and the next one makes up for it, whatever the first has left behind. `make crash` tries every call, `make test` a sample.
 */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { makeBackup } from "../../src/stargate/backup/make-backup.ts";
import { openPlace } from "../../src/stargate/backup/place.ts";
import { restoreBackup } from "../../src/stargate/backup/restore-backup.ts";
import { executable } from "../support/executable.ts";
import { fsck, git } from "../support/git.ts";
import { fromSeed, random } from "../support/random.ts";
import { large, policyPush, TestClient, TestStargate, verdict } from "../support/stargate.ts";
import { CHANGING, callPoints, type Fault, GROWING, traceRun } from "../support/syscall-tracer.ts";
import { tempDir } from "../support/temp.ts";

const EVERY = process.env.GIT_KV_CRASH === "all";
/** Points of each kind that `make test` tries. */
const SAMPLE = 3;

setDefaultTimeout(EVERY ? 30 * 60_000 : 120_000);

const numbers = random("points of a catch-up");
const around = { env: process.env, clock: systemClock, signal: new AbortController().signal, progress: () => {} };
let restored: string;
let wanted: string;
let stargate: TestStargate;

/** A backup, and a mirror that has had transactions, pieces, a policy and another namespace since. */
beforeAll(async () => {
  const mirror = path.join(tempDir("host"), "mirror.git");
  git("/", "init", "-q", "--bare", mirror);
  stargate = await TestStargate.start({ mirror });
  const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("admin")));
  await client.set({ a: "1" });
  const place = openPlace(tempDir("backup"), "/", {});
  const repo = openRepository(stargate.dir);
  await makeBackup({ repo, place, full: false, ...around });
  repo.close();
  for (let i = 0; i < 5; i++) await client.set({ [`k${i}`]: "1" });
  await client.set({ big: large(Buffer.from(fromSeed(9).bytes(1_200_000))) });
  expect(verdict(await client.push(policyPush(client, "version: 1\nnamespaces: { main: { verify: replay } }\n")))).toBe(
    "ok",
  );
  const last = await client.set({ a: "2" });
  for (const end = Date.now() + 20_000; !git(mirror, "for-each-ref").includes(`${last} commit\trefs/kv-mirror`); )
    if (Date.now() < end) await Bun.sleep(20);
    else throw new Error("the mirror does not follow");
  wanted = kvRefs(stargate.dir);
  restored = path.join(tempDir("restored"), "kv.git");
  const program = [executable("git-kv-stargate")];
  await restoreBackup({ place, dir: restored, at: undefined, check: false, program, ...around });
});
afterAll(() => stargate.stop());

const kvRefs = (dir: string): string => git(dir, "for-each-ref", "refs/kv*/**");

function copyOf(dir: string): string {
  const copy = path.join(tempDir("copy"), "kv.git");
  fs.cpSync(dir, copy, { recursive: true });
  return copy;
}

const catchUp = (dir: string): string[] => [executable("git-kv-stargate"), "init", "--repo", dir, "--catch-up"];

async function run(...args: string[]): Promise<{ status: number; said: string }> {
  const child = Bun.spawn(args, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { status: await child.exited, said: out + err };
}

const kinds: [string, readonly string[], (at: Fault["at"]) => Fault][] = [
  ["kill -9", CHANGING, (at) => ({ kind: "kill", at })],
  ["ENOSPC until there is room", GROWING, (at) => ({ kind: "fail", error: "ENOSPC", at, on: true })],
];

test.each(kinds)("%s", async (name, calls, fault) => {
  const lines = await traceRun(catchUp(copyOf(restored)), calls);
  const points = callPoints(lines)
    .map((point, i) => ({ point, line: `call ${i + 1} of ${lines.length}: ${lines[i]}` }))
    .filter(({ line }) => !/\(\d+<(?:anon_inode|socket|pipe):/.test(line));
  expect(points.length).toBeGreaterThan(20);
  const before = kvRefs(restored);
  const seen = new Set<string>();
  for (const { point, line } of EVERY ? points : numbers.shuffle(points).slice(0, SAMPLE)) {
    const dir = copyOf(restored);
    try {
      await traceRun(catchUp(dir), calls, fault(point));
      const refs = kvRefs(dir);
      expect([before, wanted]).toContain(refs);
      seen.add(refs);
      const check = await run(executable("git-kv-stargate"), "fsck", "--repo", dir);
      // Before it began the hooks may be half written.
      if (refs === wanted) expect(check).toMatchObject({ status: 0 });
      expect(await run(...catchUp(dir))).toMatchObject({ status: 0 });
      expect(kvRefs(dir)).toBe(wanted);
      expect(await run(executable("git-kv-stargate"), "fsck", "--repo", dir)).toMatchObject({ status: 0 });
      expect(fsck(dir)).toBe("");
      expect(fs.readdirSync(path.join(dir, "stargate")).filter((one) => one.startsWith("look-"))).toEqual([]);
    } catch (error) {
      console.error(`${name} at ${line}`);
      throw error;
    }
    fs.rmSync(path.dirname(dir), { recursive: true });
  }
  if (EVERY) console.log(`${name}: ${points.length} calls, refs ${seen.size === 2 ? "of both kinds" : "of one kind"}`);
});
