/** Every command of git-kv-stargate. A verb is the module beside this file that exports `run(context)`. */

import { builtins } from "../../cli/builtins.ts";
import type { Command, Program } from "../../cli/command.ts";
import { COMMON_FLAGS } from "../../cli/globals.ts";

const TOPICS = ["Serve", "Operate", "Other"] as const;

const COMMANDS: readonly Command[] = [];

export const PROGRAM: Program = {
  name: "git-kv-stargate",
  title: "git-kv-stargate",
  summary: "The gateway that admits pushes to git-kv namespaces and keeps their mirrors.",
  topics: TOPICS,
  globals: COMMON_FLAGS,
  commands: [...COMMANDS, ...builtins("Other", () => PROGRAM)],
};
