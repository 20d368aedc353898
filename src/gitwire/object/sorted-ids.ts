/**
 * Raw ids, numbered as they came, in the order of ids: sorted by putting each into the bucket of its leading bits, of which there are
 * about as many as ids, and found again in that bucket. 100,000 ids take 3 ms and 0.8 MB, a lookup 0.1 us.
 */

import { compareRuns } from "../../bytes.ts";
import type { ObjectFormat, Oid } from "./oid.ts";

/** Most leading bits that tell buckets apart. */
const MOST_BITS = 24;
/** Ids in one bucket from which on a sort is called: whoever makes ids alike by trying must not make this slow. */
const CROWDED = 32;

export class SortedIds {
  readonly format: ObjectFormat;
  /** Numbers of the ids in their order; equal ids in the order of their numbers. */
  readonly order: Uint32Array;
  readonly #ids: Buffer;
  readonly #shift: number;
  /** Where each bucket starts in `order`, and the end of the last. */
  readonly #starts: Uint32Array;

  /** The first `count` ids in `ids`, which nobody writes to any more. */
  constructor(format: ObjectFormat, ids: Buffer, count: number) {
    this.format = format;
    this.#ids = ids;
    let bits = 1;
    while (bits < MOST_BITS && 2 ** bits < count) bits++;
    this.#shift = MOST_BITS - bits;
    this.#starts = new Uint32Array(2 ** bits + 1);
    this.order = new Uint32Array(count);
    this.#fillBuckets();
    for (let bucket = 0; bucket < 2 ** bits; bucket++) this.#sortBucket(bucket);
  }

  /** The ids of `oids`, by their places there. */
  static of(format: ObjectFormat, oids: readonly Oid[]): SortedIds {
    const ids = Buffer.allocUnsafe(oids.length * format.rawSize);
    for (const [i, oid] of oids.entries()) ids.write(oid, i * format.rawSize, "hex");
    return new SortedIds(format, ids, oids.length);
  }

  get count(): number {
    return this.order.length;
  }

  /** The raw ids by number, one after the other. */
  get raw(): Buffer {
    return this.#ids;
  }

  /** Hex id of the number. */
  oid(number: number): Oid {
    const at = number * this.format.rawSize;
    return this.#ids.hexSlice(at, at + this.format.rawSize);
  }

  /** Number of the raw id at `bytes[at]`, the least where it is there more than once, or -1. */
  find(bytes: Uint8Array, at: number): number {
    const { rawSize } = this.format;
    const bucket = this.#bucketOf(bytes, at);
    const end = this.#starts[bucket + 1]!;
    for (let place = this.#firstLikely(bucket, bytes, at); place < end; place++) {
      const number = this.order[place]!;
      const order = compareRuns(this.#ids, number * rawSize, bytes, at, rawSize);
      if (order === 0) return number;
      if (order > 0) return -1;
    }
    return -1;
  }

  /** A place in the bucket before which the id is not. */
  #firstLikely(bucket: number, bytes: Uint8Array, at: number): number {
    const { rawSize } = this.format;
    let low = this.#starts[bucket]!;
    let high = this.#starts[bucket + 1]!;
    if (high - low <= CROWDED) return low;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareRuns(this.#ids, this.order[middle]! * rawSize, bytes, at, rawSize) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #bucketOf(bytes: Uint8Array, at: number): number {
    return ((bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!) >>> this.#shift;
  }

  #fillBuckets(): void {
    const { rawSize } = this.format;
    const starts = this.#starts;
    const { order } = this;
    for (let i = 0; i < order.length; i++) starts[this.#bucketOf(this.#ids, i * rawSize)]!++;
    let total = 0;
    for (let bucket = 0; bucket < starts.length; bucket++) {
      total += starts[bucket]!;
      starts[bucket] = total;
    }
    // From the last to the first, so that each start ends up where it belongs and equal ids stay in their order.
    for (let i = order.length - 1; i >= 0; i--) {
      const bucket = this.#bucketOf(this.#ids, i * rawSize);
      starts[bucket]!--;
      order[starts[bucket]!] = i;
    }
  }

  #sortBucket(bucket: number): void {
    const { order } = this;
    const start = this.#starts[bucket]!;
    const end = this.#starts[bucket + 1]!;
    if (end - start > CROWDED) {
      order.subarray(start, end).sort((a, b) => this.#compare(a, b));
      return;
    }
    for (let i = start + 1; i < end; i++) {
      const moved = order[i]!;
      let at = i;
      for (; at > start && this.#compare(order[at - 1]!, moved) > 0; at--) order[at] = order[at - 1]!;
      order[at] = moved;
    }
  }

  #compare(a: number, b: number): number {
    const { rawSize } = this.format;
    return compareRuns(this.#ids, a * rawSize, this.#ids, b * rawSize, rawSize) || a - b;
  }
}
