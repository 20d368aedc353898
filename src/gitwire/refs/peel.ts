/** Following annotated tags to what they are about (git: "peeling", the `^{}` of an advertisement). */

import type { ObjectSource } from "../object/object.ts";
import { isOid, type Oid } from "../object/oid.ts";

/** git writes no deeper nests; a chain of ids cannot be circular, so this only bounds the work. */
const DEEPEST_TAG = 100;

/** The object that is no tag at the end of the chain from the tag `oid`; undefined where `oid` is no tag or a link is missing. */
export function peelTag(objects: ObjectSource, oid: Oid): Oid | undefined {
  let at = oid;
  for (let depth = 0; depth < DEEPEST_TAG; depth++) {
    const object = objects.read(at);
    if (object === undefined) return undefined;
    if (object.kind !== "tag") return depth === 0 ? undefined : at;
    const { hexSize } = objects.format;
    // A subarray, because slicing past the end of a tag cut short would throw.
    const [word, target = ""] = object.data
      .subarray(0, 7 + hexSize)
      .toString("latin1")
      .split(" ");
    if (word !== "object" || !isOid(objects.format, target)) return undefined;
    at = target;
  }
  return undefined;
}
