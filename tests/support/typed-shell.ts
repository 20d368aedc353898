/** Types into a real shell on a pseudo terminal, which zsh's zpty gives. */

import { spawnSync } from "node:child_process";

/** What is typed, and then Tab; and what is waited for on the terminal. */
export type TypedLine = readonly [typed: string, awaited: string];

/**
 * For each line typed into `shell` after `setUp`, followed by Tab: the text awaited, or all there was instead, quoted. Each line is
 * taken back before the next.
 */
export function typeInto(shell: string, setUp: string, lines: readonly TypedLine[], cwd = "/"): string[] {
  const driver = `
    zmodload zsh/zpty
    await() {
      local out= chunk
      repeat 3000; do
        while zpty -rt z chunk; do out+=$chunk; done
        [[ $out == *"$1"* ]] && { print -r -- "$1"; return; }
        sleep 0.01
      done
      print -r -- "\${(q)out}"
    }
    zpty -e z ${quote(`env TERM=dumb LC_ALL=C.UTF-8 ${shell}`)}
    zpty -w z ${quote(`PS1=; ${setUp}; echo REA''DY`)}
    await READY
    ${lines.map(([typed, awaited]) => `zpty -w -n z ${quote(`\x15${typed}\t`)}; await ${quote(awaited)}`).join("\n")}`;
  const run = spawnSync("zsh", ["-f", "-c", driver], { cwd, encoding: "utf8", timeout: 50_000 });
  if (run.stderr !== "") throw new Error(run.stderr);
  return run.stdout.split("\n").slice(1, -1);
}

/** A single-quoted word of a POSIX shell. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
