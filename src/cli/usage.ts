/** The text of help, made from the table. */

import type { Command, Program } from "./command.ts";
import { valueName } from "./flags.ts";
import type { ArgSpec, FlagSpec } from "./spec.ts";

const WIDTH = 80;

/** All commands by topic. */
export function overview(program: Program): string {
  const shown = program.commands.filter((command) => !command.hidden);
  const width = Math.max(...shown.map((command) => command.name.length));
  const blocks = [`usage: ${program.title} [flags] COMMAND [arguments]`, program.summary];
  for (const topic of program.topics) {
    const rows = shown.filter((command) => command.topic === topic).map(({ name, summary }): Row => [name, summary]);
    if (rows.length > 0) blocks.push(`${topic}\n${table(rows, width)}`);
  }
  blocks.push(`Flags of every command\n${table(program.globals.map(flagRow))}`);
  blocks.push(`'${program.title} help COMMAND' shows more about one.`);
  return blocks.join("\n\n");
}

/** Help of one command. */
export function commandHelp(program: Program, command: Command): string {
  const blocks = [usageLines(program, command), `${command.summary}.`];
  const args = command.args ?? [];
  if (args.length > 0)
    blocks.push(`Arguments\n${table(args.map((arg): Row => [arg.name.toUpperCase(), arg.summary]))}`);
  if ((command.flags ?? []).length > 0) blocks.push(`Flags\n${table((command.flags ?? []).map(flagRow))}`);
  if (command.details !== undefined)
    blocks.push(
      command.details
        .split("\n\n")
        .map((text) => wrap(text, WIDTH, 0))
        .join("\n\n"),
    );
  if (command.examples !== undefined) {
    blocks.push(`Examples\n${command.examples.map((line) => `  ${program.title} ${line}`).join("\n")}`);
  }
  blocks.push(`Flags of every command\n${table(program.globals.map(flagRow))}`);
  return blocks.join("\n\n");
}

/** The lines that say how a command is called. */
export function usageLines(program: Program, command: Command): string {
  const flags = (command.flags ?? []).length > 0 ? " [flags]" : "";
  return usageTails(command)
    .map((tail, i) => `${i === 0 ? "usage:" : "   or:"} ${program.title} ${command.name} ${tail}`.trimEnd() + flags)
    .join("\n");
}

/** What comes after the name in each usage line, without flags. */
export function usageTails({ usage, args = [] }: Command): readonly string[] {
  return usage ?? [args.map(argUsage).join(" ")];
}

function argUsage(arg: ArgSpec): string {
  const name = arg.choices?.join("|") ?? arg.name.toUpperCase();
  return { one: name, optional: `[${name}]`, some: `${name}...`, any: `[${name}...]` }[arg.count];
}

type Row = readonly [left: string, right: string];

function flagRow(flag: FlagSpec): Row {
  const short = flag.alias === undefined ? "    " : `-${flag.alias}, `;
  const value = flag.type === "boolean" ? "" : ` ${valueName(flag)}`;
  return [`${short}--${flag.name}${value}`, flag.summary + (flag.type === "repeatable" ? " (may be repeated)" : "")];
}

/** Two columns; the right one is wrapped. */
function table(rows: readonly Row[], atLeast = 0): string {
  const width = Math.min(34, Math.max(atLeast, ...rows.map(([left]) => left.length)));
  return rows
    .map(([left, right]) => {
      const indent = width + 4;
      const gap = left.length > width ? `\n${" ".repeat(indent)}` : " ".repeat(indent - 2 - left.length);
      return `  ${left}${gap}${wrap(right, WIDTH, indent)}`;
    })
    .join("\n");
}

/** Breaks `text` before `width`; every line but the first is indented. */
function wrap(text: string, width: number, indent: number): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    if (line !== "" && indent + line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join(`\n${" ".repeat(indent)}`);
}
