/**
 * The root of trust: the first policy commit, kept in git's config (`kv.policyRoot`) of the clone that first audited it. Everything else
 * follows from it by signatures; that the root is the right one nobody can prove from the repository.
 */

import { setConfig } from "../gitwire/config/config-edit.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Repository } from "../gitwire/repo.ts";

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
  return { kind: "pinned now", root };
}
