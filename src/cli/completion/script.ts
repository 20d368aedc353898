/** The completion script of a program for a shell. */

import { assert } from "../../errors.ts";
import type { Program } from "../command.ts";
import { bash } from "./bash.ts";
import { fish } from "./fish.ts";
import { zsh } from "./zsh.ts";

/** The script for one of bash, zsh, fish. */
export function completionScript(program: Program, shell: string): string {
  const make = { bash, zsh, fish }[shell];
  assert(make !== undefined, `no completion for ${shell}`);
  return make(program);
}
