/**
 * The objects of an arriving pack as they are decoded for their ids, for whoever checks them next: a push of 15,000 operations
 * on 1,000,000 keys would have each of 35,000 trees read, inflated and made from its base again, two or three times over.
 */

import type { ObjectKind } from "../object/oid.ts";
import type { ObjectCache } from "./object-cache.ts";

/** Larger objects are read again where they are needed. */
const LARGEST = 64 * 1024;
/** So are smaller trees, commits and tags, which cost more to keep than their bytes: 100,000 trees of 33 bytes took 27 MB. */
const SMALLEST = 64;

export class SeenObjects {
  readonly #cache: ObjectCache;
  readonly #blobs: boolean;

  /** What is kept goes to `cache`, blobs only where `blobs` says so. */
  constructor(cache: ObjectCache, blobs: boolean) {
    this.#cache = cache;
    this.#blobs = blobs;
  }

  /** Whether an object of `kind` and of `size` bytes would be kept. */
  wants(kind: ObjectKind, size: number): boolean {
    const isWanted = kind === "blob" ? this.#blobs : size >= SMALLEST;
    return isWanted && size <= LARGEST && this.#cache.hasRoom(size);
  }

  /** Keeps a copy of the object with the raw id, where it is wanted. */
  add(id: Buffer, kind: ObjectKind, data: Buffer): void {
    if (this.wants(kind, data.length)) this.keep(id, kind, Buffer.from(data));
  }

  /** Keeps the object, whose data nobody writes to any more. */
  keep(id: Buffer, kind: ObjectKind, data: Buffer): void {
    this.#cache.set(id.hexSlice(0, id.length), { kind, data });
  }
}
