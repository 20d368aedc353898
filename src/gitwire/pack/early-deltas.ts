/**
 * Deltas that are applied as they arrive, where their base came a short while before: nothing is left to do of them when the pack has
 * arrived, and their bases are inflated once. Those that are left are the second pass's (delta-resolver.ts).
 */

import { ObjectBuffer } from "../object/object-buffer.ts";
import type { DeltaLimits } from "./delta-limits.ts";
import type { EntryList } from "./entry-list.ts";
import { entryKind } from "./pack-entry.ts";
import { RecentObjects } from "./recent-objects.ts";

/** Deltas that make more are left to the second pass. */
const LARGEST = 64 * 1024;

export class EarlyDeltas {
  readonly #list: EntryList;
  readonly #limits: DeltaLimits;
  readonly #recent: RecentObjects;
  #object: ObjectBuffer | undefined;
  /** A pack without deltas needs no bases: they are kept from its first delta on. */
  #hasDeltas = false;

  /** Keeps `budget` bytes of objects that may be bases. */
  constructor(list: EntryList, limits: DeltaLimits, budget: number) {
    this.#list = list;
    this.#limits = limits;
    this.#recent = new RecentObjects(budget);
  }

  /** The whole object of entry number `entry`, the first `length` bytes of `data`, may be a base. */
  note(entry: number, data: Buffer, length: number): void {
    if (this.#hasDeltas) this.#recent.add(entry, data, length);
  }

  /**
   * Applies the delta of entry number `entry` where the object of `base`, an entry before it, is at hand; false where it is not. Throws BAD_PACK where
   * it is damaged, LIMIT_EXCEEDED.
   */
  resolve(entry: number, base: number, delta: Buffer): boolean {
    this.#hasDeltas = true;
    const list = this.#list;
    const kind = entryKind(list.types[base]!);
    const from = kind === undefined ? undefined : this.#recent.get(base);
    if (kind === undefined || from === undefined || this.#limits.targetSize(entry, delta) > LARGEST) return false;
    const depth = list.depthOf(base) + 1;
    this.#limits.requireDepth(depth);
    this.#object ??= new ObjectBuffer(list.format, LARGEST);
    const object = this.#object;
    const { length } = this.#limits.apply(entry, from, delta, object.data);
    const id = object.id(kind, length);
    list.addResolved(entry, base, kind, depth);
    list.setId(entry, id);
    if (list.seen?.wants(kind, length) === true) list.seen.add(id, kind, object.data.subarray(0, length));
    this.#recent.add(entry, object.data, length);
    return true;
  }
}
