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
    if (object.data.latin1Slice(0, 7) !== "object ") return undefined;
    const target = object.data.latin1Slice(7, 7 + hexSize);
    if (!isOid(objects.format, target)) return undefined;
    at = target;
  }
  return undefined;
}
