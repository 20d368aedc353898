/**
 * What the holder of an SSH key may do, by the policy at this moment (docs/policy.md, "Who gets in"): an admin everything, a writer of
 * any namespace read and write, a reader read. Which namespace and which keys a writer may write is judged with the transaction.
 */

import { KvError } from "../errors.ts";
import type { Repository } from "../gitwire/repo.ts";
import { POLICY_REF } from "../kv/namespace.ts";
import type { Policy } from "../kv/policy.ts";
import { adminsOf, isValidAt, readersOf, type Writer, writersOf } from "../kv/policy-keys.ts";
import { policyAt } from "../kv/read-policy.ts";
import { type Identity, SCOPES, type Scope } from "./tokens.ts";

/** An SSH key of the policy and the most it may do. */
export interface SshAccess {
  readonly writer: Writer;
  readonly scope: Scope;
}

/** The policy in force in `repo`; undefined where there is none. Throws POLICY_UNTRUSTED, CONFIG. */
export function policyOf(repo: Repository): Policy | undefined {
  const oid = repo.refs.resolve(POLICY_REF);
  return oid === undefined ? undefined : policyAt(repo.objects, oid);
}

/** Every SSH key that gets in at `now` (milliseconds), once each, by fingerprint. */
export async function sshAccess(policy: Policy, now: number): Promise<ReadonlyMap<string, SshAccess>> {
  const namespaces = Object.keys(policy.file.namespaces ?? {});
  const all = async (of: (policy: Policy, ns: string) => Promise<readonly Writer[]>): Promise<readonly Writer[]> =>
    (await Promise.all(namespaces.map((ns) => of(policy, ns)))).flat();
  const found = new Map<string, SshAccess>();
  const add = (scope: Scope, writers: readonly Writer[]): void => {
    for (const writer of writers) {
      if (writer.ssh === undefined || !isValidAt(writer, now)) continue;
      const before = found.get(writer.fingerprint);
      if (before === undefined) found.set(writer.fingerprint, { writer, scope });
    }
  };
  add("admin", await adminsOf(policy));
  add("write", await all(writersOf));
  add("read", await all(readersOf));
  return found;
}

/** Who holds the key `fingerprint`, with `most` as the most it may do here. Throws FORBIDDEN where the policy does not list it. */
export async function sshIdentity(
  policy: Policy | undefined,
  fingerprint: string,
  most: Scope,
  name: string,
  now: number,
): Promise<Identity> {
  const access = policy === undefined ? undefined : (await sshAccess(policy, now)).get(fingerprint);
  if (access === undefined) {
    throw new KvError("FORBIDDEN", `the policy of this repository does not list the key ${fingerprint}`, {
      hint: "let an admin add it to the policy's writers or readers",
    });
  }
  const scope = SCOPES[Math.min(SCOPES.indexOf(access.scope), SCOPES.indexOf(most))]!;
  return { name, scope, door: "ssh", key: fingerprint };
}
