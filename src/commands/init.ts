/** `git kv init`: makes a namespace, and a repository where there is none. */

import * as path from "node:path";
import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { readFileIfThere } from "../gitwire/disk.ts";
import { initRepository } from "../gitwire/repo/init.ts";
import { discoverRepository, type Repository } from "../gitwire/repo.ts";
import { commit } from "../kv/commit.ts";
import { FIRST_EPOCH, parseEpoch, parseNamespace } from "../kv/namespace.ts";
import { writeScaffold } from "../kv/scaffold.ts";
import type { Workspace } from "../kv/workspace.ts";
import { openWorkspace, workspaceIn } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out } = context;
  const epoch = parseEpoch(flags.value("epoch") ?? FIRST_EPOCH);
  parseNamespace(flags.value("ns") ?? "main");
  const workspace =
    flags.value("repo") === undefined ? workspaceIn(context, openOrMake(context)) : openWorkspace(context);
  if (workspace.state() === undefined && !workspace.hasStargate) await refuseSecondLedger(workspace);
  const scaffold = writeScaffold(workspace.repo, workspace.ns);
  if (workspace.state() !== undefined) {
    const { oid, seq, tree } = workspace.requireState().ledger;
    if (out.json) out.record({ oid, seq, tree, ns: workspace.ns, unchanged: true });
    else out.line(oid);
    out.note(`namespace '${workspace.ns}' is here already`);
    return;
  }
  const outcome = await commit(workspace, { create: { epoch } }, () => {});
  if (outcome.kind !== "committed") throw new KvError("BUG", "making a namespace changed nothing");
  const { ledger: oid, seq, tree, txn } = outcome;
  if (out.json) out.record({ oid, txn, seq, tree, ns: workspace.ns, epoch });
  else out.line(oid);
  out.note(`namespace '${workspace.ns}' is ready in ${workspace.repo.gitDir}`);
  if (scaffold !== undefined) out.note(`a policy to start from is in ${scaffold}`);
}

/** In a clone of a project that has a Stargate, a new ledger would have nothing to do with the project's. */
async function refuseSecondLedger({ repo, remote, ns }: Workspace): Promise<void> {
  if (repo.worktree === undefined || repo.config.get(`remote.${remote}.url`) === undefined) return;
  const { POLICY_PATH } = await import("../kv/policy.ts");
  const { parsePolicy } = await import("../kv/read-policy.ts");
  const text = readFileIfThere(path.join(repo.worktree, POLICY_PATH))?.toString();
  const pushUrl = text === undefined ? undefined : parsePolicy(text, POLICY_PATH).pushUrl;
  if (pushUrl === undefined) return;
  throw new KvError("CONFIG", `'${ns}' is written through the Stargate at ${pushUrl}, says ${POLICY_PATH}`, {
    hint: "run 'git kv remote setup'; the first write makes the namespace",
  });
}

function openOrMake({ cwd, env, out }: Context): Repository {
  try {
    return discoverRepository(cwd, env);
  } catch (error) {
    if (!(error instanceof KvError) || error.code !== "NOT_A_REPOSITORY" || env.GIT_DIR) throw error;
    const repo = initRepository(cwd, {}, env);
    out.note(`made a git repository in ${repo.gitDir}`);
    return repo;
  }
}
