/** What the scripts of all shells need of the table. */

import type { Command, Program } from "../command.ts";
import type { ArgSpec, FlagSpec } from "../spec.ts";

/** Commands that are offered. */
export function offered(program: Program): readonly Command[] {
  return program.commands.filter((command) => !command.hidden);
}

/** First words of two-word commands. */
export function groups(program: Program): readonly string[] {
  const firsts = offered(program).flatMap(({ name }) => (name.includes(" ") ? [name.split(" ")[0]!] : []));
  return [...new Set(firsts)];
}

/** What may follow `before` ("" at the start, else the first word of a two-word command). */
export function nextWords(program: Program, before: string): readonly (readonly [word: string, summary: string])[] {
  const words = new Map<string, string>();
  for (const { name, summary } of offered(program)) {
    const [first, second] = name.split(" ") as [string, string | undefined];
    if (before !== "") {
      if (first === before && second !== undefined) words.set(second, summary);
    } else if (second === undefined) words.set(first, summary);
    else if (!words.has(first))
      words.set(
        first,
        `${offered(program)
          .filter((c) => c.name.startsWith(`${first} `))
          .map((c) => c.name.split(" ")[1])
          .join(", ")}`,
      );
  }
  return [...words];
}

/** The words an argument may be, where these are known: its choices, or those of the names of commands. */
export function wordsOf(
  program: Program,
  { choices, complete }: Pick<ArgSpec, "choices" | "complete">,
): readonly string[] {
  if (complete !== "command") return choices ?? [];
  return [...new Set(offered(program).flatMap(({ name }) => name.split(" ")))];
}

/** Flags of a command without the global ones. */
export function ownFlags(command: Command): readonly FlagSpec[] {
  return command.flags ?? [];
}

/** As they are written: `--message`, `-m`. */
export function spellings(flag: FlagSpec): readonly string[] {
  return flag.alias === undefined ? [`--${flag.name}`] : [`--${flag.name}`, `-${flag.alias}`];
}

export function takesValue(flag: FlagSpec): boolean {
  return flag.type !== "boolean";
}

/** The command that prints the keys a command line may go on with; it is there where a table has keys to complete. */
export function keyCommand(program: Program): string {
  return `${program.name} complete-keys --`;
}

/** Whether any flag or argument of the program is a key. */
export function hasKeys(program: Program): boolean {
  return offered(program).some(({ args = [], flags = [] }) => [...args, ...flags].some(isKey));
}

export function isKey({ complete }: Pick<FlagSpec, "complete">): boolean {
  return complete === "key";
}

/** A name for shell functions: `git_kv`. */
export function identifier(program: Program): string {
  return program.name.replace(/[^A-Za-z0-9]/g, "_");
}

/** The word after `git` where the program is also run by git: `kv`. */
export function gitWord(program: Program): string | undefined {
  return program.title.startsWith("git ") ? program.title.slice(4) : undefined;
}

/** A single-quoted word of a POSIX shell. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
