/** The policy in force as far as this clone knows, without asking anybody: the accepted one, or a later one the mirror has shown. */

import { commitLinks } from "../gitwire/object/commit.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { LIMITS } from "../limits.ts";
import { POLICY_REF, trackingRoot } from "./namespace.ts";
import type { Workspace } from "./workspace.ts";

/** A policy commit and the ref it was found at. */
export interface KnownPolicy {
  readonly oid: Oid;
  readonly ref: string;
  /** Links of the chain, the newest first; as many as this clone has. */
  readonly chain: readonly Oid[];
}

/** The newest policy known here; undefined where there is none. */
export function knownPolicy({ repo, remote }: Workspace): KnownPolicy | undefined {
  const found = [POLICY_REF, `${trackingRoot(remote)}kv-policy`].flatMap((ref): KnownPolicy[] => {
    const oid = repo.refs.resolve(ref);
    return oid === undefined ? [] : [{ oid, ref, chain: chainOf(repo.objects, oid) }];
  });
  const [accepted, tracked] = found;
  return tracked?.chain.includes(accepted!.oid) ? tracked : accepted;
}

/** The links from `tip` back, the newest first, as far as they are here. */
export function chainOf(objects: ObjectSource, tip: Oid): Oid[] {
  const chain: Oid[] = [];
  for (let at: Oid | undefined = tip; at !== undefined && chain.length < LIMITS.policyLinks; ) {
    chain.push(at);
    if (!objects.has(at)) break;
    [at] = commitLinks(objects.format, readAs(objects, at, "commit")).parents;
  }
  return chain;
}
