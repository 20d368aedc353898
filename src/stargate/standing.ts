/**
 * Whether who began a push may still make it. A connection can be kept open for as long as something trickles in: a token that is
 * revoked meanwhile, or a key that is taken out of the policy, must not let in what comes at its end.
 */

import { KvError } from "../errors.ts";
import type { Gate } from "./gate.ts";
import { sshAccess } from "./ssh-identity.ts";
import { allows, type Identity, type Scope } from "./tokens.ts";

/** The scope that `who` has now, the one the push began with at the most. Throws UNAUTHENTICATED, FORBIDDEN where it has none. */
export async function scopeNow(gate: Gate, { name, scope, token, key }: Identity): Promise<Scope> {
  const now = gate.clock.now();
  if (token !== undefined && !gate.tokens.stands(token, now))
    throw new KvError("UNAUTHENTICATED", `the token of '${name}' was revoked or has expired since this push began`);
  if (key === undefined) return scope;
  const policy = gate.policy()?.policy;
  const access = policy === undefined ? undefined : (await sshAccess(policy, now)).get(key);
  if (access === undefined)
    throw new KvError("FORBIDDEN", `the key of '${name}' is no longer in the policy, since this push began`);
  return allows(access.scope, scope) ? scope : access.scope;
}
