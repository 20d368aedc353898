/** Making a repository as `git init` does, without sample hooks (git-init; gitrepository-layout). */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { systemDisk } from "../disk.ts";
import { type ObjectFormat, objectFormat, SHA1 } from "../object/oid.ts";
import { randomSuffix } from "../pack/temp-file.ts";
import { checkRefFormat } from "../refs/ref-name.ts";
import { openRepository, type Repository } from "../repo.ts";
import type { Env } from "./discover.ts";

export interface InitOptions {
  readonly bare?: boolean;
  readonly format?: ObjectFormat;
  /** Branch HEAD names, without refs/heads/; default "main". */
  readonly defaultBranch?: string;
}

const DESCRIPTION = "Unnamed repository; edit this file 'description' to name the repository.\n";

const EXCLUDE = `# git ls-files --others --exclude-from=.git/info/exclude
# Lines that start with '#' are comments.
# For a project mostly in C, the following would be a good set of
# exclude patterns (uncomment them if you want to use them):
# *.[oa]
# *~
`;

/**
 * Makes a repository in `dir` (made too where it is missing) and returns its git folder: `dir` itself if bare, else
 * `dir/.git`. In an existing repository only what is missing is added. Throws IO, STORAGE, REF_INVALID.
 */
export function createRepository(dir: string, options: InitOptions = {}): string {
  const { bare = false, format = SHA1, defaultBranch = "main" } = options;
  const head = `refs/heads/${defaultBranch}`;
  if (!checkRefFormat(head)) throw new KvError("REF_INVALID", `'${defaultBranch}' is no name for a branch`);
  const gitDir = path.resolve(bare ? dir : path.join(dir, ".git"));
  for (const folder of ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "hooks", "branches"]) {
    fs.mkdirSync(path.join(gitDir, folder), { recursive: true });
  }
  writeNew(path.join(gitDir, "description"), DESCRIPTION);
  writeNew(path.join(gitDir, "info/exclude"), EXCLUDE);
  writeNew(path.join(gitDir, "config"), initialConfig(gitDir, bare, format));
  // HEAD last: before it is there, the folder is no repository to anybody.
  writeNew(path.join(gitDir, "HEAD"), `ref: ${head}\n`);
  for (const folder of ["objects", "refs", "info", ".", ".."]) systemDisk.syncDir(path.join(gitDir, folder));
  return gitDir;
}

/**
 * Makes a repository in `dir` (see {@link createRepository}) and opens it. Where no object format is asked for, it is that of
 * GIT_DEFAULT_HASH, as with `git init`. Throws UNSUPPORTED where there is one already with another object format than the one
 * asked for, or GIT_DEFAULT_HASH names none.
 */
export function initRepository(dir: string, options: InitOptions = {}, env: Env = process.env): Repository {
  const { format = env.GIT_DEFAULT_HASH ? objectFormat(env.GIT_DEFAULT_HASH) : SHA1 } = options;
  const repository = openRepository(createRepository(dir, { ...options, format }).replace(/\/\.git$/, ""), env);
  if (options.format !== undefined && options.format !== repository.format) {
    throw new KvError("UNSUPPORTED", `repository '${dir}' exists and its object format is ${repository.format.name}`);
  }
  return repository;
}

/** Whole or not at all: whoever is killed here begins again, and an empty HEAD or config would be taken for one. */
function writeNew(file: string, text: string): void {
  if (fs.existsSync(file)) return;
  const temporary = `${file}.${randomSuffix(6)}`;
  systemDisk.create(temporary, Buffer.from(text), true);
  systemDisk.rename(temporary, file);
}

function initialConfig(gitDir: string, bare: boolean, format: ObjectFormat): string {
  const isSha1 = format.name === "sha1";
  const lines = ["[core]", `\trepositoryformatversion = ${isSha1 ? 0 : 1}`];
  lines.push(`\tfilemode = ${keepsModes(gitDir)}`, `\tbare = ${bare}`);
  if (!bare) lines.push("\tlogallrefupdates = true");
  if (ignoresCase(gitDir)) lines.push("\tignorecase = true");
  if (process.platform === "darwin") lines.push("\tprecomposeunicode = true");
  if (!isSha1) lines.push("[extensions]", `\tobjectformat = ${format.name}`);
  return `${lines.join("\n")}\n`;
}

/** True when the file system tells an executable file from another. */
function keepsModes(gitDir: string): boolean {
  const file = path.join(gitDir, "description");
  const { mode } = fs.statSync(file);
  fs.chmodSync(file, mode ^ 0o100);
  const changed = fs.statSync(file).mode !== mode;
  fs.chmodSync(file, mode);
  return changed;
}

function ignoresCase(gitDir: string): boolean {
  return fs.existsSync(path.join(gitDir, "DESCRIPTION"));
}
