/**
 * safe.directory (git-config): a repository that belongs to somebody else is not used when it was only found, because its
 * config and hooks name programs that would run as us. The user's own and the system's config can allow it.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { expandPath } from "../config/config-value.ts";
import type { GitConfig } from "../config.ts";
import { type Env, realPath } from "./discover.ts";

/**
 * Throws NOT_A_REPOSITORY where one of `paths` (git folder, worktree, git file, as far as there are) belongs to another user and `config`
 * (without the repository's own files) does not allow `dir`, or `other`, by which it is known too.
 */
export function checkOwner(
  paths: readonly (string | undefined)[],
  dir: string,
  config: () => GitConfig,
  env: Env,
  other: string = dir,
): void {
  if (areOurs(paths, env)) return;
  const settings = config();
  if (isAllowed(dir, settings, env) || isAllowed(other, settings, env)) return;
  throw new KvError("NOT_A_REPOSITORY", `repository '${dir}' belongs to another user`, {
    hint: `to allow it: git config --global --add safe.directory '${dir}'`,
  });
}

function areOurs(paths: readonly (string | undefined)[], env: Env): boolean {
  for (const file of paths) if (file !== undefined && !isOurs(file, env)) return false;
  return true;
}

function isOurs(file: string, env: Env): boolean {
  const user = process.geteuid?.();
  if (user === undefined) return true;
  const owner = fs.lstatSync(file).uid;
  // Under sudo the folders of the user who called it count as ours.
  return owner === user || (user === 0 && /^[0-9]+$/.test(env.SUDO_UID ?? "") && owner === Number(env.SUDO_UID));
}

function isAllowed(dir: string, config: GitConfig, env: Env): boolean {
  const candidates = new Set([dir, realPath(dir)]);
  let allowed = false;
  for (const value of config.getAll("safe.directory")) {
    if (value === "") allowed = false;
    else if (value === "*") allowed = true;
    else {
      const expanded = expandPath(value, env);
      const folder = expanded.endsWith("/*") ? expanded.slice(0, -1) : undefined;
      for (const candidate of candidates) {
        if (folder === undefined ? path.resolve(expanded) === candidate : candidate.startsWith(folder)) allowed = true;
      }
    }
  }
  return allowed;
}

/** Throws NOT_A_REPOSITORY where safe.bareRepository is "explicit" and a bare repository was only found. */
export function checkBareAllowed(dir: string, config: () => GitConfig): void {
  if (config().get("safe.bareRepository")?.toLowerCase() !== "explicit") return;
  throw new KvError("NOT_A_REPOSITORY", `bare repository '${dir}' is not used without being named`, {
    hint: "safe.bareRepository is 'explicit': name the repository with GIT_DIR or -C's path option",
  });
}
