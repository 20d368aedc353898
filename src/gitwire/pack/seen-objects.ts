/**
 * The objects of an arriving pack as they are decoded for their ids, for whoever checks them next: a push of 15,000 operations
 * on 1,000,000 keys would have each of 35,000 trees read, inflated and made from its base again, two or three times over. A tree that
 * came as a delta is compared with its base then and there, once for all.
 */

import type { GitObject } from "../object/object.ts";
import type { ObjectFormat, ObjectKind } from "../object/oid.ts";
import { hasSubtree } from "../object/tree.ts";
import { reduceTrees } from "../object/tree-difference.ts";
import type { ObjectArena } from "./object-arena.ts";

/** How a tree came to be: from `data`, the tree with the raw id `id`. */
export interface TreeBase {
  readonly id: Buffer;
  readonly data: Buffer;
}

/** Larger objects are read again where they are needed. */
const LARGEST = 64 * 1024;
/** So are smaller trees, commits and tags, which cost more to keep than their bytes. */
const SMALLEST = 64;

export class SeenObjects {
  readonly #arena: ObjectArena;
  readonly #format: ObjectFormat;
  readonly #blobs: boolean;

  /** What is kept goes to `arena`, blobs only where `blobs` says so. */
  constructor(format: ObjectFormat, arena: ObjectArena, blobs: boolean) {
    this.#format = format;
    this.#arena = arena;
    this.#blobs = blobs;
  }

  /** Whether an object of `kind` and of `size` bytes would be kept. */
  wants(kind: ObjectKind, size: number): boolean {
    const isWanted = kind === "blob" ? this.#blobs : size >= SMALLEST;
    return isWanted && size <= LARGEST && this.#arena.hasRoom(size);
  }

  /** Keeps a copy of the object with the raw id, where it is wanted. */
  add(id: Buffer, kind: ObjectKind, data: Buffer): void {
    if (this.wants(kind, data.length)) this.#arena.add(id, { kind, data });
  }

  /** Keeps a base that is added; not a directory of files, since of each that comes it is known how it differs. */
  addBase(id: Buffer, { kind, data }: GitObject): void {
    if (kind !== "tree" || hasSubtree(this.#format, data)) this.add(id, kind, data);
  }

  /**
   * As {@link add}, of an object made from one of the same kind, with what comparing the two tells: whoever checks the push compares each
   * new tree with the one that was in its place, most often just that base.
   */
  keep(id: Buffer, kind: ObjectKind, data: Buffer, base: TreeBase): void {
    if (!this.wants(kind, data.length)) return;
    const reduced = kind === "tree" ? reduceTrees(this.#format, base.data, data) : undefined;
    const change = reduced && { base: base.id.hexSlice(0, base.id.length), ...reduced };
    this.#arena.add(id, { kind, data, change });
  }
}
