/** Reads a command line that is being typed: what its last word is, by the table. */

import type { Command, Program } from "../command.ts";
import { FlagSet } from "../flags.ts";
import type { Completed, FlagSpec } from "../spec.ts";

/** The last word of a line. */
export interface TypedWord {
  /** What is typed of it, without the shell's quotes. */
  readonly text: string;
  /** What it is to be; undefined where nothing is looked up. */
  readonly wants: Completed | undefined;
  /** Values of the global flags before it, the last of each. */
  readonly globals: ReadonlyMap<string, string>;
  /** Where -C leads to, git's own first: each counts from the one before. */
  readonly folders: readonly string[];
}

/** Reads `line`, which ends where the cursor is. Undefined where the program is not in it, or no command yet. */
export function readLine(program: Program, line: string): TypedWord | undefined {
  const [executable, ...words] = splitWords(line);
  const text = words.pop();
  if (text === undefined) return undefined;
  const reader = new Reader(program);
  const base = executable!.slice(executable!.lastIndexOf("/") + 1);
  if (base === "git") reader.takeGit(words);
  else if (base !== program.name) return undefined;
  for (const word of words) reader.take(word);
  return reader.command === undefined ? undefined : reader.last(text);
}

/** Takes words one by one and knows what the next one is. Mistakes are passed over: they are not ours to report. */
class Reader {
  command: Command | undefined;
  readonly globals = new Map<string, string>();
  readonly folders: string[] = [];
  readonly #program: Program;
  #flags: FlagSet;
  #name = "";
  #positional = 0;
  #flagsEnded = false;
  /** The flag whose value comes next. */
  #open: FlagSpec | undefined;

  constructor(program: Program) {
    this.#program = program;
    this.#flags = new FlagSet([program.globals]);
  }

  /** Takes git's own flags and the word that names the program off `words`. */
  takeGit(words: string[]): void {
    for (;;) {
      const word = words.shift();
      if (word === undefined || this.#program.title === `git ${word}`) return;
      if (word === "-C") this.folders.push(words.shift() ?? ".");
    }
  }

  take(word: string): void {
    if (this.#open !== undefined) this.#close(word);
    else if (word === "--" && !this.#flagsEnded) this.#flagsEnded = true;
    else if (word.startsWith("-") && word !== "-" && !this.#flagsEnded) this.#flag(word);
    else if (this.command === undefined) this.#nameWord(word);
    else this.#positional++;
  }

  last(text: string): TypedWord {
    const { globals, folders } = this;
    if (this.#open !== undefined) return { text, wants: this.#open.complete, globals, folders };
    if (text.startsWith("-") && !this.#flagsEnded) {
      const [name, value] = cutAtEquals(text);
      const wants = value === undefined ? undefined : this.#find(name)?.complete;
      return { text: value ?? text, wants, globals, folders };
    }
    const args = this.command?.args ?? [];
    const last = args.at(-1);
    const spec = args[this.#positional] ?? (last?.count === "some" || last?.count === "any" ? last : undefined);
    return { text, wants: spec?.complete, globals, folders };
  }

  #flag(word: string): void {
    const [name, value] = cutAtEquals(word);
    const spec = this.#find(name);
    if (spec === undefined || spec.type === "boolean") return;
    this.#open = spec;
    if (value !== undefined) this.#close(value);
  }

  #close(value: string): void {
    if (this.#open!.name === "cwd") this.folders.push(value);
    else if (this.#program.globals.includes(this.#open!)) this.globals.set(this.#open!.name, value);
    this.#open = undefined;
  }

  #find(name: string): FlagSpec | undefined {
    if (name.startsWith("--")) return this.#flags.find(name.slice(2));
    return this.#flags.hasLetter(name.slice(1)) ? this.#flags.letter(name.slice(1)) : undefined;
  }

  #nameWord(word: string): void {
    this.#name = this.#name === "" ? word : `${this.#name} ${word}`;
    this.command = this.#program.commands.find(({ name }) => name === this.#name);
    if (this.command !== undefined) this.#flags = new FlagSet([this.#program.globals, this.command.flags ?? []]);
  }
}

function cutAtEquals(word: string): readonly [name: string, value: string | undefined] {
  const at = word.indexOf("=");
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}

/** Words as a POSIX shell splits them, quotes taken off; the last one may be empty or have an open quote. */
export function splitWords(line: string): string[] {
  const words = [""];
  let quote = "";
  for (let i = line.search(/\S|$/); i < line.length; i++) {
    const char = line[i]!;
    const escapes = char === "\\" && quote !== "'" && (quote === "" || /["\\$`]/.test(line[i + 1] ?? ""));
    if (escapes) words[words.length - 1] += line[++i] ?? "";
    else if (quote !== "" ? char === quote : char === "'" || char === '"') quote = quote === "" ? char : "";
    else if (quote === "" && /\s/.test(char)) {
      if (!/\s/.test(line[i - 1]!)) words.push("");
    } else words[words.length - 1] += char;
  }
  return words;
}
