/**
 * Stock git pushes a new branch of 1, 1,000 and 100,000 objects over loopback HTTP: to a Stargate, to `git http-backend`, and to a
 * `git http-backend` that checks the objects (`receive.fsckObjects`), as the Stargate always does. The same commits go to all
 * three in turns. CPU is that of the server's processes alone; the little server before http-backend counts for nobody.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { freePort } from "../../demo/shell.ts";
import { type HttpBackend, startHttpBackend } from "../../tests/support/http-backend.ts";
import { FileWriter, profileOf } from "../data.ts";
import { median, runBeside } from "../measure.ts";
import type { Scratch } from "../scratch.ts";
import { serve } from "../site.ts";
import { fastImport } from "../stock-git.ts";
import { canTrace, countSyscallsOf, parseCounts } from "../syscalls.ts";
import { type Row, timesOther } from "../table.ts";
import type { Case } from "./case.ts";

const CLIENT = "push-client.git";
/** Files in a directory of what is pushed: `git fast-import` searches directories from end to end. */
const FILES_EACH = 1_000;

/** A server that is pushed to. */
interface Target {
  readonly name: string;
  readonly url: string;
  /** For `git -c`. */
  readonly header: string;
  /** CPU milliseconds of its processes so far. */
  cpuMs(): number;
  /** fsyncs during a push; undefined without strace. */
  fsyncs(push: Push): Promise<number | undefined>;
}

/** Pushes a commit to a new branch; `beside` while this process serves. */
interface Push {
  now(): void;
  beside(): Promise<void>;
}

export const push: Case = async ({ scratch, keys, runs }) => {
  scratch.git("", "init", "-q", "--bare", "-b", "main", CLIENT);
  scratch.git(CLIENT, "config", "gc.auto", "0");
  const base = await makeCommit(scratch, 2, "base", undefined);
  const targets = [await ours(scratch), theirs(scratch, false), theirs(scratch, true)] as const;
  for (const target of targets) await pushOf(scratch, target, base, "base").beside();
  const rows: Row[] = [];
  for (const count of keys < 1_000_000 ? [1, 1_000] : [1, 1_000, 100_000]) {
    const times = count > 1_000 ? runs.long : runs.middle;
    rows.push(...(await measure(scratch, targets, { base, count, times })));
  }
  return rows;
};

async function measure(
  scratch: Scratch,
  targets: readonly [Target, ...Target[]],
  { base, count, times }: { base: string; count: number; times: number },
): Promise<Row[]> {
  const ms = targets.map((): number[] => []);
  const before: number[] = [];
  // The first turn does not count.
  for (let turn = -1; turn < times; turn++) {
    if (turn === 0) for (const target of targets) before.push(target.cpuMs());
    const name = `${count}-${turn}`;
    const commit = await makeCommit(scratch, count, name, base);
    scratch.settle();
    for (const [i, target] of targets.entries()) {
      const started = performance.now();
      await pushOf(scratch, target, commit, name).beside();
      if (turn >= 0) ms[i]!.push(performance.now() - started);
    }
  }
  const cpu = targets.map((target, i) => (target.cpuMs() - before[i]!) / times);
  const traced = await makeCommit(scratch, count, `${count}-traced`, base);
  const fsyncs: (number | undefined)[] = [];
  for (const target of targets) fsyncs.push(await target.fsyncs(pushOf(scratch, target, traced, "traced")));
  const objects = `push of ${count.toLocaleString("en")} object${count === 1 ? "" : "s"}`;
  return targets.slice(1).flatMap((target, i): Row[] => {
    const row = (name: string, values: readonly number[]): Row => ({
      name,
      unit: "ms",
      ours: values[0]!,
      other: { name: target.name, value: values[i + 1]! },
    });
    return [
      {
        ...row(objects, ms.map(median)),
        target: timesOther(1),
        extra: `${fsyncs[0] ?? "?"} fsyncs in the Stargate, ${fsyncs[i + 1] ?? "?"} in git`,
      },
      row(`${objects}, CPU of the server`, cpu),
    ];
  });
}

/** A commit that brings exactly `count` objects: itself, and from two on its trees and files. */
async function makeCommit(scratch: Scratch, count: number, name: string, base: string | undefined): Promise<string> {
  if (count === 1) return scratch.git(CLIENT, "commit-tree", "-m", name, "-p", base!, `${base}^{tree}`);
  const stream = scratch.path("push.stream");
  const out = new FileWriter(stream);
  const ref = `refs/heads/made-${name}`;
  out.text(`commit ${ref}\ncommitter Bench <bench@example.com> 1767322800 +0000\ndata ${name.length}\n${name}\n`);
  if (base !== undefined) out.text(`from ${base}\ndeleteall\n`);
  const folders = Math.ceil(count / FILES_EACH);
  for (let i = 0; i < count - 2 - folders; i++) {
    const value = `${profileOf(i)} ${name}`;
    out.text(`M 100644 inline d${i % folders}/f${i}\ndata ${value.length}\n${value}\n`);
  }
  out.close();
  fastImport(scratch, CLIENT, stream);
  fs.rmSync(stream);
  return scratch.git(CLIENT, "rev-parse", ref);
}

function pushOf(scratch: Scratch, { url, header }: Target, commit: string, name: string): Push {
  const command = ["git", "-c", `http.extraHeader=${header}`, "push", "-q", url];
  // What was traced may be traced again, for another count.
  const words = [...command, `+${commit}:refs/heads/${name}`];
  return {
    now: () => void scratch.run(CLIENT, words),
    beside: () => runBeside(words, { cwd: scratch.path(CLIENT), env: scratch.env }),
  };
}

async function ours(scratch: Scratch): Promise<Target> {
  const server = "push-stargate.git";
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/${server}`;
  scratch.run("", [scratch.stargate, "init", "--repo", server, "--push-url", url]);
  const token = scratch.run("", [scratch.stargate, "token", "add", "--repo", server, "--name", "bench"]);
  const pid = await serve(scratch, server, port);
  return {
    name: "Stargate",
    url,
    header: `Authorization: Bearer ${token.stdout.toString().trim()}`,
    cpuMs: () => cpuOf(pid),
    fsyncs: async (push) => (await countSyscallsOf(scratch.root, pid, () => push.now()))?.fsyncs,
  };
}

function theirs(scratch: Scratch, checks: boolean): Target {
  const server = `push-${checks ? "checked" : "stock"}.git`;
  scratch.git("", "init", "-q", "--bare", "-b", "main", server);
  scratch.git(server, "config", "receive.fsckObjects", String(checks));
  const trace = path.join(scratch.root, `${server}.strace`);
  let [cpu, isTraced] = [0, false];
  const backend: HttpBackend = startHttpBackend(scratch.root, {
    // Of the requests of a push the last brings the pack: its counts are what remains.
    under: () => (isTraced ? ["strace", "-f", "-c", "-o", trace] : []),
    onEnd: (ms) => {
      cpu += ms;
    },
  });
  scratch.onEnd(() => backend.stop());
  return {
    name: checks ? "git http-backend, fsckObjects" : "git http-backend",
    url: `${backend.url}/${server}`,
    header: "",
    cpuMs: () => cpu,
    fsyncs: async (push) => {
      if (!canTrace()) return undefined;
      isTraced = true;
      await push.beside();
      isTraced = false;
      return parseCounts(fs.readFileSync(trace, "utf8")).fsyncs;
    },
  };
}

/** CPU milliseconds of a process so far, in user and system mode. */
function cpuOf(pid: number): number {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // Ticks of a hundredth of a second, whatever the kernel's own: proc(5).
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
