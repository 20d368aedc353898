/** What a fuzz test runs: a parser, with all that is to hold whatever bytes it is given. */

import type { Code } from "../../src/errors.ts";
import { KvError } from "../../src/errors.ts";

export interface Target {
  /** Its name, and that of its folder in corpus/. */
  readonly name: string;
  /** Inputs in a run of `make test`; `make fuzz` takes many times as many. */
  readonly rounds: number;
  /** Codes it may refuse its input with. */
  readonly codes: readonly Code[];
  /** Parses; throws a KvError where it refuses, any other error where something is wrong with the parser. */
  run(bytes: Buffer): unknown;
}

/** What became of one input: "ok", or the refusal without what differs from input to input. Throws where neither will do. */
export async function outcomeOf(target: Target, bytes: Buffer): Promise<string> {
  try {
    await target.run(bytes);
    return "ok";
  } catch (error) {
    if (!(error instanceof KvError) || !target.codes.includes(error.code)) throw error;
    return `${error.code}: ${error.message.replace(/'.*'/s, "'...'").replace(/[0-9a-f]*[0-9][0-9a-f]*/g, "N")}`;
  }
}

/** Throws where two values that are to be equal are not. */
export function same(what: string, a: unknown, b: unknown): void {
  if (!Bun.deepEquals(a, b)) throw new Error(`${what}: ${Bun.inspect(a)} and ${Bun.inspect(b)}`);
}

/** The value, or the code of the refusal. */
export async function settled<T>(work: () => T | Promise<T>): Promise<T | string> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
}
