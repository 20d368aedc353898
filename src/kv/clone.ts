/** Clones a repository with its branches, tags and the tracked refs of its namespaces. */

import * as fs from "node:fs";
import * as path from "node:path";
import { AGENT } from "../agent.ts";
import { KvError } from "../errors.ts";
import { addConfig, setConfig } from "../gitwire/config/config-edit.ts";
import { commitLinks } from "../gitwire/object/commit.ts";
import { readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { lsRefs, type RemoteRefs } from "../gitwire/protocol/fetch-pack.ts";
import type { RefChange } from "../gitwire/refs/ref-transaction.ts";
import { mapRefs, parseRefspec } from "../gitwire/refs/refspec.ts";
import { initRepository } from "../gitwire/repo/init.ts";
import type { Repository } from "../gitwire/repo.ts";
import { whileKept } from "../gitwire/store/pack-keep.ts";
import { checkoutTree } from "../gitwire/worktree/checkout.ts";
import { trackingRefspecs } from "./fetch.ts";
import { receive, withConnection } from "./remote-session.ts";
import type { Surroundings } from "./workspace.ts";

/** The remote a clone is made from, as git calls it. */
const ORIGIN = "origin";

/** The folder git would clone `url` into: its last part without `.git`. Throws INPUT_INVALID. */
export function defaultFolder(url: string): string {
  const trimmed = url.replace(/[/\\]+$/, "").replace(/\/?\.git$/, "");
  const name = trimmed.slice(Math.max(trimmed.lastIndexOf("/"), trimmed.lastIndexOf(":")) + 1);
  if (name !== "" && name !== "." && name !== "..") return name;
  throw new KvError("INPUT_INVALID", `no folder can be named after '${url}'`, { hint: "git kv clone URL DIR" });
}

/** Clones `url` into the folder `dir`, which must be empty or missing. A clone that fails leaves nothing behind. */
export async function clone(url: string, dir: string, around: Surroundings): Promise<Repository> {
  const existed = fs.existsSync(dir);
  if (existed && fs.readdirSync(dir).length > 0) throw new KvError("INPUT_INVALID", `'${dir}' is there and not empty`);
  try {
    return await cloneInto(url, dir, around);
  } catch (error) {
    for (const name of existed ? fs.readdirSync(dir) : [])
      fs.rmSync(path.join(dir, name), { recursive: true, force: true });
    if (!existed) fs.rmSync(dir, { recursive: true, force: true });
    throw error;
  }
}

async function cloneInto(url: string, dir: string, around: Surroundings): Promise<Repository> {
  // The object format is the remote's: a repository is made first as a place to connect from, and again where they differ.
  const first = initRepository(dir, {}, around.env);
  const remote = await listRemote(first, url, around);
  const repo = remote.format.name === first.format.name ? first : remake(dir, first, remote, around);
  setConfig(repo.configFile, `remote.${ORIGIN}.url`, url);
  addConfig(repo.configFile, `remote.${ORIGIN}.fetch`, `+refs/heads/*:refs/remotes/${ORIGIN}/*`);
  repo.reloadConfig();
  const changes = cloneRefs(remote);
  await whileKept(async (keeps) => {
    await withConnection(repo, around, url, "git-upload-pack", async (transport, words) => {
      const wants = changes.map(({ newOid }) => newOid);
      await receive(transport, around, words, { wants, haves: [], destination: repo, keeps });
    });
    const transaction = await repo.refs.begin(changes);
    await transaction.prepare();
    transaction.commit();
  });
  await setHead(repo, remote);
  return repo;
}

function listRemote(repo: Repository, url: string, around: Surroundings): Promise<RemoteRefs> {
  const prefixes = ["HEAD", "refs/heads/", "refs/tags/", "refs/kv"];
  return withConnection(repo, around, url, "git-upload-pack", (transport) =>
    lsRefs(transport, prefixes, { agent: AGENT }),
  );
}

function remake(dir: string, first: Repository, remote: RemoteRefs, around: Surroundings): Repository {
  first.close();
  fs.rmSync(first.gitDir, { recursive: true, force: true });
  return initRepository(dir, { format: remote.format }, around.env);
}

function cloneRefs({ refs, format }: RemoteRefs): RefChange[] {
  const specs = [`+refs/heads/*:refs/remotes/${ORIGIN}/*`, "refs/tags/*:refs/tags/*", ...trackingRefspecs(ORIGIN)].map(
    parseRefspec,
  );
  const values = new Map<string, Oid>(refs.map(({ name, oid }) => [name, oid]));
  return mapRefs(specs, values.keys()).map(({ src, dst }) => ({
    name: dst,
    oldOid: format.zeroOid,
    newOid: values.get(src)!,
  }));
}

/** Makes the branch the remote's HEAD names the one checked out, as `git clone` does. */
async function setHead(repo: Repository, remote: RemoteRefs): Promise<void> {
  const head = remote.refs.find(({ name }) => name === "HEAD");
  const branch = head?.symref ?? remote.unbornHead;
  if (branch?.startsWith("refs/heads/")) await repo.refs.setSymbolic("HEAD", branch);
  if (head === undefined || branch === undefined) return;
  const short = branch.slice("refs/heads/".length);
  const transaction = await repo.refs.begin([{ name: branch, oldOid: repo.format.zeroOid, newOid: head.oid }]);
  await transaction.prepare();
  transaction.commit();
  await repo.refs.setSymbolic(`refs/remotes/${ORIGIN}/HEAD`, `refs/remotes/${ORIGIN}/${short}`);
  setConfig(repo.configFile, `branch.${short}.remote`, ORIGIN);
  setConfig(repo.configFile, `branch.${short}.merge`, branch);
  repo.reloadConfig();
  const { tree } = commitLinks(repo.format, readAs(repo.objects, head.oid, "commit"));
  if (repo.worktree !== undefined) checkoutTree(repo, tree);
}
