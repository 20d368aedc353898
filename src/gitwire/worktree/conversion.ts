/**
 * Whether git would write files otherwise than they are stored (gitattributes, "Checking-out and checking-in"; git-config
 * `core.autocrlf`, `core.eol`). Nothing is converted here: a worktree that needs it is left to git.
 */

import * as path from "node:path";
import { readFileIfThere } from "../disk.ts";
import { type ObjectSource, readAs } from "../object/object.ts";
import { MODE } from "../object/tree.ts";
import type { Repository } from "../repo.ts";
import type { TreeFile } from "./tree-files.ts";

/** Attributes that change what is written. `text` alone does not: lines end with LF here, as they are stored. */
const CONVERTING = /^(?:eol=|crlf(?:=|$)|ident$|filter=|working-tree-encoding=)/;

/** What asks for a conversion, or undefined. `files`: those of the tree to be written. */
export function findConversion(repo: Repository, objects: ObjectSource, files: Iterable<TreeFile>): string | undefined {
  const autocrlf = repo.config.get("core.autocrlf");
  if (autocrlf !== undefined && autocrlf.toLowerCase() !== "input" && repo.config.getBool("core.autocrlf") === true) {
    return "core.autocrlf asks for files to be converted, which this server does not do";
  }
  if (repo.config.get("core.eol")?.toLowerCase() === "crlf") {
    return "core.eol asks for files to be converted, which this server does not do";
  }
  const own = readFileIfThere(path.join(repo.commonDir, "info/attributes"));
  if (own !== undefined && converts(own)) return refusal("info/attributes");
  for (const { path: name, mode, oid } of files) {
    const isAttributes = name === ".gitattributes" || name.endsWith("/.gitattributes");
    if (!isAttributes || mode === MODE.gitlink || mode === MODE.symlink) continue;
    if (converts(readAs(objects, oid, "blob"))) return refusal(Buffer.from(name, "latin1").toString());
  }
  return undefined;
}

function converts(attributes: Buffer): boolean {
  return attributes
    .toString("latin1")
    .split("\n")
    .filter((line) => !/^\s*#/.test(line))
    .some((line) =>
      line
        .split(/\s+/)
        .slice(1)
        .some((word) => CONVERTING.test(word)),
    );
}

function refusal(file: string): string {
  return `'${JSON.stringify(file).slice(1, -1)}' asks for files to be converted, which this server does not do`;
}
