/** Runs the compiled executables in dist/, as users do. */

import { type SpawnSyncOptions, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

/** Path of a compiled program. */
export function executable(name: "git-kv" | "git-kv-stargate"): string {
  const file = path.join(import.meta.dir, "..", "..", "dist", name);
  if (!fs.existsSync(file)) throw new Error(`${file} is not built: run 'make build'`);
  return file;
}

export interface Run {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs git-kv with `args`. */
export function gitKv(args: readonly string[], options: SpawnSyncOptions = {}): Run {
  return runProgram(executable("git-kv"), args, options);
}

/** Runs any program to its end. */
export function runProgram(program: string, args: readonly string[], options: SpawnSyncOptions = {}): Run {
  const run = spawnSync(program, args as string[], { maxBuffer: 1 << 30, ...options });
  if (run.error) throw run.error;
  return { status: run.status, signal: run.signal, stdout: String(run.stdout ?? ""), stderr: String(run.stderr ?? "") };
}
