/**
 * Finding a repository (git: setup.c; gitrepository-layout; git, "ENVIRONMENT VARIABLES"): which folders hold its files and
 * which is its worktree. Nothing here changes anything.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { parseBool } from "../config/config-value.ts";
import { type FilesRead, readEntries } from "../config.ts";
import { isMissing, mayBeThere, readFileIfThere } from "../disk.ts";
import type { ObjectFormat } from "../object/oid.ts";
import { type RepositoryFormat, readRepositoryFormat } from "./repository-format.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** Where a repository's things are; all paths absolute. */
export interface RepositoryLayout {
  /** HEAD and whatever else is this worktree's own. */
  readonly gitDir: string;
  /** Everything worktrees share; `gitDir` itself unless this is a linked worktree. */
  readonly commonDir: string;
  readonly objectsDir: string;
  /** Further object folders the environment names. */
  readonly alternates: readonly string[];
  /** Root of the checked-out files; undefined in a bare repository and inside a git folder. */
  readonly worktree: string | undefined;
  readonly bare: boolean;
  readonly format: ObjectFormat;
  /** Config files that were read on the way. */
  readonly filesRead: FilesRead;
}

/** A git folder with the `.git` file that led to it, if one did. */
export interface GitDirFound {
  readonly gitDir: string;
  readonly gitFile: string | undefined;
}

/** How a git folder was come by: named in GIT_DIR, as `.git` in a worktree, or as a folder that is one itself. */
export type Origin =
  | { readonly kind: "named"; readonly cwd: string }
  | { readonly kind: "dot-git"; readonly worktree: string }
  | { readonly kind: "bare" };

/** The environment with the folders it names made absolute; relative ones count from `cwd`. */
export function absoluteEnv(env: Env, cwd: string): Env {
  let absolute = env;
  for (const name of ["GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE"]) {
    const value = env[name];
    if (value === undefined || value === "" || path.isAbsolute(value)) continue;
    absolute = { ...absolute, [name]: path.resolve(cwd, value) };
  }
  return absolute;
}

/** The layout of the repository with the git folder `gitDir`; `env` names absolute folders. Throws UNSUPPORTED, CONFIG. */
export function layoutOf(gitDir: string, origin: Origin, env: Env): RepositoryLayout {
  const commonDir = commonDirOf(gitDir, env);
  const filesRead: FilesRead = new Map();
  const format = readRepositoryFormat(path.join(commonDir, "config"), filesRead);
  const isLinked = Boolean(env.GIT_COMMON_DIR) || fs.existsSync(path.join(gitDir, "commondir"));
  const configured = worktreeSettings(gitDir, format, isLinked, filesRead);
  const worktree = worktreeOf(gitDir, origin, configured, env);
  return {
    gitDir,
    commonDir,
    objectsDir: env.GIT_OBJECT_DIRECTORY || path.join(commonDir, "objects"),
    alternates: splitPathList(env.GIT_ALTERNATE_OBJECT_DIRECTORIES),
    worktree,
    bare: worktree === undefined && (configured.bare ?? origin.kind === "bare"),
    format: format.objectFormat,
    filesRead,
  };
}

type WorktreeSettings = Pick<RepositoryFormat, "bare" | "worktree">;

/**
 * core.bare and core.worktree as they count here: with extensions.worktreeConfig what this worktree's own file says over what
 * the shared one says; without it the shared one speaks of the main worktree only.
 */
function worktreeSettings(
  gitDir: string,
  shared: RepositoryFormat,
  isLinked: boolean,
  read: FilesRead,
): WorktreeSettings {
  if (!shared.worktreeConfig) return isLinked ? { bare: undefined, worktree: undefined } : shared;
  let { bare, worktree } = shared;
  for (const { name, value } of readEntries(path.join(gitDir, "config.worktree"), read) ?? []) {
    if (name === "core.bare") bare = parseBool(name, value);
    else if (name === "core.worktree") worktree = value;
  }
  return { bare, worktree };
}

function worktreeOf(gitDir: string, origin: Origin, configured: WorktreeSettings, env: Env): string | undefined {
  if (env.GIT_WORK_TREE) return env.GIT_WORK_TREE;
  if (configured.bare === true) return undefined;
  if (configured.worktree !== undefined && origin.kind !== "bare") return path.resolve(gitDir, configured.worktree);
  if (origin.kind === "dot-git") return origin.worktree;
  return origin.kind === "named" ? origin.cwd : undefined;
}

function commonDirOf(gitDir: string, env: Env): string {
  if (env.GIT_COMMON_DIR) return env.GIT_COMMON_DIR;
  const file = path.join(gitDir, "commondir");
  if (!mayBeThere(file)) return gitDir;
  const written = readFileIfThere(file)
    ?.toString()
    .replace(/[\r\n]+$/, "");
  return written === undefined ? gitDir : path.resolve(gitDir, written);
}

