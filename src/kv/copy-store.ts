/**
 * The objects that reading from a remote without a clone has brought here: a store in the user's cache. What is missing in it is to
 * be had from the remote, so a read that says what it needs is told so instead of finding nothing; and since a cache is nobody's only copy and was not
 * synced to disk, every object is hashed when it is read.
 */

import { KvError } from "../errors.ts";
import type { GitObject } from "../gitwire/object/object.ts";
import { hashObject, type ObjectKind, type Oid } from "../gitwire/object/oid.ts";
import { ObjectStore } from "../gitwire/store/object-store.ts";

/** A read needs an object that is not here yet: whoever began the read brings it, and reads again. No fault of anyone. */
export class Absent extends Error {
  readonly oid: Oid;
  /** What the reader takes it for. */
  readonly expected: ObjectKind;

  constructor(oid: Oid, expected: ObjectKind) {
    super(`${oid} is not here yet`);
    this.oid = oid;
    this.expected = expected;
  }
}

export class CopyStore extends ObjectStore {
  /**
   * Throws Absent where the object is not here and the reader says what it takes it for: it needs it then, where others only look
   * whether it is there. Throws CORRUPT where it is not the one its id names.
   */
  override read(oid: Oid, expected?: ObjectKind): GitObject | undefined {
    const object = super.read(oid);
    if (object !== undefined) return this.#checked(oid, object);
    if (expected !== undefined) throw new Absent(oid, expected);
    return undefined;
  }

  override readInto(oid: Oid, into: Buffer): GitObject | undefined {
    const object = super.readInto(oid, into);
    return object === undefined ? undefined : this.#checked(oid, object);
  }

  override readOnce(oid: Oid, into?: Buffer): GitObject | undefined {
    const object = super.readOnce(oid, into);
    return object === undefined ? undefined : this.#checked(oid, object);
  }

  #checked(oid: Oid, object: GitObject): GitObject {
    if (hashObject(this.format, object.kind, object.data) === oid) return object;
    throw new KvError("CORRUPT", `${oid} in ${this.objectsDir} is damaged: its bytes are not those its id names`);
  }
}
