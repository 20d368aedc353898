/**
 * Objects kept in memory for reuse, bounded by the bytes of their data: those that were not used for longest are dropped, or the first
 * stay.
 *
 * Two generations stand for the order of use: what is used goes to the young one, and where that holds half of the budget it
 * becomes the old one, whose rest is dropped. An exact order, by deleting and inserting again in one Map, cost a fifth of an audit: the
 * runtime's Map keeps a hole for every deletion until it grows, and whoever asks for its first entry steps over all of them.
 */

import type { GitObject } from "../object/object.ts";

/** What an entry costs besides its data: key, object and map slot. */
const ENTRY_OVERHEAD = 256;

export class ObjectCache {
  readonly #budget: number;
  readonly #firstStay: boolean;
  #young = new Map<string, GitObject>();
  #old = new Map<string, GitObject>();
  #youngBytes = 0;
  #oldBytes = 0;

  /**
   * `budget`: most bytes held; what was used within the last half of it is there. Objects above a quarter of it are not kept.
   * `firstStay`: once full, nothing is dropped and nothing more taken, for work that walks over all objects more than once:
   * dropping the oldest, it would find none of them again.
   */
  constructor(budget: number, { firstStay = false } = {}) {
    this.#budget = budget;
    this.#firstStay = firstStay;
  }

  /** Bytes held, an entry's {@link ENTRY_OVERHEAD} included; an object in both generations counts twice. */
  get bytes(): number {
    return this.#youngBytes + this.#oldBytes;
  }

  get(key: string): GitObject | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.#add(key, old);
    return old;
  }

  set(key: string, object: GitObject): void {
    if (!this.hasRoom(bytesOf(object)) || this.#young.has(key)) return;
    this.#add(key, object);
  }

  /** Whether an object of `size` bytes would be kept. */
  hasRoom(size: number): boolean {
    const cost = size + ENTRY_OVERHEAD;
    return cost <= this.#budget / 4 && !(this.#firstStay && this.#youngBytes + cost > this.#budget);
  }

  /** Drops what was not used since the last call; called at intervals it keeps what is in use and gives back the rest. */
  age(): void {
    this.#old = this.#young;
    this.#oldBytes = this.#youngBytes;
    this.#young = new Map();
    this.#youngBytes = 0;
  }

  clear(): void {
    this.#young = new Map();
    this.#old = new Map();
    this.#youngBytes = 0;
    this.#oldBytes = 0;
  }

  #add(key: string, object: GitObject): void {
    const cost = bytesOf(object) + ENTRY_OVERHEAD;
    if (!this.#firstStay && this.#youngBytes + cost > this.#budget / 2) this.age();
    this.#young.set(key, object);
    this.#youngBytes += cost;
  }
}

const bytesOf = ({ data, change }: GitObject): number =>
  change === undefined ? data.length : data.length + change.before.length + change.after.length + ENTRY_OVERHEAD;
