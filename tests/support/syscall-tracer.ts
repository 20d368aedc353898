/** strace on a running process: counts its system calls that change files, or lets the n-th of them kill it or fail. */

import * as fs from "node:fs";
import * as path from "node:path";
import { tempDir } from "./temp.ts";

/** What changes a file or a folder, or waits for the disk. Sockets are written to with other calls. */
export const CHANGING = [
  ..."write pwrite64 pwritev writev ftruncate fallocate".split(" "),
  ..."fsync fdatasync link linkat rename renameat renameat2".split(" "),
  ..."unlink unlinkat mkdir mkdirat rmdir".split(" "),
] as const;

/** Those of them that can want more room. */
export const GROWING = CHANGING.filter((name) => !/^(?:unlink|rmdir|link)/.test(name));

/** A call among those of a run that went well: its name, and how many of each name came before it. */
export interface CallPoint {
  readonly name: string;
  readonly before: ReadonlyMap<string, number>;
}

/** `kill`: before the call is made. An error: the call fails with it; with `on`, every call from there on. */
export type Fault =
  | { readonly kind: "kill"; readonly at: CallPoint }
  | { readonly kind: "fail"; readonly at: CallPoint; readonly error: "EIO" | "ENOSPC"; readonly on: boolean };

/** The points of a run, from the lines {@link Tracer.detach} gave. */
export function callPoints(lines: readonly string[]): CallPoint[] {
  const before = new Map<string, number>();
  return lines.map((line) => {
    const name = line.slice(0, line.indexOf("("));
    const point = { name, before: new Map(before) };
    before.set(name, (before.get(name) ?? 0) + 1);
    return point;
  });
}

export interface Tracer {
  /** What strace has written so far, of all threads. */
  seen(): string[];
  /** Lets go of the process; returns the calls that were seen, in their order, of the thread that does the work. */
  detach(): Promise<string[]>;
}

/** Attaches to `pid`. Resolves when every call from now on is seen. */
export async function attachTracer(pid: number, calls: readonly string[], fault?: Fault): Promise<Tracer> {
  const file = path.join(tempDir("trace"), "calls");
  const set = calls.join(",");
  const inject = fault === undefined ? [] : injections(fault, calls).flatMap((one) => ["-e", `inject=${one}`]);
  const args = ["-f", "-y", "-s", "16", "-o", file, "-e", `trace=${set}`, ...inject, "-p", String(pid)];
  const child = Bun.spawn(["strace", ...args], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const attached = Promise.withResolvers<void>();
  void (async () => {
    let said = "";
    for await (const chunk of child.stderr) {
      said += Buffer.from(chunk).toString("utf8");
      if (/Process \d+ attached/.test(said)) attached.resolve();
    }
    attached.reject(new Error(`strace could not attach: ${said}`));
  })();
  await attached.promise;
  return {
    seen: () => (fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n") : []),
    detach: async () => {
      child.kill("SIGINT");
      await ended(child, pid);
      const lines = fs.readFileSync(file, "utf8").split("\n");
      const own = `${pid} `;
      return lines
        .filter((line) => line.startsWith(own) && /^\d+ +\w+\(/.test(line))
        .map((line) => line.slice(own.length).trimStart());
    },
  };
}

/** Runs `command` to its end, or to the fault; returns the calls that were seen, in their order, of the thread that does the work. */
export async function traceRun(command: readonly string[], calls: readonly string[], fault?: Fault): Promise<string[]> {
  const file = path.join(tempDir("trace"), "calls");
  const inject = fault === undefined ? [] : injections(fault, calls).flatMap((one) => ["-e", `inject=${one}`]);
  const args = ["-f", "-y", "-s", "16", "-o", file, "-e", `trace=execve,${calls.join(",")}`, ...inject];
  await Bun.spawn(["strace", ...args, ...command], { stdin: "ignore", stdout: "ignore", stderr: "ignore" }).exited;
  const lines = fs.readFileSync(file, "utf8").split("\n");
  const own = `${Number.parseInt(lines[0]!, 10)} `;
  return lines
    .filter((line) => line.startsWith(own) && /^\d+ +\w+\(/.test(line) && !line.includes(" execve("))
    .map((line) => line.slice(own.length).trimStart());
}

/**
 * Waits until strace has let go. One that is told to while the process ends can wait for ever: for the thread the process began with, which is
 * dead and shown to nobody before its last thread is gone, while that one is held for strace. What it wrote is complete then.
 */
async function ended(child: Bun.Subprocess, pid: number): Promise<void> {
  while (!(await Promise.race([child.exited.then(() => true), Bun.sleep(50).then(() => false)]))) {
    if (isDead(pid)) child.kill("SIGKILL");
  }
}

/** Whether the thread the process began with has ended, and so the process will. */
function isDead(pid: number): boolean {
  try {
    return /^State:\s+[ZX]/m.test(fs.readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return true;
  }
}

/** strace counts each system call by itself. */
function injections(fault: Fault, calls: readonly string[]): string[] {
  const { name, before } = fault.at;
  const number = (call: string): number => (before.get(call) ?? 0) + 1;
  if (fault.kind === "kill") return [`${name}:signal=KILL:when=${number(name)}`];
  if (!fault.on) return [`${name}:error=${fault.error}:when=${number(name)}`];
  return calls.map((call) => `${call}:error=${fault.error}:when=${number(call)}+`);
}
