/** What `history` says of the value of a revision. */

import type { ObjectSource } from "../gitwire/object/object.ts";
import { readManifest } from "../kv/chunked-value.ts";
import type { Revision } from "../kv/history.ts";
import type { Key } from "../kv/key.ts";
import { type FoundKey, findKey } from "../kv/read.ts";
import { facts } from "../kv/value-record.ts";
import { formatSize } from "../quantity.ts";
import { SHORT_OID } from "./txn-facts.ts";

/** Characters of an etag that people are shown. */
const SHORT_ETAG = "blake3:".length + SHORT_OID;

/** The value's facts, as JSON has them; undefined for a deletion. */
export function valueFacts(objects: ObjectSource, key: Key, revision: Revision): object | undefined {
  if (revision.meta === undefined) return undefined;
  return facts(findRevision(objects, key, revision), piecesOf(objects, key, revision));
}

/** Size, pieces and the first digits of the etag, for people; "-" for a deletion. */
export function describeValue(objects: ObjectSource, key: Key, revision: Revision): string {
  const { meta } = revision;
  if (meta === undefined) return "-";
  const pieces = piecesOf(objects, key, revision);
  const size = formatSize(meta.size);
  return `${pieces === undefined ? size : `${size} in ${pieces} pieces`}, ${meta.etag.slice(0, SHORT_ETAG)}`;
}

/** The pieces of a value that is stored in pieces: its manifest is read. */
function piecesOf(objects: ObjectSource, key: Key, revision: Revision): number | undefined {
  if (revision.meta?.type !== "chunked") return undefined;
  return readManifest(objects, findRevision(objects, key, revision)).chunks.length;
}

function findRevision(objects: ObjectSource, key: Key, { state }: Revision): FoundKey {
  return findKey(objects, state, key, { now: 0, allowExpired: true });
}
