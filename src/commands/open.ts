/** What most verbs begin with: the workspace their flags and folder speak of. */

import * as path from "node:path";
import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { discoverRepository, openRepository, type Repository } from "../gitwire/repo.ts";
import { type Surroundings, Workspace } from "../kv/workspace.ts";

/** The workspace of a verb. Throws NOT_A_REPOSITORY, NS_INVALID, UNSUPPORTED for an address that is no folder. */
export function openWorkspace(context: Context): Workspace {
  return workspaceIn(context, openRepo(context));
}

/**
 * Runs `use` on the workspace of a verb that only reads: that may also be one at another machine, of which what is read is brought
 * here. Throws as {@link openWorkspace}, and NETWORK and so on.
 */
export async function withReader<T>(context: Context, use: (workspace: Workspace) => Promise<T>): Promise<T> {
  const given = context.flags.value("repo");
  if (given === undefined || !isElsewhere(given)) return use(openWorkspace(context));
  const { withCopy } = await import("../kv/open-copy.ts");
  const around = surroundingsOf(context);
  return withCopy(given, around, async (copy) => {
    const result = await use(new Workspace(copy.repo, context.flags.value("ns"), around, copy));
    // The answer is out before the cache is tidied.
    context.out.flush();
    return result;
  });
}

/** The workspace of a verb in a repository that is open already. */
export function workspaceIn(context: Context, repo: Repository): Workspace {
  return new Workspace(repo, context.flags.value("ns"), surroundingsOf(context));
}

function surroundingsOf({ env, clock, signal, out }: Context): Surroundings {
  const progress = (text: string): void => out.progress(text);
  const heard = (line: string): void => out.heard(line);
  const warn = (text: string): void => out.warn(text);
  const note = (text: string): void => out.note(text);
  return { env, clock, signal, progress, heard, warn, note };
}

function openRepo({ flags, cwd, env }: Context): Repository {
  const given = flags.value("repo");
  if (given === undefined) return discoverRepository(cwd, env);
  if (isElsewhere(given)) {
    throw new KvError(
      "UNSUPPORTED",
      "this command needs a clone: get, list, history, wait, watch and serve do without",
      {
        hint: "git kv clone URL, then run it there",
      },
    );
  }
  return openRepository(path.resolve(cwd, folderOf(given)), env);
}

/** True for an address of a repository that is not a folder of this machine: a URL, or `host:path` as git has it. */
function isElsewhere(given: string): boolean {
  if (/^file:\/\//i.test(given)) return false;
  return /^[a-z0-9][a-z0-9+.-]*:\/\//i.test(given) || /^(?:[^/:]+@)?(?:[^/:[\]]+|\[[^/\]]+\]):[^:]/.test(given);
}

function folderOf(given: string): string {
  return /^file:\/\//i.test(given) ? decodeURIComponent(given.replace(/^file:\/\//i, "")) : given;
}
