/** Help: the commands, or one of them, as text, as a manual page or as JSON. */

import { version } from "../../package.json";
import type { Command, Program } from "./command.ts";
import type { Context } from "./context.ts";
import { unknownCommand } from "./dispatch.ts";
import type { Output } from "./output.ts";
import type { ArgSpec, FlagSpec } from "./spec.ts";
import { commandHelp, overview, usageTails } from "./usage.ts";

/** The verb `help`. */
export async function runHelp(program: Program, { args, flags, out }: Context): Promise<void> {
  const words = args.list("command");
  const command = program.commands.find(({ name }) => name === words.join(" "));
  if (words.length > 0 && command === undefined) throw unknownCommand(program, words);
  if (!flags.on("man")) return showHelp(program, command, out);
  const { manPage } = await import("./man-page.ts");
  out.answer(manPage(program, (await program.manual?.()) ?? {}, command, version));
}

/** Shows the help of `command`, or of the program. */
export async function showHelp(program: Program, command: Command | undefined, out: Output): Promise<void> {
  if (!out.json) out.line(command === undefined ? overview(program) : commandHelp(program, command));
  else out.record(command === undefined ? describeProgram(program) : await describeCommand(program, command));
}

function describeProgram({ name, title, summary, commands, globals }: Program): object {
  const shown = commands.filter((command) => !command.hidden);
  return {
    name,
    title,
    summary,
    flags: globals.map(describeFlag),
    commands: shown.map((command) => ({ name: command.name, topic: command.topic, summary: command.summary })),
  };
}

async function describeCommand(program: Program, command: Command): Promise<object> {
  const { name, topic, summary, args = [], flags = [], details, examples = [] } = command;
  const answers = await program.answers?.();
  return {
    name,
    topic,
    summary,
    usage: usageTails(command).map((tail) => `${program.title} ${name} ${tail}`.trimEnd()),
    args: args.map(describeArg),
    flags: flags.map(describeFlag),
    details,
    examples: examples.map((line) => `${program.title} ${line}`),
    answers: answers?.[name],
  };
}

function describeArg({ name, count, summary, choices }: ArgSpec): object {
  return { name, count, summary, choices };
}

function describeFlag({ name, alias, type, value, choices, summary }: FlagSpec): object {
  return { name, alias, type, value, choices, summary };
}
