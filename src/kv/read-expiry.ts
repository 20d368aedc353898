/** What readers do about an expired key, as the policy says (`retention.enforce_readside`), and whether the clock can be trusted. */

import { KvError } from "../errors.ts";
import { parseCommit, parseIdent } from "../gitwire/object/commit.ts";
import { readAs } from "../gitwire/object/object.ts";
import { ledgerSkew, warnOfClock } from "./clock-skew.ts";
import { namespacePolicy } from "./policy.ts";
import { cachedPolicy } from "./policy-cache.ts";
import type { NamespaceState } from "./state.ts";
import type { Workspace } from "./workspace.ts";

/**
 * Whether expired keys are hidden. They are, unless the policy this clone knows says they are not; without a clone, the policy that the
 * state was made under.
 */
export async function hidesExpired(workspace: Workspace, state: NamespaceState): Promise<boolean> {
  const { copy, repo, ns } = workspace;
  const oid = copy === undefined ? workspace.policy() : state.ledger.policy;
  if (oid === undefined) return true;
  try {
    return namespacePolicy(await cachedPolicy(repo, oid, copy && ((work) => copy.through(work))), ns).enforceReadside;
  } catch (error) {
    if (error instanceof KvError) return true;
    throw error;
  }
}

/** Warns where the state, by what its own commit says, comes from after now: whether a key has expired cannot be told then. */
export function warnOfLedgerTime({ repo, around }: Workspace, state: NamespaceState): void {
  const { oid } = state.ledger;
  const { committer } = parseCommit(repo.objects.format, readAs(repo.objects, oid, "commit"));
  const skew = ledgerSkew(parseIdent(committer).seconds * 1000, around.clock.now());
  if (skew !== undefined) warnOfClock(around, skew);
}
