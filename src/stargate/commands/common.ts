/** What several commands of git-kv-stargate share: which repository, which settings. */

import type { Context, Environment } from "../../cli/context.ts";
import { KvError } from "../../errors.ts";
import { discoverRepository, openRepository, type Repository } from "../../gitwire/repo.ts";
import { parseRepositorySpec, type RepositorySpec } from "../registry.ts";

/** The repositories of `--repo` flags, else of STARGATE_REPO (several between `:`), else the one we are in. */
export function repositorySpecs(context: Context): RepositorySpec[] {
  const given = context.flags.values("repo");
  const texts = given.length > 0 ? given : (context.env.STARGATE_REPO ?? "").split(":").filter((text) => text !== "");
  if (texts.length > 0) return texts.map((text) => parseRepositorySpec(text, context.cwd));
  return [parseRepositorySpec(discoverRepository(context.cwd, context.env).gitDir, context.cwd)];
}

/** The one repository a command works on: `--repo`, or the one we are in. */
export function oneRepository(context: Context): Repository {
  const given = context.flags.value("repo") ?? context.env.STARGATE_REPO;
  if (given === undefined || given === "") return discoverRepository(context.cwd, context.env);
  return openRepository(parseRepositorySpec(given, context.cwd).dir, context.env);
}

/** The git folder of the repository at `dir`. Throws NOT_A_REPOSITORY with the way out. */
export function requireRepository(dir: string, env: Environment): Repository {
  try {
    return openRepository(dir, env);
  } catch (error) {
    if (!(error instanceof KvError) || error.code !== "NOT_A_REPOSITORY") throw error;
    throw new KvError("NOT_A_REPOSITORY", error.message, {
      hint: `make it with 'git-kv-stargate init --repo ${dir}'`,
      cause: error,
    });
  }
}
