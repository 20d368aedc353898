/**
 * Brings a worktree from one commit to another where nothing in it would be lost (git: push_to_deploy in builtin/receive-pack.c,
 * which runs `update-index --refresh`, `diff-files`, `diff-index --cached` and `read-tree -m -u`).
 *
 * All is looked at before anything is changed. The index is locked meanwhile, as git locks it.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { toKvError } from "../../errors.ts";
import { errorCode, readFileIfThere } from "../disk.ts";
import { parseCommit } from "../object/commit.ts";
import { type ObjectSource, readAs } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import { MODE } from "../object/tree.ts";
import type { Repository } from "../repo.ts";
import { findConversion } from "./conversion.ts";
import { encodeIndex, type IndexEntry, indexStat, parseIndex } from "./index-file.ts";
import { type TreeFile, treeFiles } from "./tree-files.ts";
import { filePath, isUnchanged, lstat, writeFile } from "./worktree-file.ts";

/** A worktree: the folder that git keeps about it, and the folder of its files. */
export interface Worktree {
  readonly admin: string;
  readonly files: string;
}

/** Why git does not update a worktree, in its words. */
type Refusal =
  | "Up-to-date check failed"
  | "Working directory has unstaged changes"
  | "Working directory has staged changes"
  | "Could not update working tree to new HEAD";

/** What the update is about. */
export interface WorktreeUpdate {
  readonly worktree: Worktree;
  /** The commit whose files are checked out; undefined where there is none yet. */
  readonly from: Oid | undefined;
  readonly to: Oid;
  /** Tells the one who pushes what stands in the way, a line at a time. */
  say(line: string): void;
}

/** Makes the update, or says why not and changes nothing. Throws IO, and STORAGE where files cannot be written. */
export function updateWorktree(repo: Repository, update: WorktreeUpdate): Refusal | undefined {
  const lock = path.join(update.worktree.admin, "index.lock");
  let fd: number;
  try {
    fd = fs.openSync(lock, "wx", 0o666);
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    update.say(`error: unable to create '${lock}': file exists`);
    return "Up-to-date check failed";
  }
  try {
    const refusal = new Update(repo, update).run(fd);
    if (refusal === undefined) fs.renameSync(lock, path.join(update.worktree.admin, "index"));
    return refusal;
  } finally {
    fs.closeSync(fd);
    fs.rmSync(lock, { force: true });
  }
}

class Update {
  readonly #repo: Repository;
  readonly #objects: ObjectSource;
  readonly #update: WorktreeUpdate;
  readonly #root: string;

  constructor(repo: Repository, update: WorktreeUpdate) {
    this.#repo = repo;
    this.#objects = repo.objects;
    this.#update = update;
    this.#root = update.worktree.files;
  }

