/** `git kv policy apply`: brings a policy into force. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { applyPolicy } from "../kv/apply-policy.ts";
import { policyWarnings } from "../kv/policy-warnings.ts";
import { parsePolicy } from "../kv/read-policy.ts";
import { openWorkspace } from "./open.ts";
import { readPolicyFile, writtenPolicy } from "./policy-file.ts";

export async function run(context: Context): Promise<void> {
  const { args, flags, out } = context;
  const workspace = openWorkspace(context);
  const given = args.optional("file");
  const source = given === undefined ? writtenPolicy(workspace) : await readPolicyFile(context, given);
  if (source === undefined) {
    throw new KvError("USAGE", "there is no .kv/policy.yaml in the worktree", { hint: "name the file" });
  }
  const applied = await applyPolicy(workspace, { ...source, message: flags.value("message") });
  if (out.json) out.record({ oid: applied.oid, applied: applied.kind === "applied" });
  else out.line(applied.oid);
  if (applied.kind !== "applied") out.note("this policy is in force already");
  for (const text of await policyWarnings(parsePolicy(source.text, source.name), context.clock.now())) out.warn(text);
}
