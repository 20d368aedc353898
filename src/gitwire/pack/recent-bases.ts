/**
 * How objects that were just stored are made of whole ones: what comes next is mostly a delta of them, and a pack that holds it has to
 * hold what they are made of ({@link thin-bases.ts}). Nothing is looked up, read and inflated again for that.
 *
 * Two generations stand for the order of use, as in an ObjectCache.
 */

import type { ObjectKind, Oid } from "../object/oid.ts";

/** A whole object. */
export interface WholeObject {
  readonly oid: Oid;
  readonly kind: ObjectKind;
  /** Bytes of its content. */
  readonly size: number;
  /** Its content, compressed. */
  readonly stream: Buffer;
}

/** An object: a whole one and the deltas that make it of that, in order. */
export interface RootedObject {
  readonly root: WholeObject;
  readonly deltas: readonly Buffer[];
}

/** What an entry costs besides its bytes. */
const OVERHEAD = 256;

export class RecentBases {
  readonly #budget: number;
  #young = new Map<Oid, RootedObject>();
  #old = new Map<Oid, RootedObject>();
  #bytes = 0;

  /** `budget`: most bytes held; those of a root count for each object that is made of it. */
  constructor(budget: number) {
    this.#budget = budget;
  }

  get(oid: Oid): RootedObject | undefined {
    return this.#young.get(oid) ?? this.#old.get(oid);
  }

  add(oid: Oid, object: RootedObject): void {
    this.#bytes += object.deltas.reduce((sum, delta) => sum + delta.length, object.root.stream.length + OVERHEAD);
    if (this.#bytes > this.#budget / 2) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#bytes = 0;
    }
    this.#young.set(oid, object);
  }
}
