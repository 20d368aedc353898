/**
 * The root of trust: the first policy commit, kept in git's config (`kv.policyRoot`) when a clone is set up, else when it is first audited.
 * Everything else follows from it by signatures; that the root is the right one nobody can prove from the repository.
 */

import { setConfig } from "../gitwire/config/config-edit.ts";
import { commitLinks } from "../gitwire/object/commit.ts";
import { readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Repository } from "../gitwire/repo.ts";
import { knownPolicy } from "./policy-in-force.ts";
import type { Workspace } from "./workspace.ts";

const NAME = "kv.policyRoot";

export type PolicyPin =
  | { readonly kind: "as pinned" | "pinned now"; readonly root: Oid }
  /** Another root than the one pinned; undefined: no policy where there was one. */
  | { readonly kind: "changed"; readonly pinned: Oid; readonly root: Oid | undefined }
  /** None pinned, and no policy, or it was not to be pinned. */
  | { readonly kind: "none" };

/** Compares the root found with the one pinned, and with `keep` pins it where none is. Throws CONFIG, LOCKED, IO where that cannot be written. */
export function pinPolicyRoot(repo: Repository, root: Oid | undefined, keep: boolean): PolicyPin {
  const pinned = repo.config.get(NAME);
  if (pinned !== undefined) return pinned === root ? { kind: "as pinned", root } : { kind: "changed", pinned, root };
  if (root === undefined || !keep) return { kind: "none" };
  setConfig(repo.configFile, NAME, root);
  repo.reloadConfig();
  return { kind: "pinned now", root };
}

/** Compares and pins the root of the policy this clone knows, where all of its chain is here: what comes later is held against it. */
export function pinKnownRoot(workspace: Workspace): PolicyPin {
  const { repo } = workspace;
  const first = knownPolicy(workspace)?.chain.at(-1);
  const isRoot =
    first !== undefined &&
    repo.objects.has(first) &&
    commitLinks(repo.objects.format, readAs(repo.objects, first, "commit")).parents.length === 0;
  return isRoot ? pinPolicyRoot(repo, first, true) : { kind: "none" };
}
