/**
 * `include.path` and `includeIf.<condition>.path` (git-config, "Includes"): when a condition holds, and which file is meant.
 *
 *   condition = "gitdir:" glob | "gitdir/i:" glob | "onbranch:" glob | "hasconfig:remote.*.url:" glob
 *
 * Conditions of other kinds never hold, as in git.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { readFileIfThere } from "../disk.ts";
import { expandPath, homeFolder } from "./config-value.ts";
import { wildmatch } from "./wildmatch.ts";

/** What conditions ask about. */
export interface IncludeContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The worktree's git folder, undefined outside a repository. */
  readonly gitDir: string | undefined;
  /** URLs of all remotes configured anywhere outside files that such a condition includes. */
  remoteUrls(): readonly string[];
}

/** File a relative include in `from` (undefined: the command line) means. Throws CONFIG. */
export function includedFile(value: string | undefined, from: string | undefined, context: IncludeContext): string {
  if (value === undefined) throw new KvError("CONFIG", `missing value for 'include.path'${where(from)}`);
  const expanded = expandPath(value, context.env);
  if (path.isAbsolute(expanded)) return expanded;
  if (from === undefined) throw new KvError("CONFIG", "a relative config include must come from a file");
  return path.join(path.dirname(fs.realpathSync(from)), expanded);
}

function where(from: string | undefined): string {
  return from === undefined ? "" : ` in ${from}`;
}

/** True when the condition (the subsection of `includeIf`) holds for a line in the file `from`. */
export function conditionHolds(condition: string, from: string | undefined, context: IncludeContext): boolean {
  const rest = (prefix: string): string | undefined =>
    condition.startsWith(prefix) ? condition.slice(prefix.length) : undefined;
  const gitDir = rest("gitdir:");
  if (gitDir !== undefined) return matchesGitDir(gitDir, from, context, false);
  const gitDirAnyCase = rest("gitdir/i:");
  if (gitDirAnyCase !== undefined) return matchesGitDir(gitDirAnyCase, from, context, true);
  const branch = rest("onbranch:");
  if (branch !== undefined) return matchesBranch(branch, context);
  const url = rest(HAS_REMOTE_URL);
  if (url !== undefined) return context.remoteUrls().some((remote) => wildmatch(url, remote));
  return false;
}

const HAS_REMOTE_URL = "hasconfig:remote.*.url:";

/** True for conditions about remote URLs; files included by them may not configure any. */
export function asksForRemoteUrls(condition: string): boolean {
  return condition.startsWith(HAS_REMOTE_URL);
}

function matchesGitDir(glob: string, from: string | undefined, context: IncludeContext, ignoreCase: boolean): boolean {
  if (context.gitDir === undefined) return false;
  const pattern = gitDirPattern(glob, from, context);
  if (pattern === undefined) return false;
  const asGiven = path.resolve(context.gitDir);
  return [realPath(asGiven), asGiven].some((dir) => wildmatch(pattern, dir, { ignoreCase }));
}

function gitDirPattern(glob: string, from: string | undefined, context: IncludeContext): string | undefined {
  let pattern = glob;
  if (pattern.startsWith("~/")) {
    const home = homeFolder(context.env);
    if (home === undefined) return undefined;
    pattern = `${literal(realPath(home))}${pattern.slice(1)}`;
  } else if (pattern.startsWith("./")) {
    if (from === undefined) throw new KvError("CONFIG", "a relative config include condition must come from a file");
    pattern = `${literal(path.dirname(realPath(from)))}${pattern.slice(1)}`;
  } else if (!pattern.startsWith("/")) {
    pattern = `**/${pattern}`;
  }
  return pattern.endsWith("/") ? `${pattern}**` : pattern;
}

/** A path inside a pattern stands for itself. */
function literal(dir: string): string {
  return dir.replace(/[*?[\\]/g, "\\$&");
}

function realPath(file: string): string {
  try {
    return fs.realpathSync(file);
  } catch {
    return file;
  }
}

function matchesBranch(glob: string, context: IncludeContext): boolean {
  if (context.gitDir === undefined) return false;
  const head = readFileIfThere(path.join(context.gitDir, "HEAD"))?.toString() ?? "";
  const branch = /^ref:\s*refs\/heads\/(\S+)\s*$/.exec(head)?.[1];
  if (branch === undefined) return false;
  return wildmatch(glob.endsWith("/") ? `${glob}**` : glob, branch);
}
