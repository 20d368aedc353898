/** The objects of a pack in the order of their entries: where an entry ends, and whose it is (git's "reverse index"). */

import { KvError } from "../../errors.ts";

export class PackOrder {
  readonly #path: string;
  readonly #end: number;
  /** Offsets of all entries, ascending. */
  readonly offsets: Float64Array;
  /** Position in the index of the entry of the same rank. */
  readonly #positions: Uint32Array;

  /** `byPosition`: offsets in order of ids; `end`: where the last entry ends. */
  constructor(path: string, byPosition: Float64Array, end: number) {
    this.#path = path;
    this.#end = end;
    this.offsets = byPosition.slice().sort();
    this.#positions = new Uint32Array(byPosition.length);
    for (let i = 0; i < byPosition.length; i++) this.#positions[this.rank(byPosition[i]!)] = i;
  }

  /** Number of the entry at `offset` in the order of the pack. Throws CORRUPT where none starts there. */
  rank(offset: number): number {
    let low = 0;
    let high = this.offsets.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const found = this.offsets[middle]!;
      if (found === offset) return middle;
      if (found < offset) low = middle + 1;
      else high = middle - 1;
    }
    throw new KvError("CORRUPT", `${this.#path}: no entry starts at ${offset}`);
  }

  /** Position in the index of the object whose entry starts at `offset`. */
  position(offset: number): number {
    return this.#positions[this.rank(offset)]!;
  }

  /** Where the entry that starts at `offset` ends. */
  end(offset: number): number {
    return this.offsets[this.rank(offset) + 1] ?? this.#end;
  }
}
