/** Completion for fish, for the executable and, where git runs it, for `git <word>`. */

import type { Command, Program } from "../command.ts";
import type { FlagSpec } from "../spec.ts";
import {
  gitWord,
  groups,
  identifier,
  isKey,
  keyCommand,
  nextWords,
  offered,
  ownFlags,
  spellings,
  takesValue,
  wordsOf,
} from "./shape.ts";

export function fish(program: Program): string {
  const id = identifier(program);
  const valued = program.globals.filter(takesValue).flatMap(spellings).join(" ");
  const lines = [
    `# Completion of ${program.title} for fish. Load it with: ${program.name} completion fish | source`,
    "",
    `# The command so far is exactly the words given: "" before any.`,
    `function __${id}_at`,
    "    set -l tokens (commandline -opc)",
    "    set -l words",
    "    set -l skip 0",
    ...stripExecutable(program),
    "    for token in $tokens",
    "        if test $skip = 1",
    "            set skip 0",
    "            continue",
    "        end",
    "        switch $token",
    `            case ${valued}`,
    "                set skip 1",
    "            case '-*'",
    "            case '*'",
    "                set -a words $token",
    `                contains -- "$words" ${groups(program).map(quote).join(" ")}; or break`,
    "        end",
    "    end",
    '    test "$words" = "$argv"',
    "end",
    "",
    ...completions(program, program.name),
  ];
  if (gitWord(program) !== undefined) lines.push("", ...completions(program, "git"));
  return `${lines.join("\n")}\n`;
}

function stripExecutable(program: Program): string[] {
  const word = gitWord(program);
  if (word === undefined) return ["    set -e tokens[1]"];
  return [
    "    set -l from 1",
    '    if string match -qr "(^|/)git\\$" -- $tokens[1]',
    `        set from (contains -i -- ${word} $tokens)`,
    "        or return 1",
    "    end",
    "    set -e tokens[1..$from]",
  ];
}

function completions(program: Program, executable: string): string[] {
  const at = (command: string): string =>
    `complete -c ${executable} -n ${quote(`__${identifier(program)}_at ${command}`)}`;
  const lines: string[] = [];
  for (const group of ["", ...groups(program)]) {
    for (const [word, summary] of nextWords(program, group))
      lines.push(`${at(group)} -f -a ${quote(word)} -d ${quote(summary)}`);
  }
  const places = ["", ...offered(program).map(({ name }) => name)];
  for (const place of places)
    for (const flag of program.globals) lines.push(`${at(place)} ${flagOptions(program, flag)}`);
  for (const command of offered(program)) lines.push(...commandLines(program, command, at(command.name)));
  return lines;
}

function commandLines(program: Program, command: Command, start: string): string[] {
  const lines = ownFlags(command).map((flag) => `${start} ${flagOptions(program, flag)}`);
  const choices = (command.args ?? []).flatMap((arg) => wordsOf(program, arg));
  if (choices.length > 0) lines.push(`${start} -f -a ${quote(choices.join(" "))}`);
  if ((command.args ?? []).some(isKey)) lines.push(`${start} -f -a ${quote(keys(program))}`);
  return lines;
}

/** What fish runs to be offered the keys that go on from the line. */
function keys(program: Program): string {
  return `(${keyCommand(program)} (commandline -cp | string collect) 2>/dev/null)`;
}

function flagOptions(program: Program, flag: FlagSpec): string {
  const parts = [`-l ${flag.name}`];
  if (flag.alias !== undefined) parts.push(`-s ${flag.alias}`);
  if (takesValue(flag)) parts.push(flag.complete === undefined ? "-x" : "-r");
  if (flag.choices !== undefined) parts.push(`-a ${quote(flag.choices.join(" "))}`);
  if (flag.complete === "directory") parts.push("-f -a '(__fish_complete_directories)'");
  if (isKey(flag)) parts.push(`-a ${quote(keys(program))}`);
  return [...parts, `-d ${quote(flag.summary)}`].join(" ");
}

/** A single-quoted word of fish. */
function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
