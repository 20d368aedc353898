/**
 * Objects of a repository, hashed anew as they are read: an audit believes ids, not the files that claim them. Those read lately are
 * kept: each transaction is compared with the one before it, whose objects need not be found, decoded and hashed again.
 */

import { KvError } from "../errors.ts";
import type { GitObject, ObjectSource } from "../gitwire/object/object.ts";
import { hashObject } from "../gitwire/object/oid.ts";
import { ObjectCache } from "../gitwire/pack/object-cache.ts";

/** Bytes of objects that are kept, and the largest blob among them: pieces of large values are read once. */
const KEPT_BYTES = 8 * 1024 * 1024;
const KEPT_BLOB = 32 * 1024;

/** Reads from `source`. Throws CORRUPT where an object is not what its id says. */
export function rehashing(source: ObjectSource): ObjectSource {
  const { format } = source;
  const kept = new ObjectCache(KEPT_BYTES);
  return {
    format,
    has: (oid) => source.has(oid),
    read(oid): GitObject | undefined {
      const known = kept.get(oid);
      if (known !== undefined) return known;
      const object = source.read(oid);
      if (object === undefined) return undefined;
      const actual = hashObject(format, object.kind, object.data);
      if (actual !== oid) throw new KvError("CORRUPT", `object ${oid} holds what has the id ${actual}`);
      if (object.kind !== "blob" || object.data.length <= KEPT_BLOB) kept.set(oid, object);
      return object;
    },
  };
}
