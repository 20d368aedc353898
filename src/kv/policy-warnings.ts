/** What a sound policy may say without its author meaning it. Nothing of it keeps a policy from coming into force. */

import { toKvError } from "../errors.ts";
import { parseUrl } from "../gitwire/transport/url.ts";
import { namespacePolicy, namespaceRules, type Policy } from "./policy.ts";
import { adminsOf, hasAdmins, isValidAt, type Writer, writersOf } from "./policy-keys.ts";

/** Sentences about `policy`, at the time `now` (milliseconds). */
export async function policyWarnings(policy: Policy, now: number): Promise<readonly string[]> {
  const said: string[] = [];
  const isNow = (key: Writer): boolean => isValidAt(key, now);
  if (hasAdmins(policy) && !(await adminsOf(policy)).some(isNow))
    said.push("no admin's time is now: while that is so, nobody can change this policy");
  const names = Object.keys(policy.file.namespaces ?? {});
  const strict = names.filter((ns) => namespaceRules(policy, ns).rules.require_signed_commits === true);
  // Of "*" it is the way to say that nobody begins another namespace.
  for (const ns of strict.filter((name) => name !== "*")) {
    if (!(await writersOf(policy, ns)).some(isNow)) said.push(`nobody may write in '${ns}': no writer's time is now`);
  }
  if (strict.length > 0 && !namespacePolicy(policy, "*").requireSignedCommits) {
    const rest = "whoever may push can begin another one, unsigned, until 'namespaces' says something of \"*\"";
    said.push(`signatures are required in ${strict.map((ns) => `'${ns}'`).join(", ")} only: ${rest}`);
  }
  for (const [name, address] of Object.entries({
    push_url: policy.pushUrl,
    read_url: policy.file.stargate?.read_url,
  })) {
    const problem = address === undefined ? undefined : addressProblem(address);
    if (problem !== undefined) said.push(`no clone can use stargate.${name}: ${problem}`);
  }
  return said;
}

/** Why `address` is none that every clone can reach, or undefined. */
export function addressProblem(address: string): string | undefined {
  try {
    const { kind } = parseUrl(address);
    const isRelative = kind === "local" && !/^(?:[/~]|file:)/.test(address);
    return isRelative ? `'${address}' is a path that begins nowhere` : undefined;
  } catch (error) {
    return toKvError(error).message;
  }
}
