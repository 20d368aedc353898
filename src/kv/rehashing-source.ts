/** Objects of a repository, hashed anew as they are read: an audit believes ids, not the files that claim them. */

import { KvError } from "../errors.ts";
import type { GitObject, ObjectSource } from "../gitwire/object/object.ts";
import { hashObject } from "../gitwire/object/oid.ts";

/** Reads from `source`. Throws CORRUPT where an object is not what its id says. */
export function rehashing(source: ObjectSource): ObjectSource {
  const { format } = source;
  return {
    format,
    has: (oid) => source.has(oid),
    read(oid): GitObject | undefined {
      const object = source.read(oid);
      if (object === undefined) return undefined;
      const actual = hashObject(format, object.kind, object.data);
      if (actual === oid) return object;
      throw new KvError("CORRUPT", `object ${oid} holds what has the id ${actual}`);
    },
  };
}
