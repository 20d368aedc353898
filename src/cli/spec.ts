/** The flags and arguments of a command, as data. */

/** A flag of a command, or a global one. */
export interface FlagSpec {
  /** Long name without the dashes. */
  readonly name: string;
  /** One letter. */
  readonly alias?: string;
  /** A switch (`--x`, `--no-x`), one value (`--x V`, `--x=V`), or a value each time it is given. */
  readonly type: "boolean" | "string" | "repeatable";
  /** What help calls the value, in capitals. */
  readonly value?: string;
  /** The values that are taken, where no other is. */
  readonly choices?: readonly string[];
  readonly summary: string;
  /** What completion offers for the value. */
  readonly complete?: Completed;
}

/** Names that completion looks up. */
export type Completed = "file" | "directory" | "key" | "command";

/** A positional argument. Only the last one may be repeated. */
export interface ArgSpec {
  /** What help calls it, in small letters; verbs ask for it by this name. */
  readonly name: string;
  /** Exactly one, at most one, at least one, any number. */
  readonly count: "one" | "optional" | "some" | "any";
  readonly summary: string;
  /** The values that are taken. */
  readonly choices?: readonly string[];
  readonly complete?: Completed;
}
