/** Commands about the policy. */

import type { Command } from "../../cli/command.ts";
import { MESSAGE } from "./flags.ts";

const POLICY_ARG = {
  name: "file",
  count: "optional",
  complete: "file",
  summary: "The policy; - reads standard input",
} as const;

export const POLICY: readonly Command[] = [
  {
    name: "policy check",
    topic: "Policy",
    summary: "Find everything that is wrong with a policy, or try a batch against it",
    args: [{ ...POLICY_ARG, summary: "The policy (default: .kv/policy.yaml, else the one in force)" }],
    flags: [
      {
        name: "as",
        type: "string",
        value: "KEY",
        complete: "file",
        summary: "Who would sign: a .pub file, a key, a name in the policy, or 'unsigned'",
      },
      { name: "file", type: "string", value: "BATCH", complete: "file", summary: "The batch, as for mset" },
    ],
    details:
      "Prints each problem with its line; exit 4 where there is one. With --as and --file it decides about a batch with the Stargate's own " +
      "code, says for every key which rule decides, and ends with 3 where one is refused.",
    examples: ["policy check", "policy check new.yaml --as ci.pub --file batch.jsonl"],
    load: () => import("../policy-check.ts"),
  },
  {
    name: "policy show",
    topic: "Policy",
    summary: "Print the policy in force, as far as this clone knows",
    load: () => import("../policy-show.ts"),
  },
  {
    name: "policy apply",
    topic: "Policy",
    summary: "Bring a policy into force (admin)",
    args: [{ ...POLICY_ARG, summary: "The policy (default: .kv/policy.yaml in the worktree); - reads standard input" }],
    flags: [MESSAGE],
    details:
      "Signs the next commit of the policy's chain and pushes it through the Stargate; without one it takes force here.",
    load: () => import("../policy-apply.ts"),
  },
  {
    name: "policy schema",
    topic: "Policy",
    summary: "Print the JSON Schema of the policy file",
    load: () => import("../policy-schema.ts"),
  },
];
