/** What the policy this clone knows says of an import. */

import { KnownRules } from "../known-rules.ts";
import { namespacePolicy } from "../policy.ts";
import { cachedPolicy } from "../policy-cache.ts";
import type { Workspace } from "../workspace.ts";

/** Most keys of one transaction, unless the policy wants fewer. */
const MOST_KEYS = 100_000;

export interface ImportRules {
  /** Keys of one transaction. */
  readonly mostKeys: number;
  /** What keys and values are held to before any is written; undefined: nothing. */
  readonly content: KnownRules | undefined;
}

/** The rules; `wanted` keys are set in one transaction where the policy allows it. */
export async function importRules(workspace: Workspace, wanted: number = MOST_KEYS): Promise<ImportRules> {
  const oid = workspace.policy();
  const policy = namespacePolicy(oid === undefined ? undefined : await cachedPolicy(workspace.repo, oid), workspace.ns);
  return { mostKeys: Math.min(wanted, policy.maxKeysPerTxn), content: await KnownRules.open(workspace) };
}
