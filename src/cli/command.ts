/**
 * How a command is declared: as data, so that parsing, help, completion and suggestions read one table, and so that a
 * start loads the module of the one verb that runs.
 */

import type { Context } from "./context.ts";
import type { ArgSpec, FlagSpec } from "./spec.ts";

/** What the module of a verb exports. */
export interface Verb {
  /** Runs the verb; a number is the exit status, nothing is 0; errors are thrown as KvError. */
  run(context: Context): Promise<number | undefined> | number | undefined | Promise<void> | void;
}

export interface Command {
  /** One word, or two for a nested command: `remote setup`. */
  readonly name: string;
  /** Heading of the overview it stands under; one of the program's topics. */
  readonly topic: string;
  /** One line, capital first letter, no full stop. */
  readonly summary: string;
  readonly args?: readonly ArgSpec[];
  readonly flags?: readonly FlagSpec[];
  /** Usage lines without the program and the name, where the one made from `args` does not say enough. */
  readonly usage?: readonly string[];
  /** Paragraphs of help after the flags. */
  readonly details?: string;
  /** Command lines worth showing, without the program. */
  readonly examples?: readonly string[];
  /** Left out of the overview and of completion. */
  readonly hidden?: boolean;
  /** Over in milliseconds as a rule: its code is not worth compiling before it has run ten times as often as is usual. */
  readonly brief?: boolean;
  readonly load: () => Promise<Verb>;
}

export interface Program {
  /** The executable. */
  readonly name: string;
  /** How people call it: `git kv`. */
  readonly title: string;
  readonly summary: string;
  /** Headings of the overview, in order. */
  readonly topics: readonly string[];
  readonly commands: readonly Command[];
  /** Flags that every command takes, before or after its name. */
  readonly globals: readonly FlagSpec[];
  /** What its manual page says besides the commands. */
  readonly manual?: () => Promise<Manual>;
  /** For each command by name: the JSON Schema of a line that it answers with --json. */
  readonly answers?: () => Promise<Readonly<Record<string, object>>>;
}

/** Lists of a manual page: a term, and a sentence without its full stop. */
export interface Manual {
  readonly configuration?: readonly (readonly [setting: string, text: string])[];
  readonly environment?: readonly (readonly [variable: string, text: string])[];
}
