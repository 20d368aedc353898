/** `git kv init`: makes a namespace, and a repository where there is none. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { discoverRepository, initRepository, type Repository } from "../gitwire/repo.ts";
import { commit } from "../kv/commit.ts";
import { FIRST_EPOCH, parseEpoch, parseNamespace } from "../kv/namespace.ts";
import { writeScaffold } from "../kv/scaffold.ts";
import { openWorkspace, workspaceIn } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out } = context;
  const epoch = parseEpoch(flags.value("epoch") ?? FIRST_EPOCH);
  parseNamespace(flags.value("ns") ?? "main");
  const workspace =
    flags.value("repo") === undefined ? workspaceIn(context, openOrMake(context)) : openWorkspace(context);
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
