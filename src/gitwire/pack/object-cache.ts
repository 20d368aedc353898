/** Objects kept in memory for reuse, bounded by the bytes of their data: the least recently used are dropped first, or the first stay. */

import type { GitObject } from "../object/object.ts";

/** What an entry costs besides its data: key, object and map slot. */
const ENTRY_OVERHEAD = 256;

export class ObjectCache {
  readonly #budget: number;
  readonly #firstStay: boolean;
  /** In order of use: a Map iterates in order of insertion. */
  readonly #entries = new Map<string, GitObject>();
  #bytes = 0;

  /**
   * `budget`: most bytes held. Objects above a quarter of it are not kept. `firstStay`: once full, nothing is dropped and nothing
   * more taken, for work that walks over all objects more than once: dropping the oldest, it would find none of them again.
   */
  constructor(budget: number, { firstStay = false } = {}) {
    this.#budget = budget;
    this.#firstStay = firstStay;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): GitObject | undefined {
    const found = this.#entries.get(key);
    if (found === undefined || this.#firstStay) return found;
    this.#entries.delete(key);
    this.#entries.set(key, found);
    return found;
  }

  set(key: string, object: GitObject): void {
    const cost = object.data.length + ENTRY_OVERHEAD;
    if (!this.#takes(cost) || this.#entries.has(key)) return;
    this.#entries.set(key, object);
    this.#bytes += cost;
    for (const [oldest, dropped] of this.#entries) {
      if (this.#bytes <= this.#budget) break;
      this.#entries.delete(oldest);
      this.#bytes -= dropped.data.length + ENTRY_OVERHEAD;
    }
  }

  /** Whether an object of `size` bytes would be kept. */
  hasRoom(size: number): boolean {
    return this.#takes(size + ENTRY_OVERHEAD);
  }

  #takes(cost: number): boolean {
    return cost <= this.#budget / 4 && !(this.#firstStay && this.#bytes + cost > this.#budget);
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }
}
