/** Which branches somebody has checked out: a push must not move those under him (git: worktree.c). */

import * as fs from "node:fs";
import * as path from "node:path";
import { isMissing } from "../disk.ts";
import { readLooseRef } from "../refs/loose-refs.ts";
import type { Repository } from "../repo.ts";

/** Names of the branches checked out in the repository's own worktree and in linked ones. */
export function checkedOutBranches(repo: Repository): Set<string> {
  const linked = path.join(repo.commonDir, "worktrees");
  const heads = listDir(linked).map((name) => path.join(linked, name, "HEAD"));
  if (repo.config.getBool("core.bare") !== true) heads.push(path.join(repo.commonDir, "HEAD"));
  const branches = new Set<string>();
  for (const file of heads) {
    const head = readLooseRef(file, "HEAD", repo.format);
    if (head?.kind === "symbolic") branches.add(head.target);
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
