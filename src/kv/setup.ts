/** Sets a clone up: writes go to the Stargate its policy names, reads come from the remote. */

import { AGENT } from "../agent.ts";
import { KvError, toKvError } from "../errors.ts";
import { addConfig, replaceConfig, unsetConfig } from "../gitwire/config/config-edit.ts";
import { fileAt } from "../gitwire/object/file-at.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { lsRefs } from "../gitwire/protocol/fetch-pack.ts";
import { whileKept } from "../gitwire/store/pack-keep.ts";
import { isSameRepository } from "../gitwire/transport/url.ts";
import { fetchAccepted, fetchMirror, trackingRefspecs } from "./fetch.ts";
import { POLICY_REF, trackingRoot } from "./namespace.ts";
import { POLICY_FILE, POLICY_PATH, type Policy } from "./policy.ts";
import { pinKnownRoot } from "./policy-pin.ts";
import { parsePolicy } from "./read-policy.ts";
import { fetchObjects, fetchUrl, type RemoteRefMap, withConnection } from "./remote-session.ts";
import type { Workspace } from "./workspace.ts";

/**
 * The policy of the project: the file on the remote's default branch, where people write it, else the one in force.
 * Throws CONFIG where there is none.
 */
export async function findPolicy(workspace: Workspace): Promise<Policy> {
  const { repo, around } = workspace;
  const url = fetchUrl(workspace);
  // No ref here ever names what is read.
  return whileKept(async (keeps) => {
    const refs = await fetchObjects(repo, around, url, ["HEAD", POLICY_REF], undefined, { keeps });
    return policyFrom(workspace, refs);
  });
}

function policyFrom({ repo, remote }: Workspace, refs: RemoteRefMap): Policy {
  const candidates: [commit: Oid | undefined, path: string][] = [
    [refs.get("HEAD"), POLICY_PATH],
    [refs.get(POLICY_REF), POLICY_FILE],
  ];
  for (const [commit, path] of candidates) {
    const text = commit === undefined ? undefined : fileAt(repo.objects, commit, path)?.toString();
    if (text !== undefined) return parsePolicy(text, path);
  }
  throw new KvError("CONFIG", `there is no ${POLICY_PATH} on the default branch of '${remote}'`, {
    hint: "'git-kv-stargate init' makes one",
  });
}

/** Checks that the Stargate at `url` answers and lets us in. Throws NETWORK, UNAUTHENTICATED and so on. */
export async function checkStargate(workspace: Workspace, url: string): Promise<void> {
  const { repo, around } = workspace;
  await withConnection(repo, around, url, "git-upload-pack", (transport) =>
    lsRefs(transport, ["refs/kv"], { agent: AGENT }),
  );
}

/**
 * Reads the policy, checks the Stargate it names and configures its push URL, which is returned. Nothing is configured unless the Stargate answers.
 * Throws CONFIG, and what {@link checkStargate} throws.
 */
export async function configureFromPolicy(workspace: Workspace): Promise<string> {
  const policy = await findPolicy(workspace);
  if (policy.pushUrl === undefined) {
    throw new KvError("CONFIG", "the policy names no stargate.push_url", {
      hint: "add it to .kv/policy.yaml on the default branch",
    });
  }
  const own = fetchUrl(workspace);
  // In a clone of the Stargate itself with the login that was given there.
  const url = isSameRepository(policy.pushUrl, own) ? own : policy.pushUrl;
  await checkStargate(workspace, url).catch((thrown: unknown) => {
    const { code, message, hint, data } = toKvError(thrown);
    const options = { ...(hint !== undefined && { hint }), ...(data && { data }), cause: thrown };
    throw new KvError(code, `the Stargate that the policy names (stargate.push_url): ${message}`, options);
  });
  configureRemote(workspace, url);
  return url;
}

/** Sets the clone up and brings what there is to read. Throws as {@link configureFromPolicy}, and NETWORK and so on. */
export async function setUpClone(workspace: Workspace): Promise<void> {
  await configureFromPolicy(workspace);
  await fetchMirror(workspace);
  await fetchAccepted(workspace);
  const pinned = pinKnownRoot(workspace);
  if (pinned.kind !== "changed") return;
  const text = `the first policy is ${pinned.root}, kv.policyRoot is ${pinned.pinned}`;
  workspace.around.warn(`THE ROOT OF TRUST HAS CHANGED: ${text}`);
}

/** Writes push URL and refspecs into the repository's config. Running it again changes nothing. */
export function configureRemote(workspace: Workspace, pushUrl: string): void {
  const { repo, remote } = workspace;
  replaceConfig(repo.configFile, `remote.${remote}.pushurl`, pushUrl);
  const present = new Set(repo.config.getAll(`remote.${remote}.fetch`));
  for (const refspec of trackingRefspecs(remote)) {
    if (!present.has(refspec)) addConfig(repo.configFile, `remote.${remote}.fetch`, refspec);
  }
  repo.reloadConfig();
}

/** Takes back what {@link configureRemote} wrote, and the tracking refs. */
export async function unconfigureRemote(workspace: Workspace): Promise<void> {
  const { repo, remote } = workspace;
  const ours = new Set(trackingRefspecs(remote));
  unsetConfig(repo.configFile, `remote.${remote}.pushurl`);
  unsetConfig(repo.configFile, `remote.${remote}.fetch`, { match: (refspec) => ours.has(refspec) });
  const stale = repo.refs.list(trackingRoot(remote));
  if (stale.length > 0) {
    const transaction = await repo.refs.begin(
      stale.map(({ name, oid }) => ({ name, oldOid: oid, newOid: repo.format.zeroOid })),
    );
    await transaction.prepare();
    transaction.commit();
  }
  repo.reloadConfig();
}
