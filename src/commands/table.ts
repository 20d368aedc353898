/**
 * Every command of git-kv with its arguments and flags, topic by topic in `table/`. A verb is the module
 * `src/commands/<name>.ts` (a space in the name is a dash) that exports `run(context)`; it is loaded only when it runs.
 */

import { builtins } from "../cli/builtins.ts";
import type { Command, Program } from "../cli/command.ts";
import { COMMON_FLAGS } from "../cli/globals.ts";
import type { FlagSpec } from "../cli/spec.ts";
import { AUDIT } from "./table/audit.ts";
import { EPOCHS } from "./table/epochs.ts";
import { KEYS } from "./table/keys.ts";
import { POLICY } from "./table/policy.ts";
import { REMOTE } from "./table/remote.ts";
import { START } from "./table/start.ts";
import { TRANSFER } from "./table/transfer.ts";

const GLOBALS: readonly FlagSpec[] = [
  { name: "ns", type: "string", value: "NAME", summary: "The namespace (default: kv.namespace, else main)" },
  {
    name: "repo",
    type: "string",
    value: "URL|PATH",
    complete: "directory",
    summary: "The repository, where it is not the one around here; a URL is used without a clone",
  },
  ...COMMON_FLAGS,
];

const TOPICS = [
  "Start",
  "Read and write",
  "Import and export",
  "Audit",
  "Epochs",
  "Policy",
  "Remote",
  "Other",
] as const;

const COMMANDS: readonly Command[] = [...START, ...KEYS, ...TRANSFER, ...AUDIT, ...EPOCHS, ...POLICY, ...REMOTE];

/** Called by the completion scripts. */
const COMPLETE_KEYS: Command = {
  name: "complete-keys",
  topic: "Other",
  summary: "Print the keys that the last word of a command line may become",
  args: [{ name: "line", count: "one", summary: "The command line as far as the cursor" }],
  hidden: true,
  brief: true,
  load: async () => {
    const { completeKeys } = await import("./complete-keys.ts");
    return { run: (context) => completeKeys(PROGRAM, context) };
  },
};

export const PROGRAM: Program = {
  name: "git-kv",
  title: "git kv",
  summary: "An auditable, versioned key-value store with Git as its database.",
  topics: TOPICS,
  globals: GLOBALS,
  manual: async () => (await import("./manual.ts")).MANUAL,
  answers: async () => (await import("./answers.ts")).ANSWERS,
  commands: [...COMMANDS, COMPLETE_KEYS, ...builtins("Other", () => PROGRAM)],
};
