/** Times processes and functions, side by side and interleaved, so that what disturbs the machine disturbs all alike. */

import * as fs from "node:fs";

/** One process, run to its end. */
export interface ProcessRun {
  readonly ms: number;
  /** Most memory it had resident, in bytes. Never less than this process had when it forked. */
  readonly rss: number;
  readonly stdout: Buffer;
  readonly stderr: string;
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
  return { ms, rss: run.resourceUsage?.maxRSS ?? 0, stdout: run.stdout, stderr: run.stderr.toString() };
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
