/** How many keys of an import go into one transaction. */

import { DEFAULT_MAX_KEYS, namespacePolicy } from "../policy.ts";
import { policyAt } from "../read-policy.ts";
import type { Workspace } from "../workspace.ts";

/** Most keys of one transaction, unless the policy wants fewer. */
const MOST_KEYS = 100_000;

/** The number that is `wanted`, as far as the policy allows it. */
export function mostKeys(workspace: Workspace, wanted: number = MOST_KEYS): number {
  const policy = workspace.policy();
  if (policy === undefined) return Math.min(wanted, DEFAULT_MAX_KEYS);
  return Math.min(wanted, namespacePolicy(policyAt(workspace.repo.objects, policy), workspace.ns).maxKeysPerTxn);
}
