/** The files of a tree with their whole paths. */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { type ObjectSource, readAs } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import { MODE, parseTree } from "../object/tree.ts";
import { checkFileName } from "./worktree-file.ts";

/** A file of a tree, a link, a submodule, or a folder, which comes before what is in it. */
export interface TreeFile {
  /** Path from the root of the tree, a byte string. */
  readonly path: string;
  readonly mode: number;
  readonly oid: Oid;
}

/** All of the tree `root`. Throws BAD_OBJECT for a path git does not check out, LIMIT_EXCEEDED where it is nested too deeply. */
export function* treeFiles(objects: ObjectSource, root: Oid, prefix = "", depth = 0): Generator<TreeFile> {
  if (depth > LIMITS.treeDepth) throw new KvError("LIMIT_EXCEEDED", "the tree is nested too deeply to check out");
  for (const { name, mode, oid } of parseTree(objects.format, readAs(objects, root, "tree"))) {
    checkFileName(name);
    yield { path: prefix + name, mode, oid };
    if (mode === MODE.tree) yield* treeFiles(objects, oid, `${prefix}${name}/`, depth + 1);
  }
}
