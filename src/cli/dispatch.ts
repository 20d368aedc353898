/** From the arguments of the process to the command they name. */

import { KvError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import type { Command, Program } from "./command.ts";
import { Args } from "./context.ts";
import { checkChoice, FlagSet, type Parsed, parseFlags } from "./flags.ts";
import type { ArgSpec } from "./spec.ts";

/** What the arguments ask for. */
export type Request =
  | { readonly kind: "run"; readonly command: Command; readonly parsed: Parsed; readonly known: FlagSet }
  | { readonly kind: "help"; readonly command: Command | undefined }
  | { readonly kind: "version"; readonly parsed: Parsed }
  /** No command at all. */
  | { readonly kind: "nothing" };

/**
 * Reads `argv` (without the executable) by the program's table.
 *
 * @throws KvError USAGE
 */
export function dispatch(program: Program, argv: readonly string[]): Request {
  const parsed: Parsed = { flags: new Map(), args: [] };
  const globals = new FlagSet([program.globals], "the flags of a command go after its name");
  const { words, next } = readWords(program, argv, globals, parsed);
  const command = commandNamed(program, words.join(" "));
  if (command === undefined) {
    if (parsed.flags.get("help") === true && words.length === 0) return { kind: "help", command: undefined };
    if (parsed.flags.get("version") === true && words.length === 0) return { kind: "version", parsed };
    if (words.length === 0 && next === argv.length) return { kind: "nothing" };
    throw unknownCommand(program, [...words, ...argv.slice(next, next + 1)]);
  }
  const known = new FlagSet([program.globals, command.flags ?? []]);
  if (asksHelp(argv, next)) return { kind: "help", command };
  parseFlags(argv, next, known, parsed);
  if (parsed.flags.get("help") === true) return { kind: "help", command };
  return { kind: "run", command, parsed, known };
}

/** Help is wanted even where the other arguments are wrong: that is when people ask for it. */
function asksHelp(argv: readonly string[], start: number): boolean {
  const end = argv.indexOf("--", start);
  const words = argv.slice(start, end < 0 ? undefined : end);
  return words.includes("--help") || words.includes("-h");
}

function commandNamed({ commands }: Program, name: string): Command | undefined {
  for (const each of commands) if (each.name === name) return each;
  return undefined;
}

function isGroup({ commands }: Program, name: string): boolean {
  return commands.some((each) => each.name.startsWith(`${name} `));
}

/** Reads global flags and the one or two words of a command's name. */
function readWords(
  program: Program,
  argv: readonly string[],
  globals: FlagSet,
  parsed: Parsed,
): { readonly words: string[]; readonly next: number } {
  const words: string[] = [];
  for (let next = 0; ; next++) {
    next = parseFlags(argv, next, globals, parsed, true);
    const name = [...words, argv[next]].join(" ");
    const exists = commandNamed(program, name) !== undefined;
    if (next >= argv.length || !(exists || isGroup(program, name))) return { words, next };
    words.push(argv[next]!);
    if (exists) return { words, next: next + 1 };
  }
}

/** The error for words that name no command; also used by `help`. */
export function unknownCommand(program: Program, words: readonly string[]): KvError {
  const name = words.filter((word) => word !== "--").join(" ");
  const group = program.commands.filter((each) => each.name.startsWith(`${words[0]} `) && !each.hidden);
  if (group.length > 0) {
    const rest = group.map((each) => each.name.slice(each.name.indexOf(" ") + 1));
    const near = words[1] === undefined ? undefined : nearest(words[1], rest);
    return new KvError(
      "USAGE",
      words[1] === undefined ? `'${name}' needs one word more` : `unknown command '${name}'`,
      {
        hint:
          near === undefined
            ? `there is: ${group.map((each) => each.name).join(", ")}`
            : `did you mean '${words[0]} ${near}'?`,
      },
    );
  }
  const near = nearest(
    words[0] ?? "",
    new Set(program.commands.flatMap((each) => (each.hidden ? [] : [each.name.split(" ")[0]!]))),
  );
  return new KvError("USAGE", `unknown command '${words[0] ?? ""}'`, {
    hint: near === undefined ? `'${program.title} help' lists the commands` : `did you mean '${near}'?`,
  });
}

/**
 * Gives each positional argument its name.
 *
 * @throws KvError USAGE for a missing or an extra one
 */
export function bindArgs(program: Program, command: Command, values: readonly string[]): Args {
  const byName = new Map<string, readonly string[]>();
  const specs = command.args ?? [];
  const hint = `'${program.title} ${command.name} --help' shows how it is used`;
  let at = 0;
  for (const spec of specs) {
    const taken = isMany(spec) ? values.slice(at) : values.slice(at, at + 1);
    if (taken.length === 0 && (spec.count === "one" || spec.count === "some")) {
      throw new KvError("USAGE", `${command.name} needs ${spec.name.toUpperCase()}`, { hint });
    }
    for (const value of taken) checkChoice(spec.name.toUpperCase(), spec.choices, value);
    byName.set(spec.name, taken);
    at += taken.length;
  }
  const extra = values[at];
  if (extra !== undefined) throw new KvError("USAGE", `unexpected argument '${extra}' of ${command.name}`, { hint });
  return new Args(byName);
}

function isMany(spec: ArgSpec): boolean {
  return spec.count === "some" || spec.count === "any";
}
