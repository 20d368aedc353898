/**
 * What a Stargate takes to accept: signed one-key transactions of 1, 8 and 32 writers, in one namespace and in four, over loopback HTTP;
 * beside stock `git push` of such transactions (accept-stock.ts). Then fsyncs for each transaction, how far a local mirror is behind, the daemon's memory after many, and the repository after them beside the same
 * one freshly repacked.
 *
 * Our writers all live in this process, which shares the machine with the daemon. A daemon that runs has warm code: the first row is the
 * pushes right after its start, all others come after {@link WARM_UP}.
 */

import { Database } from "bun:sqlite";
import { freePort, stopDaemon } from "../../demo/shell.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { parseKey } from "../../src/kv/key.ts";
import { findKey, inlineValue } from "../../src/kv/read.ts";
import { readState } from "../../src/kv/state.ts";
import { TestKey } from "../../tests/support/test-key.ts";
import { bytesOf, median, peakOf, residentOf, timed, watchFamily } from "../measure.ts";
import type { Scratch } from "../scratch.ts";
import { commitPolicy, serve } from "../site.ts";
import { countSyscallsOf } from "../syscalls.ts";
import { atMost, plural, type Row, timesOther } from "../table.ts";
import { percentile, runWriters, showPercentiles } from "../writers.ts";
import { stockRows } from "./accept-stock.ts";
import type { Case } from "./case.ts";

const SERVER = "accept.git";
const MIRRORED_SERVER = "accept-mirrored.git";
const MIRROR = "accept-mirror.git";
/** Transactions a second while the lag of the mirror is measured. */
const MIRRORED = 50;

/** Whose signature the policy asks for. */
const WRITER = new TestKey("bench");
const POLICY = `version: 1
stargate:
  admins: ["${WRITER.line}"]
namespaces:
  "*":
    require_signed_commits: true
    verify: replay
    writers: ["${WRITER.line}"]
`;

const READS = 200;

/** The first pushes that a daemon takes. */
const COLD = 40;
/** Pushes until its code is warm. */
const WARM_UP = 600;

interface Running {
  readonly dir: string;
  readonly url: string;
  readonly pid: number;
  readonly sign: (commit: Buffer) => Buffer;
}

export const accept: Case = async ({ scratch, keys }) => {
  const isQuick = keys < 1_000_000;
  const running = await start(scratch, SERVER);
  const rows: Row[] = [];
  const perSecond = new Map<string, number>();
  const measure = async (writers: number, namespaces: readonly string[], count: number, when = ""): Promise<void> => {
    const { ms, pushMs, seconds, conflicts } = await runWriters({ ...running, writers, namespaces, count });
    perSecond.set(`${writers} ${namespaces.length}`, count / seconds);
    rows.push({
      name: `accept, ${plural(writers, "writer")}, ${plural(namespaces.length, "namespace")}${when}, p95 of a push`,
      unit: "ms",
      ours: percentile(pushMs, 0.95),
      ...(when === "" && { target: atMost(writers === 1 ? 15 : 150) }),
      extra: `${plural(count, "push")}: ${showPercentiles(pushMs)}; with planning and retries: ${showPercentiles(ms)}; ${(count / seconds).toFixed(0)} a second, ${conflicts} conflicts`,
    });
  };
  await measure(1, ["main"], COLD, ", just started");
  await runWriters({ ...running, writers: 1, namespaces: ["main"], count: WARM_UP });
  for (const namespaces of [["main"], ["a", "b", "c", "d"], letters(8)]) {
    for (const writers of namespaces.length === 8 ? [8] : [1, 8, 32]) {
      await runWriters({ ...running, writers, namespaces, count: 2 * writers });
      scratch.settle();
      await measure(writers, namespaces, isQuick ? 320 : 1_280);
    }
  }
  rows.push(...(await stockRows(scratch, WRITER, isQuick ? 5 : 20, perSecond)));
  rows.push(await fsyncRow(scratch, running));
  rows.push(await mirrorLagRow(scratch, isQuick ? 500 : 3_000));
  rows.push(...(await endurance(scratch, running, isQuick ? 2_000 : 100_000)));
  return rows;
};

function letters(count: number): string[] {
  return Array.from("abcdefghijklmnop".slice(0, count));
}

async function start(scratch: Scratch, server: string, options: readonly string[] = []): Promise<Running> {
  const port = await freePort();
  scratch.git("", "init", "-q", "--bare", "-b", "main", server);
  commitPolicy(scratch, server, POLICY);
  scratch.run("", [scratch.stargate, "init", "--repo", server, ...options]);
  const token = scratch.run("", [scratch.stargate, "token", "add", "--repo", server, "--name", "bench"]);
  const pid = await serve(scratch, server, port);
  const login = `bench:${token.stdout.toString().trim()}`;
  return {
    dir: scratch.path(server),
    url: `http://${login}@127.0.0.1:${port}/${server}`,
    pid,
    sign: (commit) => Buffer.from(WRITER.signCommit(commit.toString(), "gpgsig")),
  };
}

