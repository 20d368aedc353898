/** What an object points at, for the walks of connectivity and pack-objects. */

import { KvError } from "../../errors.ts";
import { commitLinks } from "../object/commit.ts";
import type { GitObject } from "../object/object.ts";
import { isOid, type ObjectFormat, type ObjectKind, type Oid } from "../object/oid.ts";
import { MODE, TreeCursor } from "../object/tree.ts";

/** Called with each link: the kind the target must have and its raw id at `bytes[at]`. */
export type LinkVisitor = (kind: ObjectKind, bytes: Buffer, at: number) => void;

const SCRATCH = Buffer.alloc(32);

/**
 * Visits everything `object` points at: tree and parents of a commit, entries of a tree (gitlinks are other repositories'
 * commits and left out), target of a tag. Throws BAD_OBJECT where it is malformed.
 */
export function visitLinks(format: ObjectFormat, object: GitObject, visit: LinkVisitor): void {
  switch (object.kind) {
    case "blob":
      return;
    case "tree":
      visitTree(format, object.data, visit);
      return;
    case "commit": {
      const { tree, parents } = commitLinks(format, object.data);
      visit("tree", rawOid(tree), 0);
      for (const parent of parents) visit("commit", rawOid(parent), 0);
      return;
    }
    case "tag": {
      const { oid, kind } = tagTarget(format, object.data);
      visit(kind, rawOid(oid), 0);
    }
  }
}

/** Visits the entries of a tree, gitlinks left out. */
export function visitTree(format: ObjectFormat, data: Buffer, visit: LinkVisitor): void {
  const cursor = new TreeCursor(format, data);
  while (cursor.next()) {
    if (cursor.mode === MODE.gitlink) continue;
    visit(cursor.isTree() ? "tree" : "blob", data, cursor.oidStart);
  }
}

/** What a tag is about (git: "object" SP oid LF "type" SP kind LF ...). Throws BAD_OBJECT where it is malformed. */
export function tagTarget(format: ObjectFormat, data: Buffer): { readonly oid: Oid; readonly kind: ObjectKind } {
  const head = data.subarray(0, 7 + format.hexSize + 1 + 5 + 7).toString("latin1");
  const [, oid = "", kind] = /^object ([0-9a-f]+)\ntype (commit|tree|blob|tag)\n/.exec(head) ?? [];
  if (!isOid(format, oid)) throw new KvError("BAD_OBJECT", "malformed tag: no object and type where they belong");
  return { oid, kind: kind as ObjectKind };
}

/** The raw id in memory that the next call overwrites. */
function rawOid(oid: Oid): Buffer {
  SCRATCH.write(oid, 0, "hex");
  return SCRATCH;
}
