/** Times processes and functions, side by side and interleaved, so that what disturbs the machine disturbs all alike. */

import * as fs from "node:fs";
import * as path from "node:path";

/** One process, run to its end. */
export interface ProcessRun {
  readonly ms: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** A process whose memory was measured as well. */
export interface PeakRun extends ProcessRun {
  /** Most memory it had resident, in bytes; 25 MB at least. */
  readonly rss: number;
}

export interface ProcessOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** A file to read standard input from. */
  readonly input?: string;
}

/** Runs a program and times it, spawning included. Throws with its stderr where it fails. */
export function runProcess(command: readonly string[], options: ProcessOptions = {}): ProcessRun {
  const stdin = options.input === undefined ? "ignore" : Bun.file(options.input);
  const started = performance.now();
  const run = Bun.spawnSync(command as string[], {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    ...(options.env !== undefined && { env: options.env as Record<string, string> }),
    stdin,
    stdout: "pipe",
    stderr: "pipe",
  });
  const ms = performance.now() - started;
  if (run.exitCode !== 0) throw failed(command, run.exitCode, run.stderr.toString());
  return { ms, stdout: run.stdout, stderr: run.stderr.toString() };
}

/** As {@link runProcess}, with the most memory it had. Started from here it would have had at least what this process has now (peak.ts). */
export function runPeak(command: readonly string[], options: ProcessOptions = {}): PeakRun {
  const { stdout, stderr } = runProcess([process.execPath, path.join(import.meta.dir, "peak.ts"), ...command], options);
  const end = stderr.lastIndexOf("\n", stderr.length - 2);
  const { ms, rss } = JSON.parse(stderr.slice(end)) as { ms: number; rss: number };
  return { ms, rss, stdout, stderr: stderr.slice(0, end) };
}

/** Megabytes that a process has had resident at most. */
export function peakOf(pid: number): number {
  return (Number(/^VmHWM:\s+(\d+) kB/m.exec(readProc(`${pid}/status`))![1]) * 1024) / 1e6;
}

/** Megabytes that a process has resident now; 0 where it has ended. */
export function residentOf(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readProc(`${pid}/status`))?.[1] ?? 0;
  return (Number(kilobytes) * 1024) / 1e6;
}

/**
 * Looks four times a second. What is returned ends that, and tells the most megabytes that a process and its children had resident together, what
 * they share counted for each.
 */
export function watchFamily(pid: number): () => number {
  let most = 0;
  const look = (): void => {
    const tasks = fs.readdirSync(`/proc/${pid}/task`);
    const children = tasks.flatMap((task) => readProc(`${pid}/task/${task}/children`).match(/\d+/g) ?? []);
    most = Math.max(
      most,
      [pid, ...children].reduce<number>((sum, each) => sum + residentOf(Number(each)), 0),
    );
  };
  const timer = setInterval(look, 250);
  return () => {
    clearInterval(timer);
    look();
    return most;
  };
}

/** What a file of /proc says; nothing where its process has ended. */
function readProc(file: string): string {
  try {
    return fs.readFileSync(`/proc/${file}`, "latin1");
  } catch {
    return "";
  }
}

/** As {@link runProcess}, while this process goes on serving others. */
export async function runBeside(command: readonly string[], options: ProcessOptions = {}): Promise<void> {
  const child = Bun.spawn(command as string[], {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    ...(options.env !== undefined && { env: options.env as Record<string, string> }),
    stdout: "ignore",
    stderr: "pipe",
  });
  const stderr = await new Response(child.stderr).text();
  if ((await child.exited) !== 0) throw failed(command, child.exitCode, stderr);
}

function failed(command: readonly string[], status: number | null, stderr: string): Error {
  return new Error(`'${command.join(" ")}' exited ${status}: ${stderr.trim()}`);
}

/** The middle value; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Medians of what each contender measures, `runs` times in turns, after one turn that is not counted. */
export function compareRuns<Name extends string>(
  runs: number,
  contenders: Readonly<Record<Name, () => number>>,
): Record<Name, number> {
  const names = Object.keys(contenders) as Name[];
  const samples = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let run = -1; run < runs; run++) {
    for (const name of names) {
      const value = contenders[name]();
      if (run >= 0) samples.get(name)!.push(value);
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(samples.get(name)!)])) as Record<Name, number>;
}

/** Milliseconds `work` takes. */
export function timed(work: () => void): number {
  const started = performance.now();
  work();
  return performance.now() - started;
}

/** Bytes of all files below `dir` with one of the suffixes. */
export function bytesOf(dir: string, suffixes: readonly string[]): number {
  let bytes = 0;
  for (const name of fs.readdirSync(dir)) {
    if (suffixes.some((suffix) => name.endsWith(suffix))) bytes += fs.statSync(`${dir}/${name}`).size;
  }
  return bytes;
}
