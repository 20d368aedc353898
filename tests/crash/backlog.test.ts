/**
 * kill -9 with a backlog that the mirror has not got, and a clock that was set back: the mirror catches up, and nothing counts below
 * zero. GIT_KV_BACKLOG sets how many transactions (`make soak`: 500).
 */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { Journal } from "../../src/stargate/journal.ts";
import { stargateDir } from "../../src/stargate/settings.ts";
import { stargateRepository, startDaemon } from "../support/daemon-process.ts";
import { fsck, git, tryGit } from "../support/git.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { attachTracer, GROWING } from "../support/syscall-tracer.ts";
import { tempDir } from "../support/temp.ts";

const BACKLOG = Number(process.env.GIT_KV_BACKLOG ?? 60);
const HOUR = 60 * 60_000;

setDefaultTimeout(120_000 + BACKLOG * 1_000);

function host(): string {
  const dir = path.join(tempDir("host"), "mirror.git");
  git("/", "init", "-q", "--bare", "-b", "main", dir);
  return dir;
}

const tipOf = (dir: string, ref: string): string =>
  tryGit(dir, ["rev-parse", "-q", "--verify", ref]).stdout.toString().trim();

/** Waits until the mirror is where the Stargate is. */
async function caughtUp(mirror: string, dir: string, ns = "main"): Promise<void> {
  const end = Date.now() + 60_000;
  for (; tipOf(mirror, `refs/kv-mirror/${ns}`) !== tipOf(dir, `refs/kv/${ns}`); await Bun.sleep(20)) {
    if (Date.now() > end) throw new Error("the mirror did not catch up");
  }
}

test(`${BACKLOG} transactions that the mirror has not got outlive a kill`, async () => {
  const mirror = host();
  const { dir, token } = stargateRepository(["--mirror-remote", mirror]);
  // The host is down.
  fs.renameSync(mirror, `${mirror}.away`);
  const daemon = await startDaemon(dir, token);
  const client = new TestClient(dir, daemon.address);
  for (let i = 0; i < BACKLOG; i++) await client.set({ [`k${i % 20}`]: String(i) }, i % 5 === 0 ? "other" : "main");
  await daemon.kill();
  const journal = new Journal(stargateDir(dir));
  expect(journal.backlog("main").count + journal.backlog("other").count).toBe(BACKLOG);
  journal.close();
  fs.renameSync(`${mirror}.away`, mirror);
  const again = await startDaemon(dir, token);
  for (const ns of ["main", "other"]) {
    await caughtUp(mirror, dir, ns);
    for (const ref of [`refs/kv/${ns}`, `refs/kv-index/${ns}`]) expect(tipOf(mirror, ref)).toBe(tipOf(dir, ref));
  }
  await again.stop();
  expect([
    git(mirror, "rev-list", "--count", "refs/kv/main"),
    git(mirror, "rev-list", "--count", "refs/kv/other"),
  ]).toEqual([String(BACKLOG * 0.8), String(BACKLOG * 0.2)]);
  const after = new Journal(stargateDir(dir));
  expect(after.backlog("main").count + after.backlog("other").count).toBe(0);
  after.close();
  expect([fsck(dir), fsck(mirror)]).toEqual(["", ""]);
});

test("a disk that is full while the mirror is brought up to date loses nothing, and the mirror follows when there is room", async () => {
  const mirror = host();
  const { dir, token } = stargateRepository(["--mirror-remote", mirror]);
  fs.appendFileSync(path.join(dir, "stargate.yaml"), "mirror: { burst: 100, interval: 100ms, refresh: 200ms }\n");
  fs.renameSync(mirror, `${mirror}.away`);
  let daemon = await startDaemon(dir, token);
  const client = new TestClient(dir, daemon.address);
  for (let i = 0; i < 20; i++) await client.set({ [`k${i}`]: String(i) });
  // Every call from the first one on: the daemon's own files, the mirror's, which is on the same disk, and the log.
  const full = { kind: "fail", error: "ENOSPC", on: true, at: { name: "write", before: new Map() } } as const;
  const tracer = await attachTracer(daemon.pid, GROWING, full);
  fs.renameSync(`${mirror}.away`, mirror);
  const failed = (): boolean => tracer.seen().some((line) => /mirror\.git.*\(INJECTED\)/.test(line));
  for (const end = Date.now() + 60_000; daemon.isRunning() && !failed(); await Bun.sleep(20)) {
    if (Date.now() > end) throw new Error(`nothing failed: ${tracer.seen().join("\n")}`);
  }
  // The watermark is where the mirror's ledger is, wherever that is.
  expect(tipOf(mirror, "refs/kv-mirror/main")).toBe(tipOf(mirror, "refs/kv/main"));
  await tracer.detach();
  if (!daemon.isRunning()) daemon = await startDaemon(dir, token);
  await caughtUp(mirror, dir);
  await new TestClient(dir, daemon.address).set({ after: "1" });
  await caughtUp(mirror, dir);
  await daemon.stop();
  expect(git(mirror, "rev-list", "--count", "refs/kv/main")).toBe("21");
  const journal = new Journal(stargateDir(dir));
  expect(journal.backlog("main").count).toBe(0);
  journal.close();
  expect([fsck(dir), fsck(mirror)]).toEqual(["", ""]);
});

test("a clock that is set back an hour, under way and across a restart, does no harm", async () => {
  const mirror = host();
  let shift = 0;
  const clock = { ...systemClock, now: () => Date.now() + shift };
  const first = await TestStargate.start({ mirror, clock });
  const { dir } = first;
  const token = first.token();
  const client = new TestClient(dir, first.loginUrl(token));
  await client.set({ a: "1" });
  await caughtUp(mirror, dir);
  shift = -HOUR;
  await client.set({ a: "2" });
  await caughtUp(mirror, dir);
  const late = client.plan({ a: "3" });
  await first.stop();
  const second = await TestStargate.start({ dir, clock });
  const other = new TestClient(dir, second.loginUrl(token));
  await other.push(late);
  await caughtUp(mirror, dir);
  shift = HOUR;
  await other.set({ a: "4" });
  await caughtUp(mirror, dir);
  expect(git(dir, "rev-list", "--count", "refs/kv/main")).toBe("4");
  const status = (await (await fetch(`${second.loginUrl(token)}/kv/status`)).json()) as {
    namespaces: { backlog: number; lag: number }[];
  };
  expect(status.namespaces).toMatchObject([{ backlog: 0, lag: 0 }]);
  await second.stop();
  const journal = new Journal(stargateDir(dir));
  // In the order they came, whatever the clock said.
  expect(journal.accepted({ limit: 9, ns: "main" }).map(({ seq }) => seq)).toEqual([4, 3, 2, 1]);
  journal.close();
});
