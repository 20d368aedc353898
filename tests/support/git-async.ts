/** Runs the real git without standing still, for tests whose server runs in the same process. */

import type { GitResult } from "./git.ts";

/** Runs git in `dir` and returns whatever came of it. */
export async function tryGitAsync(
  dir: string,
  args: readonly string[],
  options: { input?: string | Uint8Array; env?: Record<string, string> } = {},
): Promise<GitResult> {
  const child = Bun.spawn(["git", ...args], {
    cwd: dir,
    stdin: Buffer.from(options.input ?? ""),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, GIT_TERMINAL_PROMPT: "0", ...options.env },
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).arrayBuffer(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { status, stdout: Buffer.from(stdout), stderr };
}

/** Runs git in `dir`; rejects with its stderr where it fails; resolves to stdout without the last newline. */
export async function gitAsync(dir: string, ...args: string[]): Promise<string> {
  const run = await tryGitAsync(dir, args);
  if (run.status !== 0) throw new Error(`git ${args.join(" ")} exited ${run.status}: ${run.stderr}`);
  return run.stdout.toString().replace(/\n$/, "");
}
