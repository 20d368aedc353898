/** What `history --json` says of the value of a revision. */

import type { ObjectSource } from "../gitwire/object/object.ts";
import { readManifest } from "../kv/chunked-value.ts";
import type { Revision } from "../kv/history.ts";
import type { Key } from "../kv/key.ts";
import { findKey } from "../kv/read.ts";
import { facts } from "../kv/value-record.ts";

/** The value's facts; undefined for a deletion. */
export function valueFacts(objects: ObjectSource, key: Key, { state, meta }: Revision): object | undefined {
  if (meta === undefined) return undefined;
  const found = findKey(objects, state, key, { now: 0, allowExpired: true });
  return facts(found, meta.type === "chunked" ? readManifest(objects, found).chunks.length : undefined);
}
