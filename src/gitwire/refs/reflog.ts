/**
 * Reflogs (git: git-reflog, core.logAllRefUpdates).
 *
 *   line = old-oid SP new-oid SP identity TAB message LF        identity = name SP "<" email ">" SP seconds SP zone
 *
 * Refs of the key-value store have none: their history is in their commits.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { type Disk, errorCode, removeEmptyParents } from "../disk.ts";
import type { Oid } from "../object/oid.ts";
import { isPerWorktree } from "./ref-name.ts";

/** Which refs get a log, and under whose name. */
export interface ReflogPolicy {
  /** core.logAllRefUpdates: "always" = every ref, "usual" = HEAD, branches, remote-tracking refs and notes, "never". */
  readonly mode: "always" | "usual" | "never";
  /** `Name <email> seconds zone` of whoever moves the refs now. */
  identity(): string;
}

export interface ReflogEntry {
  readonly name: string;
  readonly oldOid: Oid;
  readonly newOid: Oid;
}

const USUAL = /^(?:HEAD$|refs\/(?:heads|remotes|notes)\/)/;
const NEVER = /^refs\/kv/;

/** Appends one entry where the ref has a log or is to get one. */
export function appendReflog(
  disk: Disk,
  dirs: { readonly gitDir: string; readonly commonDir: string },
  policy: ReflogPolicy,
  entry: ReflogEntry,
  message: string,
): void {
  if (NEVER.test(entry.name)) return;
  const file = reflogPath(dirs, entry.name);
  const wanted = policy.mode === "always" || (policy.mode === "usual" && USUAL.test(entry.name));
  if (!wanted && !fs.existsSync(file)) return;
  const text = message.replace(/\s+/g, " ").trim();
  const line = `${entry.oldOid} ${entry.newOid} ${policy.identity()}${text === "" ? "" : `\t${text}`}\n`;
  appendLine(disk, file, Buffer.from(line));
}

/** Removes the log of a deleted ref. */
export function removeReflog(
  disk: Disk,
  dirs: { readonly gitDir: string; readonly commonDir: string },
  name: string,
): void {
  const file = reflogPath(dirs, name);
  if (!fs.existsSync(file)) return;
  disk.unlink(file);
  removeEmptyParents(disk, path.dirname(file), `${dirs.commonDir}/logs/refs`);
}

function reflogPath(dirs: { readonly gitDir: string; readonly commonDir: string }, name: string): string {
  return `${isPerWorktree(name) ? dirs.gitDir : dirs.commonDir}/logs/${name}`;
}

function appendLine(disk: Disk, file: string, line: Buffer): void {
  try {
    disk.append(file, line);
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT") disk.mkdir(path.dirname(file));
    else if (code === "EISDIR") removeEmptyFolders(disk, file);
    else throw error;
    disk.append(file, line);
  }
}

/** Removes a tree of folders that holds no file; one that does stops it with ENOTEMPTY. */
export function removeEmptyFolders(disk: Disk, dir: string): void {
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    if (entry.isDirectory()) removeEmptyFolders(disk, path.join(dir, entry.name));
  }
  disk.rmdir(dir);
}