/** True when `dir` looks like a git folder: a HEAD that can be one, objects and refs. */
function isGitDir(dir: string, env: Env): boolean {
  if (!hasHead(dir)) return false;
  const commonDir = commonDirOf(dir, env);
  return (
    isFolder(env.GIT_OBJECT_DIRECTORY || path.join(commonDir, "objects")) && isFolder(path.join(commonDir, "refs"))
  );
}

function hasHead(dir: string): boolean {
  const head = path.join(dir, "HEAD");
  try {
    const stat = fs.lstatSync(head);
    if (stat.isSymbolicLink() && fs.readlinkSync(head).startsWith("refs/")) return true;
    if (stat.size > 4096) return false;
    const text = fs.readFileSync(head, "latin1");
    return text.startsWith("ref:") ? text.slice(4).trimStart().startsWith("refs/") : /^[0-9a-fA-F]{40}/.test(text);
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function isFolder(dir: string): boolean {
  return statIfThere(dir)?.isDirectory() === true;
}

function statIfThere(file: string): fs.Stats | undefined {
  try {
    return fs.statSync(file);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * The git folder that `entry` (a folder, or a file `gitdir: <path>`) is or names, or undefined where it is neither.
 * Throws NOT_A_REPOSITORY where a file names something that is no git folder.
 */
export function followGitFile(entry: string, env: Env): GitDirFound | undefined {
  const stat = statIfThere(entry);
  if (stat?.isDirectory() === true) return isGitDir(entry, env) ? { gitDir: entry, gitFile: undefined } : undefined;
  if (stat?.isFile() !== true) return undefined;
  const text = stat.size > 64 * 1024 ? "" : fs.readFileSync(entry, "utf8");
  const target = /^gitdir: ([^\r\n]+)[\r\n]*$/.exec(text)?.[1];
  if (target === undefined) throw new KvError("NOT_A_REPOSITORY", `'${entry}' is no git file`);
  const gitDir = path.resolve(path.dirname(entry), target);
  if (!isGitDir(gitDir, env)) {
    throw new KvError("NOT_A_REPOSITORY", `'${entry}' names '${gitDir}', which is no git folder`);
  }
  return { gitDir, gitFile: entry };
}

/** A repository found from a folder below it. */
export interface Discovered extends GitDirFound {
  readonly origin: Origin;
}

/**
 * Looks for a repository in `cwd` and the folders above it, up to GIT_CEILING_DIRECTORIES and the border of the file system
 * (unless GIT_DISCOVERY_ACROSS_FILESYSTEM). Throws NOT_A_REPOSITORY.
 */
export function searchUpwards(cwd: string, env: Env): Discovered {
  const start = path.resolve(cwd);
  const ceilings = ceilingFolders(env);
  const device = fs.statSync(start).dev;
  const across = env.GIT_DISCOVERY_ACROSS_FILESYSTEM;
  const acrossBorders = across !== undefined && /^(?:1|true|yes|on)$/i.test(across);
  for (let dir = start; ; dir = path.dirname(dir)) {
    if (dir !== start && !acrossBorders && fs.statSync(dir).dev !== device) break;
    const dotGit = followGitFile(path.join(dir, ".git"), env);
    if (dotGit !== undefined) return { ...dotGit, origin: { kind: "dot-git", worktree: dir } };
    if (isGitDir(dir, env)) return { gitDir: dir, gitFile: undefined, origin: { kind: "bare" } };
    if (path.dirname(dir) === dir || ceilings.has(path.dirname(dir))) break;
  }
  throw notARepository(start);
}

/** Folders that are not searched. Symbolic links are resolved up to an empty entry of the list, as git does. */
function ceilingFolders(env: Env): Set<string> {
  const folders = new Set<string>();
  let resolveLinks = true;
  for (const entry of (env.GIT_CEILING_DIRECTORIES ?? "").split(path.delimiter)) {
    if (entry === "") resolveLinks = false;
    else if (path.isAbsolute(entry)) folders.add(resolveLinks ? realPath(entry) : path.resolve(entry));
  }
  return folders;
}

export function realPath(file: string): string {
  try {
    return fs.realpathSync(file);
  } catch {
    return path.resolve(file);
  }
}

/** A list of paths separated by colons; an entry in double quotes has C escapes. */
function splitPathList(list: string | undefined): string[] {
  const found: string[] = [];
  if (list === undefined) return found;
  for (const match of list.matchAll(/"((?:[^"\\]|\\.)*)"(?=:|$)|[^:]+/g)) {
    found.push(match[1] === undefined ? match[0] : match[1].replace(/\\(.)/g, "$1"));
  }
  return found;
}

function notARepository(dir: string): KvError {
  return new KvError("NOT_A_REPOSITORY", `'${dir}' is not in a git repository`, {
    hint: "run it inside one, or name one with -C or GIT_DIR",
  });
}