async function fsyncRow(scratch: Scratch, running: Running): Promise<Row> {
  const count = 20;
  let work: Promise<unknown> = Promise.resolve();
  // Packs are combined now and then: what that costs is part of it.
  const counts = await countSyscallsOf(scratch.root, running.pid, async () => {
    work = runWriters({ ...running, writers: 1, namespaces: ["main"], count });
    await work;
  });
  return {
    name: "fsyncs for each transaction",
    unit: "count",
    ours: (counts?.fsyncs ?? Number.NaN) / count,
    target: atMost(4),
    extra: counts === undefined ? "no strace here" : `${(counts.total / count).toFixed(0)} system calls`,
  };
}

/** How long what was accepted is not on a bare repository on the same disk, at {@link MIRRORED} transactions a second in four namespaces. */
async function mirrorLagRow(scratch: Scratch, count: number): Promise<Row> {
  scratch.git("", "init", "-q", "--bare", MIRROR);
  const running = await start(scratch, MIRRORED_SERVER, ["--mirror-remote", scratch.path(MIRROR)]);
  const work = { ...running, writers: 4, namespaces: letters(4) };
  await runWriters({ ...work, count: 100 });
  const journal = new Database(`${running.dir}/stargate/journal.db`, { readonly: true });
  const open = journal.query<{ count: number }, []>(
    "SELECT count(*) AS count FROM entry WHERE kind = 'txn' AND mirrored_at IS NULL",
  );
  const last = journal.query<{ id: number }, []>("SELECT max(id) AS id FROM entry").get()!.id;
  const { pushMs, seconds } = await runWriters({ ...work, count, perSecond: MIRRORED });
  for (let tries = 0; open.get()!.count > 0 && tries < 600; tries++) await Bun.sleep(100);
  const lags = journal
    .query<{ ms: number }, [number]>(
      "SELECT mirrored_at - accepted_at AS ms FROM entry WHERE kind = 'txn' AND id > ? AND mirrored_at IS NOT NULL",
    )
    .all(last)
    .map(({ ms }) => ms);
  journal.close();
  const peak = peakOf(running.pid);
  await stopDaemon(scratch.path(`${MIRRORED_SERVER}.pid`));
  return {
    name: `lag of a local mirror, ${MIRRORED} transactions a second, p95`,
    unit: "ms",
    ours: percentile(lags, 0.95),
    target: atMost(1_000),
    extra: `${lags.length} of ${count} mirrored: ${showPercentiles(lags)}; ${(count / seconds).toFixed(0)} a second; pushes: ${showPercentiles(pushMs)}; daemon's peak ${peak.toFixed(0)} MB`,
  };
}

/** Many transactions, and what is left of them. */
async function endurance(scratch: Scratch, running: Running, count: number): Promise<Row[]> {
  const peakOfFamily = watchFamily(running.pid);
  const { seconds, pushMs } = await runWriters({ ...running, writers: 4, namespaces: letters(4), count });
  const family = peakOfFamily();
  const resident = residentOf(running.pid);
  const peak = peakOf(running.pid);
  // Whose upkeep would go on.
  await stopDaemon(scratch.path(`${SERVER}.pid`));
  scratch.git("", "clone", "-q", "--mirror", "--no-local", SERVER, "accept-fresh.git");
  scratch.git("accept-fresh.git", "repack", "-adq");
  const size = (dir: string): number => bytesOf(scratch.path(dir, "objects", "pack"), [".pack", ".idx"]);
  const reads = (dir: string): number => median(Array.from({ length: 5 }, () => readMs(scratch.path(dir))));
  const after = `after ${count.toLocaleString("en")} transactions`;
  return [
    {
      name: `memory of the daemon ${after}`,
      unit: "MB",
      ours: resident,
      target: atMost(300),
      extra: `${peak.toFixed(0)} MB at its peak, of all rows before; ${family.toFixed(0)} MB at the peak of it and the process that combines packs; ${(count / seconds).toFixed(0)} a second; pushes: ${showPercentiles(pushMs)}`,
    },
    {
      name: `size of the repository ${after}`,
      unit: "MB",
      ours: size(SERVER) / 1e6,
      other: { name: "git repack -ad of the same", value: size("accept-fresh.git") / 1e6 },
      target: timesOther(2),
    },
    {
      name: `reading ${READS} keys ${after}`,
      unit: "ms",
      ours: reads(SERVER),
      other: { name: "git repack -ad of the same", value: reads("accept-fresh.git") },
      target: timesOther(2),
    },
  ];
}

/** Milliseconds to open the repository and read {@link READS} keys. */
function readMs(dir: string): number {
  return timed(() => {
    const repo = openRepository(dir);
    const state = readState(repo.objects, repo.refs, "a")!;
    for (let i = 0; i < READS; i++) {
      inlineValue(repo.objects, findKey(repo.objects, state, parseKey(`user:0:${i}`), { now: 0, allowExpired: true }));
    }
    repo.close();
  });
}
