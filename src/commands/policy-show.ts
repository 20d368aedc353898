/** `git kv policy show`: the policy in force as far as this clone knows, and where that is from. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { knownPolicy } from "../kv/policy-in-force.ts";
import { parsePolicy, policyText } from "../kv/read-policy.ts";
import { openWorkspace } from "./open.ts";
import { writtenPolicy } from "./policy-file.ts";

export function run(context: Context): void {
  const { out } = context;
  const workspace = openWorkspace(context);
  const known = knownPolicy(workspace);
  if (known === undefined) {
    throw new KvError("CONFIG", "there is no policy in force here", {
      hint: "'git kv fetch' brings the one of the remote; 'git kv policy apply' begins one",
    });
  }
  const { oid, ref, chain } = known;
  const text = policyText(workspace.repo.objects, oid);
  const written = writtenPolicy(workspace)?.text;
  const drift = written === undefined ? "no file" : written === text ? "same" : "differs";
  if (out.json) {
    const { file } = parsePolicy(text, oid);
    out.record({ oid, ref, root: chain.at(-1), commits: chain.length, drift, policy: file, text });
    return;
  }
  out.answer(text);
  out.note(`in force: ${oid} at ${ref}, ${chain.length} commit${chain.length === 1 ? "" : "s"} from the root`);
  if (drift === "differs")
    out.note(".kv/policy.yaml in the worktree differs: 'git kv policy apply' brings it into force");
}