  /** Checks, moves the files and writes the new index to `fd`. */
  run(fd: number): Refusal | undefined {
    const file = path.join(this.#update.worktree.admin, "index");
    let entries: readonly IndexEntry[];
    let target: ReadonlyMap<string, TreeFile>;
    try {
      const bytes = readFileIfThere(file);
      entries = bytes === undefined ? [] : parseIndex(this.#repo.format, bytes);
      target = this.#filesOf(this.#update.to);
    } catch (error) {
      const { code, message } = toKvError(error);
      if (code !== "CORRUPT" && code !== "UNSUPPORTED" && code !== "BAD_OBJECT") throw error;
      this.#update.say(`error: ${message}`);
      return code === "BAD_OBJECT" ? "Could not update working tree to new HEAD" : "Up-to-date check failed";
    }
    const refusal = this.#findChanges(entries, file) ?? this.#findObstacles(entries, target);
    if (refusal !== undefined) return refusal;
    fs.writeSync(fd, this.#move(entries, target));
    return undefined;
  }

  /** Whether the index is not what was checked out, or the files not what the index says. */
  #findChanges(entries: readonly IndexEntry[], file: string): Refusal | undefined {
    const unmerged = entries.find(({ stage }) => stage !== 0);
    if (unmerged !== undefined) {
      this.#update.say(`error: ${shown(unmerged.path)}: needs merge`);
      return "Up-to-date check failed";
    }
    const since = fs.statSync(file, { bigint: true, throwIfNoEntry: false })?.mtimeNs ?? 0n;
    const trustsMode = this.#repo.config.getBool("core.fileMode") ?? true;
    const changed = entries.find((entry) => {
      if (entry.mode === MODE.gitlink || entry.isIgnored) return false;
      if (entry.isIntent || this.#notAFolder(entry.path) !== undefined) return true;
      return !isUnchanged(this.#objects, entry, filePath(this.#root, entry.path), since, trustsMode);
    });
    if (changed !== undefined) {
      this.#update.say(`error: ${shown(changed.path)} has changes that are not staged`);
      return "Working directory has unstaged changes";
    }
    const { from } = this.#update;
    const old = from === undefined ? new Map<string, TreeFile>() : this.#filesOf(from);
    const left = new Map([...old].filter(([, { mode }]) => mode !== MODE.gitlink));
    for (const { path: name, mode, oid } of entries) {
      const was = left.get(name);
      left.delete(name);
      // A submodule is left to itself, whatever it holds.
      if (mode === MODE.gitlink && was === undefined) continue;
      if (was === undefined || was.oid !== oid || fileMode(was.mode) !== mode) return this.#isStaged(name);
    }
    const [gone] = left.keys();
    return gone === undefined ? undefined : this.#isStaged(gone);
  }

  #isStaged(name: string): Refusal {
    this.#update.say(`error: ${shown(name)} has changes that are staged`);
    return "Working directory has staged changes";
  }

  /** What would be overwritten that git knows nothing of, or cannot be written as it has to be. */
  #findObstacles(entries: readonly IndexEntry[], target: ReadonlyMap<string, TreeFile>): Refusal | undefined {
    const obstacle =
      findConversion(this.#repo, this.#objects, target.values()) ??
      entries
        .filter(({ isIgnored }) => isIgnored)
        .map(({ path: name }) => `${shown(name)} is marked as not to be looked at`)[0] ??
      this.#findUntracked(entries, target);
    if (obstacle === undefined) return undefined;
    this.#update.say(`error: ${obstacle}`);
    return "Could not update working tree to new HEAD";
  }

  #findUntracked(entries: readonly IndexEntry[], target: ReadonlyMap<string, TreeFile>): string | undefined {
    const known = new Map(entries.map((entry) => [entry.path, entry]));
    for (const [name, { mode }] of target) {
      const old = known.get(name) ?? this.#fileAbove(name, known);
      // A file of the index goes, or is written anew; what a submodule holds is its own.
      const isKept = old?.mode === MODE.gitlink && !(old.path === name && mode === MODE.gitlink);
      if (old !== undefined && !isKept) continue;
      const file = old?.path ?? name;
      const above = old === undefined ? this.#notAFolder(name) : undefined;
      if (above !== undefined) return `untracked file ${shown(above)} is in the way`;
      const stat = lstat(filePath(this.#root, file));
      if (stat === undefined || (stat.isDirectory() && mode === MODE.gitlink)) continue;
      const inside = stat.isDirectory() ? this.#untrackedIn(file, known) : file;
      if (inside !== undefined) return `untracked file ${shown(inside)} would be overwritten`;
    }
    return undefined;
  }

  /** The entry of the index that is a file where `name` needs a folder. */
  #fileAbove(name: string, known: ReadonlyMap<string, IndexEntry>): IndexEntry | undefined {
    for (const folder of parentsOf(name)) {
      const entry = known.get(folder);
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  /** The first on the way down to `name` that is there and no folder (a link is none). */
  #notAFolder(name: string): string | undefined {
    return parentsOf(name).find((folder) => lstat(filePath(this.#root, folder))?.isDirectory() === false);
  }

  /** A file in the folder that is not in the index. */
  #untrackedIn(folder: string, known: ReadonlyMap<string, IndexEntry>): string | undefined {
    const names = fs.readdirSync(filePath(this.#root, folder), { encoding: "buffer" });
    for (const name of names) {
      const inside = `${folder}/${name.toString("latin1")}`;
      if (known.has(inside)) continue;
      if (lstat(filePath(this.#root, inside))?.isDirectory() !== true) return inside;
      const deeper = this.#untrackedIn(inside, known);
      if (deeper !== undefined) return deeper;
    }
    return undefined;
  }

  /** Takes away and writes what differs; returns the bytes of the new index. */
  #move(entries: readonly IndexEntry[], target: ReadonlyMap<string, TreeFile>): Buffer {
    const kept = new Map<string, IndexEntry>();
    for (const entry of entries) {
      const next = target.get(entry.path);
      if (next !== undefined && next.oid === entry.oid && fileMode(next.mode) === entry.mode)
        kept.set(entry.path, entry);
      else if (!(entry.mode === MODE.gitlink && next?.mode === MODE.gitlink)) this.#remove(entry);
    }
    const written = [...target.values()].map((file) => {
      const { path: name, oid } = file;
      const mode = fileMode(file.mode);
      return {
        path: name,
        mode,
        oid,
        stat: kept.has(name) ? this.#statOf(kept.get(name)!) : this.#write(name, mode, oid),
      };
    });
    return encodeIndex(this.#repo.format, written);
  }

  /** What the index is to say of a file that stays as it is: it may have been touched. */
  #statOf({ path: name, mode, stat }: IndexEntry): IndexEntry["stat"] {
    const now = mode === MODE.gitlink ? undefined : lstat(filePath(this.#root, name));
    return now === undefined ? stat : indexStat(now);
  }

  #remove({ path: name, mode }: IndexEntry): void {
    const file = filePath(this.#root, name);
    // What a submodule holds is its own.
    if (mode === MODE.gitlink) {
      if (!removeEmpty(file)) return;
    } else fs.rmSync(file, { force: true });
    for (const folder of parentsOf(name).reverse()) if (!removeEmpty(filePath(this.#root, folder))) return;
  }

  #write(name: string, mode: number, oid: Oid): IndexEntry["stat"] {
    const file = filePath(this.#root, name);
    for (const folder of parentsOf(name)) makeFolder(filePath(this.#root, folder));
    const there = lstat(file);
    if (there?.isDirectory() === true) {
      if (mode === MODE.gitlink) return undefined;
      removeFolders(file);
    }
    return writeFile(this.#objects, { mode, oid }, file);
  }

  /** The files of a commit by path, in the order of an index. */
  #filesOf(commit: Oid): Map<string, TreeFile> {
    const { tree } = parseCommit(this.#repo.format, readAs(this.#objects, commit, "commit"));
    const files = [...treeFiles(this.#objects, tree)].filter(({ mode }) => mode !== MODE.tree);
    files.sort((a, b) => (a.path < b.path ? -1 : 1));
    return new Map(files.map((file) => [file.path, file]));
  }
}

/** The mode an index has for a file: 100664 and the like, from old days, are 100644. */
function fileMode(mode: number): number {
  if (mode === MODE.symlink || mode === MODE.gitlink) return mode;
  return (mode & 0o100) === 0 ? MODE.file : MODE.executable;
}

/** `a` and `a/b` of `a/b/c`. */
function parentsOf(name: string): string[] {
  const found: string[] = [];
  for (let at = name.indexOf("/"); at >= 0; at = name.indexOf("/", at + 1)) found.push(name.slice(0, at));
  return found;
}

function makeFolder(file: Buffer): void {
  if (lstat(file)?.isDirectory() !== true) fs.mkdirSync(file);
}

/** Removes a folder that holds nothing; false where it holds something. */
function removeEmpty(file: Buffer): boolean {
  try {
    fs.rmdirSync(file);
    return true;
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOTEMPTY" || code === "EEXIST") return false;
    // Gone already.
    if (code === "ENOENT") return true;
    throw error;
  }
}

/** Removes a folder in which there are none but folders. */
function removeFolders(file: Buffer): void {
  for (const name of fs.readdirSync(file, { encoding: "buffer" })) {
    removeFolders(Buffer.concat([file, Buffer.from("/"), name]));
  }
  fs.rmdirSync(file);
}

function shown(name: string): string {
  return `'${JSON.stringify(Buffer.from(name, "latin1").toString()).slice(1, -1)}'`;
}
