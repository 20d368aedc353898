/**
 * The key a transaction or a policy is signed with: the one git's settings name, else the first of the SSH agent's and the
 * default ones that the policy lists. A key nobody named is said on stderr.
 */

import { KvError } from "../errors.ts";
import { joinSignature } from "../gitwire/object/commit-signature.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import {
  configuredSigner,
  defaultGpgSigner,
  defaultSshSigner,
  gpgSigner,
  type SigningSettings,
} from "../gitwire/sign.ts";
import type { Signer } from "../gitwire/sign-ssh.ts";
import type { Policy } from "./policy.ts";
import type { Writer } from "./policy-keys.ts";
import type { CommitSigner } from "./signing.ts";
import type { Workspace } from "./workspace.ts";

/** Keys that may sign; undefined = whichever there is. SSH keys by the base64 of their blob. */
export interface ListedKeys {
  /** What they are, for messages: "a writer of 'main'". */
  readonly role: string;
  readonly sshBlobs: ReadonlySet<string> | undefined;
  /** OpenPGP keys by fingerprint. */
  readonly openpgp?: readonly string[];
}

/** Whoever signs a transaction of the workspace's namespace under `policy`. Throws CONFIG where no key is found. */
export async function writerSigner(workspace: Workspace, policy: Oid | undefined): Promise<CommitSigner> {
  return commitSigner(workspace, async () => {
    const role = `a writer of '${workspace.ns}'`;
    if (policy === undefined) return { role, sshBlobs: undefined };
    const [{ cachedPolicy }, { isValidAt, writersOf }] = await Promise.all([
      import("./policy-cache.ts"),
      import("./policy-keys.ts"),
    ]);
    const writers = await writersOf(await cachedPolicy(workspace.repo, policy), workspace.ns);
    if (writers.length === 0) return { role, sshBlobs: undefined };
    const now = workspace.around.clock.now();
    return listing(
      role,
      writers.filter((writer) => isValidAt(writer, now)),
    );
  });
}

/** Whoever signs in this workspace as an admin of `judge`, which names some. Throws CONFIG where no key is found. */
export async function adminSigner(workspace: Workspace, judge: Policy): Promise<CommitSigner> {
  return commitSigner(workspace, async () => {
    const { adminsOf, isValidAt } = await import("./policy-keys.ts");
    const now = workspace.around.clock.now();
    const admins = await adminsOf(judge);
    return listing(
      "an admin of the policy",
      admins.filter((admin) => isValidAt(admin, now)),
    );
  });
}

function listing(role: string, keys: readonly Writer[]): ListedKeys {
  const ids = (isOpenPgp: boolean): string[] =>
    keys.flatMap(({ openpgp, id }) => ((openpgp !== undefined) === isOpenPgp ? id : []));
  return { role, sshBlobs: new Set(ids(false)), openpgp: ids(true) };
}

/** Whoever signs commits in this workspace; `listed` is asked only where git's settings name no key. Throws CONFIG. */
async function commitSigner(workspace: Workspace, listed: () => Promise<ListedKeys>): Promise<CommitSigner> {
  const settings = settingsOf(workspace);
  const signer = (await configuredSigner(settings)) ?? (await unnamedSigner(workspace, settings, await listed()));
  const { format } = workspace.repo;
  return async (commit) => joinSignature(format, commit, await signer.sign(commit));
}

function settingsOf(workspace: Workspace): SigningSettings {
  const { repo, around } = workspace;
  const { env, signal, note = around.warn } = around;
  const { name, email } = workspace.ident("committer");
  const folder = repo.worktree ?? repo.gitDir;
  return { config: repo.config, env, signal, tell: note, folder, committer: `${name} <${email}>` };
}

async function unnamedSigner(
  { around, repo }: Workspace,
  settings: SigningSettings,
  { role, sshBlobs, openpgp = [] }: ListedKeys,
): Promise<Signer> {
  const { signer: sshSigner, looked } = await defaultSshSigner(settings, ({ blob }) => {
    return sshBlobs === undefined || sshBlobs.has(blob.toString("base64"));
  });
  const mayBeGpg = repo.config.get("gpg.format") === undefined;
  const signer = sshSigner ?? (mayBeGpg ? await defaultGpgSigner(settings, openpgp) : undefined);
  if (signer !== undefined) {
    const why = sshBlobs === undefined ? "" : `, and the policy lists it as ${role}`;
    (around.note ?? around.warn)(`signing with ${signer.description}: user.signingKey is not set${why}`);
    return signer;
  }
  // As git: without a key that anybody named, gpg looks for the committer's own.
  if (sshBlobs === undefined && mayBeGpg) return gpgSigner(settings, undefined);
  const none = sshBlobs === undefined ? "no SSH key was found" : `none that was found is ${role}`;
  throw new KvError("CONFIG", `no key to sign with: ${none} (${looked.join("; ")})`, {
    hint: "git config gpg.format ssh, and git config user.signingKey FILE with the .pub file of your key",
    data: { looked },
  });
}
