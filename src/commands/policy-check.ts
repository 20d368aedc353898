/** `git kv policy check`: everything that is wrong with a policy file, or what it would say to a batch. */

import type { Context } from "../cli/context.ts";
import { EXIT, KvError } from "../errors.ts";
import { policyProblems } from "../kv/policy-check.ts";
import { policyWarnings } from "../kv/policy-warnings.ts";
import { parsePolicy } from "../kv/read-policy.ts";
import type { Workspace } from "../kv/workspace.ts";
import { describeProblems } from "../yaml-file.ts";
import { openWorkspace } from "./open.ts";
import { dryRun } from "./policy-dry-run.ts";
import { type PolicySource, policyInForce, readPolicyFile, writtenPolicy } from "./policy-file.ts";

export async function run(context: Context): Promise<number> {
  const { flags, args, out } = context;
  const [given, as, batch] = [args.optional("file"), flags.value("as"), flags.value("file")];
  if ((as === undefined) !== (batch === undefined)) {
    throw new KvError("USAGE", "--as and --file go together", {
      hint: "policy check --as alice.pub --file batch.jsonl",
    });
  }
  const workspace = workspaceHere(context, given === undefined);
  let source: PolicySource;
  if (given !== undefined) source = await readPolicyFile(context, given);
  else {
    source = writtenPolicy(workspace!) ?? policyInForce(workspace!);
    out.note(`checking ${source.name}`);
  }
  if (as !== undefined && batch !== undefined) return dryRun(context, workspace, source, { as, batch });
  const problems = await policyProblems(source.text);
  if (out.json) for (const problem of problems) out.record(problem);
  else if (problems.length > 0) out.line(describeProblems(problems, source.name));
  if (problems.length > 0) return EXIT.invalid;
  for (const text of await policyWarnings(parsePolicy(source.text, source.name), context.clock.now())) out.warn(text);
  out.note(`${source.name} is a sound policy`);
  return EXIT.ok;
}

/** The workspace around here; a file can also be checked where there is none. */
function workspaceHere(context: Context, isNeeded: boolean): Workspace | undefined {
  try {
    return openWorkspace(context);
  } catch (error) {
    if (isNeeded || !(error instanceof KvError) || error.code !== "NOT_A_REPOSITORY") throw error;
    return undefined;
  }
}
