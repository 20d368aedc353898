/** The policy file a new project starts from. */

import * as fs from "node:fs";
import * as path from "node:path";
import type { Repository } from "../gitwire/repo.ts";

/** Where people write the policy. */
const POLICY_FILE = path.join(".kv", "policy.yaml");

/** A policy for `ns` that says what holds without one, to be edited. */
function policyScaffold(ns: string): string {
  return `# Who may write what. It takes force when a Stargate is set up with it (docs/policy.md).
version: 1
# stargate:
#   push_url: https://stargate.example.com/kv.git
namespaces:
  ${ns}:
    require_signed_commits: false
    verify: replay
    max_value_inline: 1MiB
    max_keys_per_txn: 100000
`;
}

/** Writes the scaffold into the worktree where there is one and no policy yet; returns the file's path where it was written. */
export function writeScaffold(repo: Repository, ns: string): string | undefined {
  if (repo.worktree === undefined) return undefined;
  const file = path.join(repo.worktree, POLICY_FILE);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  try {
    fs.writeFileSync(file, policyScaffold(ns), { flag: "wx" });
    return file;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return undefined;
    throw error;
  }
}
