/** What a real shell makes of a command line. */

import { spawnSync } from "node:child_process";

/** The words of `line`, which must have no expansions of files. */
export function runIn(shell: string, line: string): string[] {
  const run = spawnSync(shell, ["-c", `printf '%s\\0' ${line}`], { encoding: "utf8" });
  if (run.status !== 0) throw new Error(run.stderr);
  return run.stdout.split("\0").slice(0, -1);
}
