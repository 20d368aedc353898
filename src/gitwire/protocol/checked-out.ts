/** Which branches somebody has checked out: a push must not move those under him (git: worktree.c). */

import * as fs from "node:fs";
import * as path from "node:path";
import { isMissing, readFileIfThere } from "../disk.ts";
import { readLooseRef } from "../refs/loose-refs.ts";
import type { Repository } from "../repo.ts";
import type { Worktree } from "../worktree/update-worktree.ts";

/** The branches checked out in the repository's own worktree and in linked ones, and the worktree of each. */
export function checkedOutBranches(repo: Repository): Map<string, Worktree> {
  const linked = path.join(repo.commonDir, "worktrees");
  const worktrees = listDir(linked).map((name) => {
    const admin = path.join(linked, name);
    return { admin, files: path.dirname(readFileIfThere(path.join(admin, "gitdir"))?.toString().trim() ?? admin) };
  });
  if (repo.config.getBool("core.bare") !== true) {
    worktrees.push({ admin: repo.commonDir, files: repo.worktree ?? path.dirname(repo.commonDir) });
  }
  const branches = new Map<string, Worktree>();
  for (const { admin, files } of worktrees) {
    const head = readLooseRef(path.join(admin, "HEAD"), "HEAD", repo.format);
    if (head?.kind === "symbolic") branches.set(head.target, { admin, files });
  }
  return branches;
}

function listDir(dir: string): string[] {
  try {
    return fs.readdirSync(dir);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
