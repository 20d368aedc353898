/** What the rest of gitwire and everything above it knows of stored objects: one to read, where to read, where to write. */

import { KvError } from "../../errors.ts";
import type { ObjectFormat, ObjectKind, Oid } from "./oid.ts";
import type { ReducedTrees } from "./tree-difference.ts";

/** An object in memory, its content without git's header. Nobody writes into `data`: it may be shared by a cache. */
export interface GitObject {
  readonly kind: ObjectKind;
  readonly data: Buffer;
  /** How a tree differs from another one, where that has been seen already. */
  readonly change?: TreeChange | undefined;
}

/** A tree and the tree `base`, reduced to what differs. */
export interface TreeChange extends ReducedTrees {
  readonly base: Oid;
}

/** A place objects are read from. */
export interface ObjectSource {
  readonly format: ObjectFormat;
  /**
   * The object, or undefined where it is not here. The empty tree is always here. Throws CORRUPT on a damaged one. `expected` is the
   * kind the reader takes it for: it helps a source that fetches what is not here.
   */
  read(oid: Oid, expected?: ObjectKind): GitObject | undefined;
  /**
   * As {@link read}, for large objects that are looked at once: the data may be in `into`, where that has room, and is good until it
   * is used again. Nothing is kept for another reader. The reader compares the data with a digest of its own: zlib's checksum is left
   * out where the data is stored uncompressed. Where they differ, {@link read} tells whether the object is damaged.
   */
  readInto?(oid: Oid, into: Buffer): GitObject | undefined;
  /** As {@link read}, by a reader that goes over many objects: none is kept for another one. Where `into` is given, as {@link readInto}. */
  readOnce?(oid: Oid, into?: Buffer): GitObject | undefined;
  /**
   * Many small objects, in whatever order is quickest, by a reader that looks at each once: none is kept for another one. Of one that is
   * undefined, as one asked for twice may be, only {@link read} tells whether it is here, and what is wrong with it.
   */
  readMany?(oids: readonly Oid[]): readonly (GitObject | undefined)[];
  /** Whether the object is here; cheaper than {@link read}. */
  has(oid: Oid): boolean;
  /** Bytes of the object's content, or undefined where it is not here: for sources that can tell without reading all of it. */
  size?(oid: Oid): number | undefined;
  /** Kind of the object, or undefined where it is not here: as {@link size}. */
  kind?(oid: Oid): ObjectKind | undefined;
  /** As {@link has}, without another look at the disk: for ids that may well not be here. */
  hasAtHand?(oid: Oid): boolean;
  /** The way out for whoever misses an object, where there is one. */
  missingHint?: (() => string | undefined) | undefined;
}

/** A place new objects are written to. Writing the same object twice stores it once. */
export interface ObjectSink {
  readonly format: ObjectFormat;
  /** Nothing is stored, objects are only named: deltas need not be made. */
  readonly namesOnly?: true;
  /** What is written is stored and sent nowhere: the base of a delta is copied beside it where it is not written here. */
  readonly copiesBases?: boolean;
  /** Writes an object whole and returns its id. */
  write(kind: ObjectKind, data: Uint8Array): Oid;
  /**
   * Writes the object `data` as `delta` (git's copy/insert instructions, header included) against `base`, which is an
   * object of the same kind that the receiver has or that was written here before. Returns the id of `data`.
   */
  writeDelta(kind: ObjectKind, data: Uint8Array, base: Oid, delta: Uint8Array): Oid;
}

/** Content of the object `oid`, which must be of `kind`. Throws BAD_OBJECT where it is missing or of another kind. */
export function readAs(source: ObjectSource, oid: Oid, kind: ObjectKind): Buffer {
  return readObject(source, oid, kind).data;
}

/**
 * As {@link readAs}, by a reader that goes over many objects and looks at each once: none is kept for another one. The data may be in
 * `into`, where that is given, and is good until it is used again.
 */
export function readOnceAs(source: ObjectSource, oid: Oid, kind: ObjectKind, into?: Buffer): Buffer {
  const object = source.readOnce === undefined ? source.read(oid, kind) : source.readOnce(oid, into);
  return demand(source, object, oid, kind).data;
}

/** The object `oid`, which must be of `kind`. Throws as {@link readAs}. */
export function readObject(source: ObjectSource, oid: Oid, kind: ObjectKind): GitObject {
  return demand(source, source.read(oid, kind), oid, kind);
}

function demand(source: ObjectSource, object: GitObject | undefined, oid: Oid, kind: ObjectKind): GitObject {
  if (object === undefined) {
    const hint = source.missingHint?.();
    throw new KvError("BAD_OBJECT", `${kind} ${oid} is missing`, hint === undefined ? {} : { hint });
  }
  if (object.kind !== kind) throw new KvError("BAD_OBJECT", `${oid} is a ${object.kind}, not a ${kind}`);
  return object;
}
