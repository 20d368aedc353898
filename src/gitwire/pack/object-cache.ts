/**
 * Objects kept in memory for reuse, bounded by the bytes of their data: those that were not used for longest are dropped.
 *
 * Two generations stand for the order of use: what is used goes to the young one, and where that holds half of the budget it
 * becomes the old one, whose rest is dropped. An exact order, by deleting and inserting again in one Map, cost a fifth of an audit: the
 * runtime's Map keeps a hole for every deletion until it grows, and whoever asks for its first entry steps over all of them.
 */

import type { GitObject } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";

/** Objects in memory by id, as many as it has room for. */
export interface ObjectMemory {
  /** Bytes held. */
  readonly bytes: number;
  get(oid: Oid): GitObject | undefined;
  /** Keeps the object, where there is room. */
  set(oid: Oid, object: GitObject): void;
  /** Drops what was not used since the last call, as far as it drops anything. */
  age(): void;
  clear(): void;
}

/** What an entry costs besides its data: key, object and map slot. */
const ENTRY_OVERHEAD = 256;

export class ObjectCache implements ObjectMemory {
  readonly #budget: number;
  #young = new Map<string, GitObject>();
  #old = new Map<string, GitObject>();
  #youngBytes = 0;
  #oldBytes = 0;

  /**
   * `budget`: most bytes held; what was used within the last half of it is there. Objects above a quarter of it are not kept.
   */
  constructor(budget: number) {
    this.#budget = budget;
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
    if (!this.hasRoom(object.data.length) || this.#young.has(key)) return;
    this.#add(key, object);
  }

  /** Whether an object of `size` bytes would be kept. */
  hasRoom(size: number): boolean {
    return size + ENTRY_OVERHEAD <= this.#budget / 4;
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
    const cost = object.data.length + ENTRY_OVERHEAD;
    if (this.#youngBytes + cost > this.#budget / 2) this.age();
    this.#young.set(key, object);
    this.#youngBytes += cost;
  }
}
