/** Manual pages (man(7) macros) made from the table: the same words as the help on the terminal. */

import type { Command, Manual, Program } from "./command.ts";
import { EXIT_TEXTS } from "./exit-texts.ts";
import { valueName } from "./flags.ts";
import type { FlagSpec } from "./spec.ts";
import { usageTails } from "./usage.ts";

/** A manual page. */
export interface ManPage {
  /** File name: `git-kv-set.1`. */
  readonly file: string;
  /** The page in roff; ends with a newline. */
  readonly text: string;
}

/** The page of the program and one for each command that is shown. */
export async function manPages(program: Program, version: string): Promise<readonly ManPage[]> {
  const manual = await program.manual?.();
  const shown = program.commands.filter((command) => !command.hidden);
  return [undefined, ...shown].map((command) => ({
    file: `${pageName(program, command)}.1`,
    text: manPage(program, manual ?? {}, command, version),
  }));
}

/** The page of `command`, or of the program. */
export function manPage(program: Program, manual: Manual, command: Command | undefined, version: string): string {
  const name = pageName(program, command);
  const summary = command?.summary ?? program.summary.replace(/\.$/, "");
  const parts = [
    `.TH ${quoted(name.toUpperCase())} 1 "" ${quoted(`git-kv ${version}`)} "git-kv Manual"`,
    // Long words of a shell must stay as they are, to be copied.
    ".nh",
    ".ad l",
    section("NAME", `${roff(name)} \\- ${roff(summary)}`),
    ...(command === undefined ? programParts(program, manual) : commandParts(program, command)),
  ];
  return `${parts.join("\n")}\n`;
}

function pageName(program: Program, command: Command | undefined): string {
  return command === undefined ? program.name : `${program.name}-${command.name.replaceAll(" ", "-")}`;
}

function programParts(program: Program, manual: Manual): string[] {
  const shown = program.commands.filter((command) => !command.hidden);
  const topics = program.topics.map((topic) => {
    const rows = shown.filter((command) => command.topic === topic);
    return `.SS ${quoted(topic)}\n${rows.map((command) => entry(bold(`${program.title} ${command.name}`), `${command.summary}.`)).join("\n")}`;
  });
  return [
    section("SYNOPSIS", `${bold(program.title)} [flags] ${italic("COMMAND")} [arguments]`),
    section("DESCRIPTION", roff(program.summary)),
    `.SH COMMANDS\n${topics.join("\n")}`,
    flagSection("FLAGS OF EVERY COMMAND", program.globals),
    entries("CONFIGURATION", manual.configuration ?? []),
    entries("ENVIRONMENT", manual.environment ?? []),
    exitSection(),
    section("SEE ALSO", shown.map((command) => reference(pageName(program, command))).join(",\n")),
  ].filter((part) => part !== "");
}

function commandParts(program: Program, command: Command): string[] {
  const flags = command.flags ?? [];
  const more = flags.length > 0 ? " [flags]" : "";
  const synopsis = usageTails(command).map(
    (tail) => `${bold(`${program.title} ${command.name}`)} ${roff(tail)}`.trimEnd() + more,
  );
  const details = (command.details ?? "").split("\n\n").filter((text) => text !== "");
  const args = (command.args ?? []).map((arg) => [arg.name.toUpperCase(), arg.summary] as const);
  const examples = (command.examples ?? []).map((line) => roff(`${program.title} ${line}`));
  return [
    section("SYNOPSIS", synopsis.join("\n.br\n")),
    section("DESCRIPTION", [`${command.summary}.`, ...details].map(roff).join("\n.PP\n")),
    entries("ARGUMENTS", args),
    flagSection("FLAGS", flags),
    examples.length === 0 ? "" : `.SH EXAMPLES\n.nf\n${examples.join("\n")}\n.fi`,
    flagSection("FLAGS OF EVERY COMMAND", program.globals),
    exitSection(),
    section("SEE ALSO", reference(program.name)),
  ].filter((part) => part !== "");
}

function exitSection(): string {
  return entries(
    "EXIT STATUS",
    EXIT_TEXTS.map(([status, text]) => [String(status), text]),
  );
}

function flagSection(title: string, flags: readonly FlagSpec[]): string {
  const rows = flags.map((flag) => {
    const value = flag.type === "boolean" ? "" : ` ${italic(valueName(flag))}`;
    const short = flag.alias === undefined ? "" : `${bold(`-${flag.alias}`)}, `;
    return entry(
      `${short}${bold(`--${flag.name}`)}${value}`,
      `${flag.summary}${flag.type === "repeatable" ? " (may be repeated)" : ""}.`,
    );
  });
  return rows.length === 0 ? "" : `.SH ${quoted(title)}\n${rows.join("\n")}`;
}

function entries(title: string, rows: readonly (readonly [term: string, text: string])[]): string {
  if (rows.length === 0) return "";
  return `.SH ${quoted(title)}\n${rows.map(([term, text]) => entry(bold(term), `${text}.`)).join("\n")}`;
}

/** A term, already in roff, and what it means. */
function entry(term: string, text: string): string {
  return `.TP\n${term}\n${roff(text)}`;
}

function section(title: string, body: string): string {
  return `.SH ${quoted(title)}\n${body}`;
}

function reference(name: string): string {
  return `${bold(name)}(1)`;
}

function bold(text: string): string {
  return `\\fB${roff(text)}\\fR`;
}

function italic(text: string): string {
  return `\\fI${roff(text)}\\fR`;
}

/** An argument of a macro. */
function quoted(text: string): string {
  return `"${roff(text).replaceAll('"', "\\(dq")}"`;
}

/** Text that roff prints as it is: no escape, no request at the start of a line, hyphens that can be copied. */
function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("'", "\\(aq")
    .replaceAll("`", "\\(ga")
    .replaceAll("~", "\\(ti")
    .replaceAll("^", "\\(ha")
    .replace(/^\./gm, "\\&.");
}
