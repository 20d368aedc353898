/**
 * Lines of authorized_keys for the SSH keys of policies (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"): each key may run nothing but
 * `git-kv-stargate shell` for the repositories that list it. What it may do there is decided when it runs.
 *
 *     line    = 'command="' command '",restrict' SP type SP base64 SP comment
 *     command = words for the shell, each in '...'; a '"' is written '\"'
 */

import { KvError } from "../errors.ts";
import type { Policy } from "../kv/policy.ts";
import type { Writer } from "../kv/policy-keys.ts";
import type { RepositorySpec } from "./registry.ts";
import { sshAccess } from "./ssh-identity.ts";

/** A repository that is served over SSH. */
export interface ListedRepository {
  readonly spec: RepositorySpec;
  readonly policy: Policy;
}

export interface KeyFilter {
  readonly type: string;
  /** Base64. */
  readonly key: string;
}

/** The lines, one for each key; with `only` for that key alone. `program` is the command line of git-kv-stargate. */
export async function authorizedKeys(
  repositories: readonly ListedRepository[],
  program: readonly string[],
  now: number,
  only?: KeyFilter,
): Promise<readonly string[]> {
  const keys = new Map<string, { readonly writer: Writer; readonly specs: RepositorySpec[] }>();
  for (const { spec, policy } of repositories) {
    for (const [fingerprint, { writer }] of await sshAccess(policy, now)) {
      const isWanted = only === undefined || (writer.ssh?.type === only.type && writer.id === only.key);
      if (!isWanted) continue;
      const known = keys.get(fingerprint);
      if (known === undefined) keys.set(fingerprint, { writer, specs: [spec] });
      else known.specs.push(spec);
    }
  }
  return [...keys.values()].map(({ writer, specs }) => lineOf(writer, specs, program));
}

function lineOf(
  { ssh, id, name, fingerprint }: Writer,
  specs: readonly RepositorySpec[],
  program: readonly string[],
): string {
  const user = plain(name) || fingerprint;
  const repos = specs.flatMap((spec) => ["--repo", `${spec.name}=${spec.dir}`]);
  const words = [...program, "shell", ...repos, "--user", user, "--key", fingerprint];
  const command = words.map(shellWord).join(" ").replaceAll('"', '\\"');
  return `command="${command}",restrict ${ssh!.type} ${id} ${user}`;
}

/** A name without anything that means something to sshd, a shell or a log. */
function plain(name: string): string {
  return name
    .replace(/[^A-Za-z0-9._@+-]+/g, "_")
    .replace(/^[-_]+/, "")
    .slice(0, 64);
}

/** A word that a shell takes as it is. Throws CONFIG where no line can hold it. */
function shellWord(text: string): string {
  if (/[\x00-\x1f\x7f]/.test(text)) {
    throw new KvError("CONFIG", `a path for authorized_keys has a control character: ${JSON.stringify(text)}`);
  }
  return `'${text.replaceAll("'", "'\\''")}'`;
}
