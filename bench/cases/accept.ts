/**
 * What a Stargate takes to accept: one-key transactions of 1, 8 and 32 writers, in one namespace and in four, over loopback HTTP; beside stock
 * `git push` to `git http-backend` whose pre-receive hook, a shell script, checks what can be checked without knowing the format. Then
 * fsyncs for each transaction, how far a local mirror is behind, the daemon's memory after many, and the repository after them beside the same
 * one freshly repacked.
 *
 * Our writers all live in this process, which shares the machine with the daemon. A daemon that runs has warm code: the first row is the
 * pushes right after its start, all others come after {@link WARM_UP}. Stock writers have a branch each, so they never meet.
 */

import { Database } from "bun:sqlite";
import * as fs from "node:fs";
import { freePort, stopDaemon } from "../../demo/shell.ts";
import { openRepository } from "../../src/gitwire/repo.ts";
import { parseKey } from "../../src/kv/key.ts";
import { findKey, inlineValue } from "../../src/kv/read.ts";
import { readState } from "../../src/kv/state.ts";
import { startHttpBackend } from "../../tests/support/http-backend.ts";
import { bytesOf, median, peakOf, runBeside, timed } from "../measure.ts";
import type { Scratch } from "../scratch.ts";
import { serve } from "../site.ts";
import { countSyscallsOf } from "../syscalls.ts";
import { atMost, type Row, timesOther } from "../table.ts";
import { percentile, runWriters, showPercentiles } from "../writers.ts";
import type { Case } from "./case.ts";

const SERVER = "accept.git";
const MIRRORED_SERVER = "accept-mirrored.git";
const MIRROR = "accept-mirror.git";
/** Transactions a second while the lag of the mirror is measured. */
const MIRRORED = 50;
const STOCK = "accept-stock.git";
const CLIENT = "accept-client.git";

const READS = 200;

/** The first pushes that a daemon takes. */
const COLD = 40;
/** Pushes until its code is warm. */
const WARM_UP = 600;

/** The same questions a Stargate asks first: is it one step on, does it name its transaction, are the paths sound and the files small? */
const HOOK = `#!/bin/sh
while read -r old new ref; do
  [ "$old" = 0000000000000000000000000000000000000000 ] || [ "$(git rev-parse "$new^")" = "$old" ] || exit 1
  git log -1 --format=%B "$new" | git interpret-trailers --parse | grep -q '^KV-Txn: ' || exit 1
  git diff-tree -r --root --no-commit-id "$new" | while read -r _ mode _ blob _ path; do
    case $path in user:*) ;; *) exit 1 ;; esac
    [ "$mode" = 100644 ] && [ "$(git cat-file -s "$blob")" -le 1048576 ] || exit 1
  done || exit 1
done
`;

interface Running {
  readonly dir: string;
  readonly url: string;
  readonly pid: number;
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
  rows.push(...(await stockRows(scratch, isQuick ? 5 : 20, perSecond)));
  rows.push(await fsyncRow(scratch, running));
  rows.push(await mirrorLagRow(scratch, isQuick ? 500 : 3_000));
  rows.push(...(await endurance(scratch, running, isQuick ? 2_000 : 100_000)));
  return rows;
};

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : what.endsWith("h") ? "es" : "s"}`;
}

function letters(count: number): string[] {
  return Array.from("abcdefghijklmnop".slice(0, count));
}

async function start(scratch: Scratch, server: string, options: readonly string[] = []): Promise<Running> {
  const port = await freePort();
  scratch.run("", [scratch.stargate, "init", "--repo", server, ...options]);
  const token = scratch.run("", [scratch.stargate, "token", "add", "--repo", server, "--name", "bench"]);
  const pid = await serve(scratch, server, port);
  const login = `bench:${token.stdout.toString().trim()}`;
  return { dir: scratch.path(server), url: `http://${login}@127.0.0.1:${port}/${server}`, pid };
}

/** Transactions a second, ours and those of stock git. */
async function stockRows(scratch: Scratch, each: number, perSecond: ReadonlyMap<string, number>): Promise<Row[]> {
  for (const name of [STOCK, CLIENT]) scratch.git("", "init", "-q", "--bare", name);
  fs.writeFileSync(scratch.path(STOCK, "hooks", "pre-receive"), HOOK, { mode: 0o755 });
  const backend = startHttpBackend(scratch.root);
  scratch.onEnd(() => backend.stop());
  const rows: Row[] = [];
  for (const writers of [1, 8]) {
    const commits = Array.from({ length: writers }, (_, writer) =>
      readyCommits(scratch, `w${writers}-${writer}`, each),
    );
    const ms: number[] = [];
    scratch.settle();
    const started = performance.now();
    await Promise.all(
      commits.map(async (own, writer) => {
        for (const commit of own) {
          const pushed = performance.now();
          const words = ["git", "push", "-q", `${backend.url}/${STOCK}`, `${commit}:refs/heads/w${writers}-${writer}`];
          await runBeside(words, { cwd: scratch.path(CLIENT), env: scratch.env });
          ms.push(performance.now() - pushed);
        }
      }),
    );
    const theirs = (writers * each) / ((performance.now() - started) / 1000);
    for (const namespaces of new Set([1, writers])) {
      rows.push({
        name: `transactions a second, ${plural(writers, "writer")}, ${plural(namespaces, "namespace")}`,
        unit: "per second",
        ours: perSecond.get(`${writers} ${namespaces}`)!,
        other: { name: "git push, a branch each, http-backend, shell hook", value: theirs },
        extra: `at least 10 times is the aim; git push: ${showPercentiles(ms)}`,
      });
    }
  }
  return rows;
}

/** Commits of one file each, one on the other. */
function readyCommits(scratch: Scratch, name: string, count: number): string[] {
  const stream = scratch.path("accept.stream");
  let text = "";
  for (let i = 0; i < count; i++) {
    const message = `set user:${i}\n\nKV-Txn: ${name}-${i}\n`;
    text += `commit refs/heads/${name}\ncommitter Bench <bench@example.com> 1767322800 +0000\n`;
    text += `data ${message.length}\n${message}\nM 100644 inline user:${i}\ndata 5\nvalue\n`;
  }
  fs.writeFileSync(stream, text);
  scratch.run(CLIENT, ["git", "fast-import", "--quiet"], { input: stream });
  return scratch.git(CLIENT, "rev-list", "--reverse", `refs/heads/${name}`).split("\n");
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
  const { seconds, pushMs } = await runWriters({ ...running, writers: 4, namespaces: letters(4), count });
  const rss = Number(/^VmRSS:\s+(\d+) kB/m.exec(fs.readFileSync(`/proc/${running.pid}/status`, "utf8"))![1]) * 1024;
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
      ours: rss / 1e6,
      target: atMost(300),
      extra: `${peak.toFixed(0)} MB at its peak, of all rows before; ${(count / seconds).toFixed(0)} a second; pushes: ${showPercentiles(pushMs)}`,
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
