/** Runs the real git, our oracle. Only tests do. */

import { spawnSync } from "node:child_process";

export interface GitResult {
  readonly status: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

const DATE = { GIT_AUTHOR_DATE: "2026-01-02T03:04:05Z", GIT_COMMITTER_DATE: "2026-01-02T03:04:05Z" };

/** Runs git in `dir` and returns whatever came of it. */
export function tryGit(
  dir: string,
  args: readonly string[],
  options: { input?: string | Uint8Array; env?: Record<string, string> } = {},
): GitResult {
  const run = spawnSync("git", args as string[], {
    cwd: dir,
    input: options.input ?? "",
    env: { ...process.env, ...DATE, ...options.env },
    maxBuffer: 1 << 30,
  });
  if (run.error) throw run.error;
  return { status: run.status ?? -1, stdout: run.stdout, stderr: run.stderr.toString() };
}

/** Runs git in `dir`; throws with its stderr where it fails; returns stdout without the last newline. */
export function git(dir: string, ...args: string[]): string {
  return gitInput(dir, "", ...args);
}

/** As {@link git}, with standard input. */
export function gitInput(dir: string, input: string | Uint8Array, ...args: string[]): string {
  const run = tryGit(dir, args, { input });
  if (run.status !== 0) throw new Error(`git ${args.join(" ")} exited ${run.status}: ${run.stderr}`);
  return run.stdout.toString().replace(/\n$/, "");
}

/** Stdout of git as bytes. */
export function gitBytes(dir: string, ...args: string[]): Buffer {
  const run = tryGit(dir, args);
  if (run.status !== 0) throw new Error(`git ${args.join(" ")} exited ${run.status}: ${run.stderr}`);
  return run.stdout;
}

/** `git fsck --strict --full` must be clean in `dir`; returns its complaints ("" when none). */
export function fsck(dir: string): string {
  const run = tryGit(dir, ["fsck", "--strict", "--full", "--no-dangling"]);
  return run.status === 0 ? run.stderr.trim() : `exit ${run.status}: ${run.stdout}${run.stderr}`;
}
