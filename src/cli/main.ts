/** The process around a program: its arguments, its signals, its end. */

import { KvError } from "../errors.ts";
import { undecodableArgument } from "./arguments.ts";
import type { Program } from "./command.ts";
import { run } from "./runner.ts";

/**
 * Runs `program` with `argv` (without the executable; those of this process) and ends the process.
 *
 * The first SIGINT or SIGTERM asks the verb to end, so that locks and temporary files go; the second ends at once.
 */
export async function main(program: Program, argv: readonly string[] = process.argv.slice(2)): Promise<never> {
  const controller = new AbortController();
  const stop = (code: "INTERRUPTED" | "TERMINATED", message: string) => (): void => {
    const reason = new KvError(code, message);
    if (controller.signal.aborted) process.exit(reason.exit);
    controller.abort(reason);
  };
  process.on("SIGINT", stop("INTERRUPTED", "interrupted by SIGINT"));
  process.on("SIGTERM", stop("TERMINATED", "ended by SIGTERM"));
  const undecodable = undecodableArgument(argv);
  process.exit(await run(program, { argv, undecodable, env: process.env, signal: controller.signal }));
}
