/** What `history` says of the value of a revision. */

import type { ObjectSource } from "../gitwire/object/object.ts";
import type { Revision } from "../kv/history.ts";
import type { Key } from "../kv/key.ts";
import type { FoundKey } from "../kv/read.ts";
import { formatSize } from "../quantity.ts";
import { SHORT_OID } from "./txn-facts.ts";

/** Characters of an etag that people are shown. */
const SHORT_ETAG = "blake3:".length + SHORT_OID;

/** The value's facts, as JSON has them; undefined for a deletion. */
export async function valueFacts(objects: ObjectSource, key: Key, revision: Revision): Promise<object | undefined> {
  if (revision.meta === undefined) return undefined;
  const { facts } = await import("../kv/value-record.ts");
  return facts(await findRevision(objects, key, revision), await piecesOf(objects, key, revision));
}

/** Size, pieces and the first digits of the etag, for people; "-" for a deletion. */
export async function describeValue(objects: ObjectSource, key: Key, revision: Revision): Promise<string> {
  const { meta } = revision;
  if (meta === undefined) return "-";
  const pieces = await piecesOf(objects, key, revision);
  const size = formatSize(meta.size);
  return `${pieces === undefined ? size : `${size} in ${pieces} pieces`}, ${meta.etag.slice(0, SHORT_ETAG)}`;
}

/** The pieces of a value that is stored in pieces: its manifest is read. */
async function piecesOf(objects: ObjectSource, key: Key, revision: Revision): Promise<number | undefined> {
  if (revision.meta?.type !== "chunked") return undefined;
  // Loaded here: most values are stored whole.
  const { readManifest } = await import("../kv/chunked-value.ts");
  return readManifest(objects, await findRevision(objects, key, revision)).chunks.length;
}

async function findRevision(objects: ObjectSource, key: Key, { state }: Revision): Promise<FoundKey> {
  const { findKey } = await import("../kv/read.ts");
  return findKey(objects, state, key, { now: 0, allowExpired: true });
}
