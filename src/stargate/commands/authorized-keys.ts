/** `git-kv-stargate authorized-keys`: what sshd's AuthorizedKeysCommand runs. */

import * as os from "node:os";
import type { Context } from "../../cli/context.ts";
import { toKvError } from "../../errors.ts";
import { readFileIfThere } from "../../gitwire/disk.ts";
import { openRepository } from "../../gitwire/repo.ts";
import { authorizedKeys, type ListedRepository } from "../authorized-keys.ts";
import { ownProgram } from "../hooks.ts";
import { policyOf } from "../ssh-identity.ts";
import { repositorySpecs } from "./common.ts";

export async function run(context: Context): Promise<void> {
  const { args, flags, out, env, clock } = context;
  const [user, type, key] = [args.optional("user"), args.optional("type"), args.optional("key")];
  // A key of the policy logs in to this account, and to no other that sshd may ask about.
  if (user !== undefined && user !== (flags.value("account") ?? ownAccount())) return;
  const listed: ListedRepository[] = [];
  for (const spec of repositorySpecs(context)) {
    try {
      const repo = openRepository(spec.dir, env);
      try {
        const policy = policyOf(repo);
        if (policy !== undefined) listed.push({ spec: { ...spec, dir: repo.gitDir }, policy });
      } finally {
        repo.close();
      }
    } catch (error) {
      // One repository that cannot be read keeps nobody out of the others.
      out.warn(`${spec.name} is left out: ${toKvError(error).message}`);
    }
  }
  const only = type === undefined || key === undefined ? undefined : { type, key };
  for (const line of await authorizedKeys(listed, ownProgram(), clock.now(), only)) out.line(line);
}

/** The account this runs as. The runtime believes USER, which sshd need not set; the system's own list is asked first. */
function ownAccount(): string {
  const uid = String(process.getuid?.());
  const lines = readFileIfThere("/etc/passwd")?.toString("utf8").split("\n") ?? [];
  const entry = lines.map((line) => line.split(":")).find((fields) => fields[2] === uid);
  return entry?.[0] ?? os.userInfo().username;
}
