/** What a verb is given: everything it may know of the outside. */

import type { Clock } from "../clock.ts";
import { assert } from "../errors.ts";
import type { FlagValue } from "./flags.ts";
import type { Output } from "./output.ts";
import type { FlagSpec } from "./spec.ts";
import type { Stdin } from "./stdin.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Context {
  readonly flags: Flags;
  readonly args: Args;
  readonly out: Output;
  readonly stdin: Stdin;
  readonly env: Environment;
  /** Absolute; `-C` is in it already. */
  readonly cwd: string;
  readonly clock: Clock;
  /** Aborted by SIGINT and SIGTERM. Its reason is a KvError, INTERRUPTED or TERMINATED: `signal.throwIfAborted()` ends a verb rightly. */
  readonly signal: AbortSignal;
}

/** The flags that were given, global ones included. Asking for one that is not declared is a bug and says so. */
export class Flags {
  readonly #types = new Map<string, FlagSpec["type"]>();
  readonly #given: ReadonlyMap<string, FlagValue>;

  constructor(specs: readonly FlagSpec[], given: ReadonlyMap<string, FlagValue>) {
    for (const { name, type } of specs) this.#types.set(name, type);
    this.#given = given;
  }

  /** Whether a switch is on. */
  on(name: string): boolean {
    return this.toggle(name) ?? false;
  }

  /** A switch as it was given: undefined when neither `--name` nor `--no-name` was. */
  toggle(name: string): boolean | undefined {
    return this.#get(name, "boolean") as boolean | undefined;
  }

  /** The value of a flag, undefined when it was not given. */
  value(name: string): string | undefined {
    return this.#get(name, "string") as string | undefined;
  }

  /** The values of a repeatable flag in their order. */
  values(name: string): readonly string[] {
    return (this.#get(name, "repeatable") as readonly string[] | undefined) ?? [];
  }

  #get(name: string, type: FlagSpec["type"]): FlagValue | undefined {
    const declared = this.#types.get(name);
    if (declared !== type)
      assert(false, `flag --${name} is declared as ${declared ?? "nothing"}, asked for as ${type}`);
    return this.#given.get(name);
  }
}

/** The positional arguments by name. */
export class Args {
  readonly #byName: ReadonlyMap<string, readonly string[]>;

  constructor(byName: ReadonlyMap<string, readonly string[]>) {
    this.#byName = byName;
  }

  /** An argument that is always there. */
  one(name: string): string {
    const value = this.optional(name);
    assert(value !== undefined, `argument ${name} is not required`);
    return value;
  }

  optional(name: string): string | undefined {
    return this.list(name)[0];
  }

  list(name: string): readonly string[] {
    const values = this.#byName.get(name);
    assert(values !== undefined, `no argument ${name} is declared`);
    return values;
  }
}
