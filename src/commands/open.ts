/** What most verbs begin with: the workspace their flags and folder speak of. */

import * as path from "node:path";
import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { discoverRepository, openRepository, type Repository } from "../gitwire/repo.ts";
import { Workspace } from "../kv/workspace.ts";

/** The workspace of a verb. Throws NOT_A_REPOSITORY, NS_INVALID. */
export function openWorkspace(context: Context): Workspace {
  return workspaceIn(context, openRepo(context));
}

/** The workspace of a verb in a repository that is open already. */
export function workspaceIn(context: Context, repo: Repository): Workspace {
  const { env, clock, signal, out, flags } = context;
  const progress = (text: string): void => out.progress(text);
  const heard = (line: string): void => out.heard(line);
  const warn = (text: string): void => out.warn(text);
  const note = (text: string): void => out.note(text);
  return new Workspace(repo, flags.value("ns"), { env, clock, signal, progress, heard, warn, note });
}

function openRepo({ flags, cwd, env }: Context): Repository {
  const given = flags.value("repo");
  if (given === undefined) return discoverRepository(cwd, env);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(given)) {
    throw new KvError("UNSUPPORTED", "--repo takes a folder; reading from a URL without a clone is not built yet", {
      hint: "git kv clone URL, then read there",
    });
  }
  return openRepository(path.resolve(cwd, given), env);
}
