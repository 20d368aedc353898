/**
 * Writes a commit's files into an empty worktree, and the index that says so.
 *
 * Files are written as stored: filters and line-ending conversion of .gitattributes are not applied.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import type { Oid } from "../object/oid.ts";
import { MODE } from "../object/tree.ts";
import type { Repository } from "../repo.ts";
import { encodeIndex, type IndexStat } from "./index-file.ts";
import { type TreeFile, treeFiles } from "./tree-files.ts";
import { filePath, writeFile } from "./worktree-file.ts";

/** Checks the tree `oid` out into the worktree of `repo`, which holds no file yet. Throws BAD_OBJECT for a path git forbids. */
export function checkoutTree(repo: Repository, oid: Oid): void {
  const root = repo.worktree;
  if (root === undefined) throw new KvError("NOT_A_REPOSITORY", "there is no worktree to check out into");
  const entries: (TreeFile & { readonly stat: IndexStat | undefined })[] = [];
  for (const file of treeFiles(repo.objects, oid)) {
    const target = filePath(root, file.path);
    // Not recursive: a folder that is there already could be a link out of the worktree, made by an entry of the same name.
    if (file.mode === MODE.tree) fs.mkdirSync(target);
    else entries.push({ ...file, stat: writeFile(repo.objects, file, target) });
  }
  entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  const temporary = path.join(repo.gitDir, "index.lock");
  fs.writeFileSync(temporary, encodeIndex(repo.format, entries), { flag: "wx" });
  fs.renameSync(temporary, path.join(repo.gitDir, "index"));
}
