/** Finds a file in a commit by its path. */

import { commitLinks } from "./commit.ts";
import { type ObjectSource, readAs } from "./object.ts";
import type { Oid } from "./oid.ts";
import { findEntry } from "./tree.ts";

/** Content of the file at `path` in the commit `oid`, or undefined. */
export function fileAt(objects: ObjectSource, oid: Oid, path: string): Buffer | undefined {
  let at = commitLinks(objects.format, readAs(objects, oid, "commit")).tree;
  for (const name of path.split("/")) {
    const object = objects.read(at);
    const entry = object?.kind === "tree" ? findEntry(objects.format, object.data, name) : undefined;
    if (entry === undefined) return undefined;
    at = entry.oid;
  }
  const object = objects.read(at);
  return object?.kind === "blob" ? object.data : undefined;
}
