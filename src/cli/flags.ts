/**
 * Splits the arguments of a program into its command, flags and positional arguments, by the table.
 *
 *   --flag  --no-flag        switch          --  ends the flags
 *   --flag=V  --flag V       value           -   is an argument
 *   -f  -fV  -f V  -qf V     short forms     -5  is an argument, unless it is a flag of the table
 *
 * Nothing is guessed: an unknown flag, a value where none belongs, a missing value and a second, different value are
 * errors, because a mistyped condition that is dropped would silently overwrite.
 */

import { KvError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import type { FlagSpec } from "./spec.ts";

/** What was given for each flag: a switch, a value, or the values of a repeatable flag. */
export type FlagValue = boolean | string | readonly string[];

/** Flags and arguments in the order they came. */
export interface Parsed {
  readonly flags: Map<string, FlagValue>;
  readonly args: string[];
}

/** Known flags by name and by letter. */
export class FlagSet {
  readonly specs: readonly FlagSpec[];
  readonly #byName = new Map<string, FlagSpec>();
  readonly #advice: string;
  readonly #byLetter = new Map<string, FlagSpec>();

  /** `advice` is the hint about an unknown flag that resembles no known one. */
  constructor(groups: readonly (readonly FlagSpec[])[], advice = "'--' goes before arguments that begin with '-'") {
    this.#advice = advice;
    this.specs = ([] as FlagSpec[]).concat(...groups);
    for (const spec of this.specs) {
      this.#byName.set(spec.name, spec);
      if (spec.alias !== undefined) this.#byLetter.set(spec.alias, spec);
    }
  }

  named(name: string): FlagSpec {
    const spec = this.#byName.get(name);
    if (spec !== undefined) return spec;
    const near = nearest(name, this.#byName.keys()) ?? nearest(name.replace(/^no-/, ""), this.#byName.keys());
    throw this.#unknown(`--${name}`, near);
  }

  find(name: string): FlagSpec | undefined {
    return this.#byName.get(name);
  }

  hasLetter(letter: string): boolean {
    return this.#byLetter.has(letter);
  }

  letter(letter: string): FlagSpec {
    const spec = this.#byLetter.get(letter);
    if (spec === undefined) throw this.#unknown(`-${letter}`, undefined);
    return spec;
  }

  #unknown(written: string, near: string | undefined): KvError {
    return new KvError("USAGE", `unknown flag ${written}`, {
      hint: near === undefined ? this.#advice : `did you mean --${near}?`,
    });
  }
}

/**
 * Reads `argv` from `start`. With `untilWord`, stops at the first argument that is no flag (the name of a command).
 *
 * @returns the index of what was not read
 * @throws KvError USAGE
 */
export function parseFlags(
  argv: readonly string[],
  start: number,
  known: FlagSet,
  into: Parsed,
  untilWord = false,
): number {
  let at = start;
  for (; at < argv.length; at++) {
    const token = argv[at]!;
    if (token === "--") {
      if (untilWord) return at;
      into.args.push(...argv.slice(at + 1));
      return argv.length;
    }
    if (token.startsWith("--")) at += long(token.slice(2), argv[at + 1], known, into);
    else if (isShort(token, known)) at += short(token, argv[at + 1], known, into);
    else if (untilWord) return at;
    else into.args.push(token);
  }
  return at;
}

function isShort(token: string, known: FlagSet): boolean {
  if (token.length < 2 || token[0] !== "-") return false;
  const letter = token[1]!;
  const isNumber = letter === "." || (letter >= "0" && letter <= "9");
  return !isNumber || known.hasLetter(letter);
}

/** Takes `--<body>`; the result is how many of the following arguments it used. */
function long(body: string, next: string | undefined, known: FlagSet, into: Parsed): 0 | 1 {
  const equals = body.indexOf("=");
  const name = equals < 0 ? body : body.slice(0, equals);
  const value = equals < 0 ? undefined : body.slice(equals + 1);
  const negated = name.startsWith("no-") && known.find(name) === undefined ? known.find(name.slice(3)) : undefined;
  if (negated?.type === "boolean") {
    if (value !== undefined) throw new KvError("USAGE", `flag --${name} takes no value`);
    put(negated, false, into);
    return 0;
  }
  const spec = known.named(name);
  if (spec.type !== "boolean") return putValue(spec, `--${name}`, value, next, known, into);
  if (value !== undefined) throw new KvError("USAGE", `flag --${name} takes no value`);
  put(spec, true, into);
  return 0;
}

/** Takes `-abc`: switches, the last of which may be a flag with a value. */
function short(token: string, next: string | undefined, known: FlagSet, into: Parsed): 0 | 1 {
  for (let i = 1; i < token.length; i++) {
    const spec = known.letter(token[i]!);
    if (spec.type !== "boolean") {
      const rest = token.slice(i + 1);
      return putValue(spec, `-${token[i]}`, rest === "" ? undefined : rest.replace(/^=/, ""), next, known, into);
    }
    put(spec, true, into);
  }
  return 0;
}

function putValue(
  spec: FlagSpec,
  written: string,
  value: string | undefined,
  next: string | undefined,
  known: FlagSet,
  into: Parsed,
): 0 | 1 {
  if (value !== undefined) {
    put(spec, value, into);
    return 0;
  }
  if (next === undefined || isFlagLike(next, known)) {
    const long = `--${spec.name}=${valueName(spec)}`;
    throw new KvError("USAGE", `flag ${written} needs a value`, {
      hint: next === undefined ? `write ${long}` : `a value that begins with '-' is written ${long}`,
    });
  }
  put(spec, next, into);
  return 1;
}

/** @throws KvError USAGE where `choices` does not have `value` */
export function checkChoice(what: string, choices: readonly string[] | undefined, value: string): void {
  if (choices === undefined || choices.includes(value)) return;
  const near = nearest(value, choices);
  throw new KvError("USAGE", `${what} is one of ${choices.join(", ")}, not '${value}'`, {
    ...(near === undefined ? {} : { hint: `did you mean ${near}?` }),
  });
}

/** How the value of a flag is called. */
export function valueName(spec: FlagSpec): string {
  return spec.value ?? spec.choices?.join("|") ?? "VALUE";
}

function isFlagLike(token: string, known: FlagSet): boolean {
  return token.startsWith("--") || isShort(token, known);
}

function put(spec: FlagSpec, value: boolean | string, into: Parsed): void {
  if (typeof value === "string") checkChoice(`flag --${spec.name}`, spec.choices, value);
  const given = into.flags.get(spec.name);
  if (spec.type === "repeatable") {
    into.flags.set(spec.name, [...((given as readonly string[] | undefined) ?? []), value as string]);
    return;
  }
  if (spec.type === "string" && given !== undefined && given !== value) {
    throw new KvError("USAGE", `flag --${spec.name} is given twice: '${given}' and '${value}'`);
  }
  into.flags.set(spec.name, value);
}
