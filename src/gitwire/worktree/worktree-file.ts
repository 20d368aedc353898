/** One file of a worktree: what may be written where, how it is written, and whether it still is what the index says. */

import * as fs from "node:fs";
import { KvError } from "../../errors.ts";
import { isMissing } from "../disk.ts";
import { type ObjectSource, readAs } from "../object/object.ts";
import { hashObject, type Oid } from "../object/oid.ts";
import { MODE } from "../object/tree.ts";
import { type IndexEntry, type IndexStat, indexStat } from "./index-file.ts";

/** Names that would leave the worktree or reach into `.git` on some file system (git: verify_path). Throws BAD_OBJECT. */
export function checkFileName(name: string): void {
  const plain = name.replace(
    /\u00e2\u0080[\u008c-\u008f\u00aa-\u00ae]|\u00e2\u0081[\u00aa-\u00af]|\u00ef\u00bb\u00bf/g,
    "",
  );
  const forbidden =
    name === "." || name === ".." || /[/\\\0]/.test(name) || /^(?:\.git|git~1)[ .]*(?::.*)?$/i.test(plain);
  if (forbidden)
    throw new KvError("BAD_OBJECT", `a tree holds the path ${JSON.stringify(name)}, which is not checked out`);
}

/** Where the file at `path` (a byte string) of the worktree `root` is. */
export function filePath(root: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, "latin1")]);
}

/** What lies at `file`, links not followed; undefined where nothing does. */
export function lstat(file: Buffer): fs.BigIntStats | undefined {
  try {
    return fs.lstatSync(file, { bigint: true });
  } catch (error) {
    // ENOTDIR: a file lies where a folder would have to.
    if (isMissing(error) || (error as NodeJS.ErrnoException).code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** Writes the object as a file that must not be there yet; never through a link. A submodule is an empty folder. */
export function writeFile(
  objects: ObjectSource,
  { mode, oid }: { readonly mode: number; readonly oid: Oid },
  file: Buffer,
): IndexStat | undefined {
  if (mode === MODE.gitlink) {
    fs.mkdirSync(file);
    return undefined;
  }
  const data = readAs(objects, oid, "blob");
  if (mode === MODE.symlink) fs.symlinkSync(data as unknown as string, file);
  else fs.writeFileSync(file, data, { flag: "wx", mode: mode === MODE.executable ? 0o777 : 0o666 });
  return indexStat(fs.lstatSync(file, { bigint: true }));
}

/**
 * Whether the file at `file` holds what its entry says. `since`: when the index was written, in nanoseconds; what was changed
 * after that, or in the same moment, is read (git: racy-git).
 */
export function isUnchanged(
  objects: ObjectSource,
  entry: IndexEntry,
  file: Buffer,
  since: bigint,
  trustsMode: boolean,
): boolean {
  const stat = lstat(file);
  if (stat === undefined) return false;
  const isLink = stat.isSymbolicLink();
  if (isLink !== (entry.mode === MODE.symlink) || (!isLink && !stat.isFile())) return false;
  const isExecutable = (Number(stat.mode) & 0o100) !== 0;
  if (trustsMode && !isLink && isExecutable !== (entry.mode === MODE.executable)) return false;
  if (stat.mtimeNs < since && isSame(entry.stat, indexStat(stat))) return true;
  const data = isLink ? fs.readlinkSync(file, "buffer") : fs.readFileSync(file);
  return hashObject(objects.format, "blob", data) === entry.oid;
}

function isSame(a: IndexStat | undefined, b: IndexStat): boolean {
  return a !== undefined && (Object.keys(b) as (keyof IndexStat)[]).every((field) => a[field] === b[field]);
}
