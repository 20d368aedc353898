/** Objects kept in memory for reuse, least recently used dropped first; bounded by the bytes of their data. */

import type { GitObject } from "../object/object.ts";

/** What an entry costs besides its data: key, object and map slot. */
const ENTRY_OVERHEAD = 256;

export class ObjectCache {
  readonly #budget: number;
  /** In order of use: a Map iterates in order of insertion. */
  readonly #entries = new Map<string, GitObject>();
  #bytes = 0;

  /** `budget`: most bytes held. Objects above a quarter of it are not kept. */
  constructor(budget: number) {
    this.#budget = budget;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): GitObject | undefined {
    const found = this.#entries.get(key);
    if (found === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, found);
    return found;
  }

  set(key: string, object: GitObject): void {
    const cost = object.data.length + ENTRY_OVERHEAD;
    if (cost > this.#budget / 4 || this.#entries.has(key)) return;
    this.#entries.set(key, object);
    this.#bytes += cost;
    for (const [oldest, dropped] of this.#entries) {
      if (this.#bytes <= this.#budget) break;
      this.#entries.delete(oldest);
      this.#bytes -= dropped.data.length + ENTRY_OVERHEAD;
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }
}
