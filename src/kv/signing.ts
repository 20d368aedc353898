/**
 * Whether a transaction is signed: where the policy in force asks for it, or the user does (`kv.sign`, `commit.gpgSign`).
 * This is asked at every write, so it loads nothing that an unsigned write does not need.
 */

import { KvError } from "../errors.ts";
import { fileAt } from "../gitwire/object/file-at.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Workspace } from "./workspace.ts";

/** Puts a signature into a commit that has none. */
export type CommitSigner = (commit: Buffer) => Promise<Buffer>;

/**
 * Whether a transaction made under `policy` is signed. Throws UNSIGNED where the policy requires it and `kv.sign` is false:
 * the Stargate would refuse it.
 */
export async function needsSignature(workspace: Workspace, policy: Oid | undefined): Promise<boolean> {
  const { config } = workspace.repo;
  const wanted = config.getBool("kv.sign");
  if (wanted === true) return true;
  const required = policy !== undefined && (await isRequired(workspace, policy));
  if (required && wanted === false) {
    throw new KvError(
      "UNSIGNED",
      `the policy requires signed transactions in '${workspace.ns}', and kv.sign is false`,
      {
        hint: "git config --unset kv.sign",
      },
    );
  }
  return required || (wanted === undefined && config.getBool("commit.gpgSign") === true);
}

/**
 * A file in which no namespace requires signatures, and no key is spelled with escapes, need not be parsed: that alone would double the time of a
 * small write.
 */
const MAY_REQUIRE = /require_signed_commits["']?\s*:(?!\s*false\b)|\\/;

async function isRequired({ repo, ns }: Workspace, policy: Oid): Promise<boolean> {
  const file = fileAt(repo.objects, policy, "policy.yaml");
  if (file !== undefined && !MAY_REQUIRE.test(file.toString())) return false;
  const { namespacePolicy } = await import("./policy.ts");
  const { cachedPolicy } = await import("./policy-cache.ts");
  return namespacePolicy(await cachedPolicy(repo, policy), ns).requireSignedCommits;
}
