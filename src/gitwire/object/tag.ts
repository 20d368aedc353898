/**
 * Annotated tags (git: gitformat "tag"), as far as what they point at.
 *
 *   tag = "object" SP oid LF "type" SP kind LF "tag" SP name LF ["tagger" SP ident LF] LF message
 */

import { KvError } from "../../errors.ts";
import { isOid, type ObjectFormat, type ObjectKind, type Oid } from "./oid.ts";

/** Longest beginning that is looked at: both ids and the longest kind fit. */
const HEAD_BYTES = "object ".length + 64 + "\ntype commit\n".length;

/** What a tag is about. Throws BAD_OBJECT where it is malformed. */
export function tagTarget(format: ObjectFormat, data: Buffer): { readonly oid: Oid; readonly kind: ObjectKind } {
  const head = data.subarray(0, HEAD_BYTES).toString("latin1");
  const [, oid = "", kind] = /^object ([0-9a-f]+)\ntype (commit|tree|blob|tag)\n/.exec(head) ?? [];
  if (!isOid(format, oid)) throw new KvError("BAD_OBJECT", "malformed tag: no object and type where they belong");
  return { oid, kind: kind as ObjectKind };
}
