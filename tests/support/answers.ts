/** Runs commands of both programs with --json and keeps every line they answer, by command. */

import type { Command, Program } from "../../src/cli/command.ts";
import { executable, runProgram } from "./executable.ts";
import { ENV } from "./scene.ts";

export interface RunOptions {
  /** The exit status, 0 if it is not given; undefined: any but 0. */
  readonly status?: number | undefined;
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** What a command answered: one parsed line each. */
export class Answers {
  readonly #env: NodeJS.ProcessEnv;
  readonly #lines = new Map<string, unknown[]>();

  constructor(env: NodeJS.ProcessEnv = ENV) {
    this.#env = env;
  }

  /** Lines of `git-kv set` and so on, by executable and command. */
  get byCommand(): ReadonlyMap<string, readonly unknown[]> {
    return this.#lines;
  }

  /** Runs `program` in `dir`; throws unless it ends with the status that is expected. Returns what it answered, as it is. */
  run(program: Program, dir: string, args: readonly string[], options: RunOptions = {}): string {
    const { input = "", env = this.#env } = options;
    const expected = "status" in options ? options.status : 0;
    const run = runProgram(executable(program.name as "git-kv"), [...args, "--json"], { cwd: dir, env, input });
    if (expected !== undefined ? run.status !== expected : run.status === 0) {
      throw new Error(`${program.name} ${args.join(" ")} exited ${run.status}: ${run.stdout}${run.stderr}`);
    }
    this.#keep(commandOf(program, args), program, run.stdout);
    return run.stdout;
  }

  #keep(command: Command, program: Program, stdout: string): void {
    const name = `${program.name} ${command.name}`;
    const lines = this.#lines.get(name) ?? [];
    this.#lines.set(name, lines);
    for (const line of stdout.split("\n")) if (line !== "") lines.push(JSON.parse(line));
  }
}

/** The command that `args` begin with. */
function commandOf(program: Program, args: readonly string[]): Command {
  const named = (words: number): Command | undefined =>
    program.commands.find(({ name }) => name === args.slice(0, words).join(" "));
  const command = named(2) ?? named(1);
  if (command === undefined) throw new Error(`no command: ${args.join(" ")}`);
  return command;
}
