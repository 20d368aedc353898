/** Counts system calls with strace, in runs of their own: a traced program is many times slower. */

import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ProcessOptions, runProcess } from "./measure.ts";

export interface SyscallCounts {
  readonly total: number;
  /** fsync and fdatasync. */
  readonly fsyncs: number;
  /** Programs started. */
  readonly processes: number;
}

/** Whether there is an strace to count with. */
export function canTrace(): boolean {
  return Bun.which("strace") !== null;
}

/** System calls of a program and all it starts; undefined without strace. */
export function countSyscalls(
  dir: string,
  command: readonly string[],
  options: ProcessOptions = {},
): SyscallCounts | undefined {
  if (!canTrace()) return undefined;
  const file = path.join(dir, "strace.out");
  runProcess(["strace", "-f", "-c", "-o", file, ...command], options);
  return parseCounts(fs.readFileSync(file, "utf8"));
}

/** System calls of the running process `pid` while `work` goes on; undefined without strace or the right to use it. */
export async function countSyscallsOf(
  dir: string,
  pid: number,
  work: () => void | Promise<void>,
): Promise<SyscallCounts | undefined> {
  if (!canTrace()) return undefined;
  const file = path.join(dir, "strace-daemon.out");
  const tracer = Bun.spawn(["strace", "-f", "-c", "-o", file, "-p", String(pid)], { stdout: "ignore", stderr: "pipe" });
  await sleep(500);
  if (tracer.exitCode !== null) return undefined;
  try {
    await work();
    await sleep(200);
  } finally {
    tracer.kill("SIGINT");
    await tracer.exited;
  }
  return parseCounts(fs.readFileSync(file, "utf8"));
}

/** Reads the table of `strace -c`: percent, seconds, microseconds a call, calls, errors (may be empty), name. */
export function parseCounts(table: string): SyscallCounts {
  const counts = new Map<string, number>();
  for (const line of table.split("\n")) {
    const columns = line.trim().split(/\s+/);
    if (!/^\d+\.\d+$/.test(columns[0] ?? "") || columns.length < 5) continue;
    const errors = columns.length > 5 ? Number(columns[4]) : 0;
    const name = columns.at(-1)!;
    counts.set(name, Number(columns[3]) - (name === "execve" ? errors : 0));
  }
  const of = (name: string): number => counts.get(name) ?? 0;
  return { total: of("total"), fsyncs: of("fsync") + of("fdatasync"), processes: of("execve") };
}

/** `12 fsyncs, 3 processes, 456 syscalls` */
export function showCounts(counts: SyscallCounts | undefined): string {
  if (counts === undefined) return "no strace here";
  const { fsyncs, processes, total } = counts;
  const parts = [`${fsyncs} fsync${fsyncs === 1 ? "" : "s"}`];
  if (processes > 0) parts.push(`${processes} process${processes === 1 ? "" : "es"}`);
  return [...parts, `${total} syscalls`].join(", ");
}
