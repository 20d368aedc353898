/**
 * A set of object ids that numbers its members in order of arrival: ids are kept raw in one growing buffer, found by open
 * addressing. Three million sha1 ids take 60 MB of ids and 32 MB of slots; a Set of hex strings took over 300 MB.
 */

import { compareRuns } from "../../bytes.ts";
import type { ObjectFormat, Oid } from "./oid.ts";

export class OidTable {
  readonly format: ObjectFormat;
  #ids: Buffer;
  #slots: Int32Array;
  #size = 0;

  constructor(format: ObjectFormat, expected = 64) {
    this.format = format;
    this.#ids = Buffer.allocUnsafe(Math.max(16, expected) * format.rawSize);
    this.#slots = new Int32Array(powerOfTwo(expected * 2)).fill(-1);
  }

  /** Number of ids held. */
  get size(): number {
    return this.#size;
  }

  /** Adds the raw id at `bytes[offset]`; returns its number, and whether it is new as `table.size` growing. */
  addRaw(bytes: Buffer, offset: number): number {
    const slot = this.#find(bytes, offset);
    const found = this.#slots[slot]!;
    if (found >= 0) return found;
    return this.#insert(slot, bytes, offset);
  }

  /** Adds a hex id; returns its number. */
  add(oid: Oid): number {
    SCRATCH.hexWrite(oid, 0);
    return this.addRaw(SCRATCH, 0);
  }

  /** Number of the raw id, or -1. */
  indexOfRaw(bytes: Buffer, offset: number): number {
    return this.#slots[this.#find(bytes, offset)]!;
  }

  /** Number of the hex id, or -1. */
  indexOf(oid: Oid): number {
    SCRATCH.hexWrite(oid, 0);
    return this.indexOfRaw(SCRATCH, 0);
  }

  has(oid: Oid): boolean {
    return this.indexOf(oid) >= 0;
  }

  /** Hex id of member `index` (0 to size - 1). */
  oid(index: number): Oid {
    const at = index * this.format.rawSize;
    return this.#ids.hexSlice(at, at + this.format.rawSize);
  }

  /** Hex ids in order of arrival. */
  *[Symbol.iterator](): Generator<Oid> {
    for (let index = 0; index < this.#size; index++) yield this.oid(index);
  }

  /** The raw ids, one after the other in order of arrival; valid until the next addition. */
  rawIds(): Buffer {
    return this.#ids.subarray(0, this.#size * this.format.rawSize);
  }

  #find(bytes: Buffer, offset: number): number {
    const { rawSize } = this.format;
    const mask = this.#slots.length - 1;
    // Ids are uniform hashes: their first four bytes are hash enough.
    let slot = bytes.readUInt32LE(offset) & mask;
    for (;;) {
      const index = this.#slots[slot]!;
      if (index < 0) return slot;
      const at = index * rawSize;
      if (compareRuns(this.#ids, at, bytes, offset, rawSize) === 0) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #insert(slot: number, bytes: Buffer, offset: number): number {
    const { rawSize } = this.format;
    const index = this.#size++;
    if (this.#size * rawSize > this.#ids.length) {
      const grown = Buffer.allocUnsafe(this.#ids.length * 2);
      this.#ids.copy(grown);
      this.#ids = grown;
    }
    const start = index * rawSize;
    for (let i = 0; i < rawSize; i++) this.#ids[start + i] = bytes[offset + i]!;
    this.#slots[slot] = index;
    if (this.#size * 2 > this.#slots.length) this.#rehash();
    return index;
  }

  #rehash(): void {
    const { rawSize } = this.format;
    this.#slots = new Int32Array(this.#slots.length * 2).fill(-1);
    for (let i = 0; i < this.#size; i++) this.#slots[this.#find(this.#ids, i * rawSize)] = i;
  }
}

const SCRATCH = Buffer.alloc(32);

function powerOfTwo(least: number): number {
  let n = 128;
  while (n < least) n *= 2;
  return n;
}
