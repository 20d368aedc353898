/**
 * Finds a delta between any two objects (the idea of git's diff-delta.c): the base is indexed by a hash of every 16th window of 16
 * bytes, a hash rolls over the target, and each hit is grown both ways as far as bytes are equal. Trees that we edit ourselves do
 * not need it: their deltas are written straight from the edit.
 *
 * Time is bounded whatever the bytes are: a step of the hash for each byte of both, and a few looks at the base for each byte of
 * the target. Memory is at most 18 bytes for every 16 of the base.
 */

import { DeltaBuilder } from "./delta.ts";

const WINDOW = 16;
/** Bits the hash moves on with each byte: after 16 bytes the oldest has left. */
const STEP = 2;
/** Candidates tried for one window of the target; keeps repetitive data from costing the square of its size. */
const CHAIN_MAX = 16;
/** A match this long ends the search among the candidates. */
const GOOD_ENOUGH = 4_096;
/** Bits of the filter for each bucket, as a power of two. */
const FILTER_BITS = 3;
/** Parts of a target that are looked at, to see whether it is worth it. */
const SAMPLES = 8;
const SAMPLE_BYTES = 1_024;
/** How far bytes are compared one by one, and how far at once where that is not the end. */
const NEAR = 64;
const FAR = 8_192;

/** What bytes add to the hash: any numbers without a pattern do. */
const GEAR = Int32Array.from({ length: 256 }, (_, byte) => {
  const mixed = Math.imul(byte + 1, 0x9e37_79b1);
  return Math.imul(mixed ^ (mixed >>> 15), 0x85eb_ca77) ^ (mixed >>> 13);
});

/** Something to make deltas of. It may be used for many; what is looked up is built once, when it is needed. */
export class DeltaBase {
  readonly bytes: Buffer;
  #index: WindowIndex | undefined;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get index(): WindowIndex {
    this.#index ??= indexWindows(this.bytes);
    return this.#index;
  }

  /**
   * Whether some of `target` is in here too, by samples: where that is no, a search would most likely find nothing, and take ten
   * times as long. What has an eighth of its bytes in a row from here is found for sure.
   */
  resembles(target: Buffer): boolean {
    const last = target.length - SAMPLE_BYTES;
    if (last <= 0) return nextMatch(this, target, 0, target.length) !== undefined;
    for (let sample = 0; sample <= SAMPLES; sample++) {
      const start = Math.floor((last * sample) / SAMPLES);
      if (nextMatch(this, target.subarray(start, start + SAMPLE_BYTES), 0, SAMPLE_BYTES) !== undefined) return true;
    }
    return false;
  }
}

export interface DeltaSearch {
  /** Largest delta wanted; by default it is smaller than the target. */
  readonly limit?: number;
  /** Where in the base the target's first bytes may well be. */
  readonly hint?: number;
}

/** A delta that makes `target` of `base`, or undefined where it would be larger than the limit. */
export function createDelta(base: Buffer | DeltaBase, target: Buffer, search: DeltaSearch = {}): Buffer | undefined {
  const source = base instanceof DeltaBase ? base : new DeltaBase(base);
  const { hint = 0 } = search;
  const limit = Math.min(search.limit ?? target.length, target.length - 1);
  if (source.bytes.length < WINDOW || target.length < WINDOW) return undefined;
  const builder = new DeltaBuilder();
  let literal = 0; // where the bytes start that nothing covers yet
  const start = equalBytes(source.bytes, Math.min(hint, source.bytes.length), target, 0);
  if (start >= WINDOW) {
    builder.copy(hint, start);
    literal = start;
  }
  while (literal + WINDOW <= target.length) {
    const match = nextMatch(source, target, literal, literal + limit - builder.length);
    if (match === undefined) break;
    builder.insert(target, literal, match.targetStart);
    builder.copy(match.baseStart, match.size);
    literal = match.targetStart + match.size;
    if (builder.length > limit) return undefined;
  }
  if (builder.length + target.length - literal > limit) return undefined;
  builder.insert(target, literal, target.length);
  const delta = builder.finish(source.bytes.length, target.length);
  return delta.length <= limit ? delta : undefined;
}

/**
 * Windows of the base by hash: `heads` by the hash's high bits, `next` by number, both holding numbers or -1; `hashes` by number. The
 * filter has one bit for what more bits of the hash say: it is small enough for the processor to have at hand, and most windows
 * of the target are done with there.
 */
interface WindowIndex {
  readonly heads: Int32Array;
  readonly next: Int32Array;
  readonly hashes: Int32Array;
  readonly headShift: number;
  readonly filter: Int32Array;
  readonly filterShift: number;
}

function indexWindows(base: Buffer): WindowIndex {
  const count = Math.floor(base.length / WINDOW);
  const bits = Math.max(6, 32 - Math.clz32(count)); // one to two buckets for each
  const headShift = 32 - bits;
  const filterShift = headShift - FILTER_BITS;
  const heads = new Int32Array(2 ** bits).fill(-1);
  const filter = new Int32Array(2 ** (bits + FILTER_BITS - 5));
  const next = new Int32Array(count);
  const hashes = new Int32Array(count);
  for (let number = 0, at = 0; number < count; number++) {
    let hash = 0;
    for (const end = at + WINDOW; at < end; at++) hash = ((hash << STEP) + GEAR[base[at]!]!) | 0;
    hashes[number] = hash;
    const bit = hash >>> filterShift;
    filter[bit >>> 5]! |= 1 << (bit & 31);
  }
  // From the last to the first, so that chains start with the lowest offset, the cheapest to write.
  for (let number = count - 1; number >= 0; number--) {
    const bucket = hashes[number]! >>> headShift;
    next[number] = heads[bucket]!;
    heads[bucket] = number;
  }
  return { heads, next, hashes, headShift, filter, filterShift };
}

interface Match {
  readonly baseStart: number;
  readonly targetStart: number;
  readonly size: number;
}

/** The first match in the target from `floor` on, where it begins before `end`. */
function nextMatch(source: DeltaBase, target: Buffer, floor: number, end: number): Match | undefined {
  const { heads, next, hashes, headShift, filter, filterShift } = source.index;
  let hash = 0;
  let at = floor;
  for (const full = floor + WINDOW - 1; at < full; at++) hash = ((hash << STEP) + GEAR[target[at]!]!) | 0;
  const stop = Math.min(target.length, end + WINDOW);
  for (; at < stop; at++) {
    hash = ((hash << STEP) + GEAR[target[at]!]!) | 0;
    const bit = hash >>> filterShift;
    if (((filter[bit >>> 5]! >>> (bit & 31)) & 1) === 0) continue;
    let number = heads[hash >>> headShift]!;
    for (let tries = CHAIN_MAX; number >= 0 && hashes[number] !== hash; number = next[number]!) {
      if (--tries === 0) break;
    }
    if (number < 0 || hashes[number] !== hash) continue;
    const match = longestMatch(source, number, target, at - WINDOW + 1, floor);
    if (match !== undefined) return match;
  }
  return undefined;
}

/** The longest piece of the base around `target[at]`, of the candidates from `first` on; it may reach back to `floor`. */
function longestMatch(source: DeltaBase, first: number, target: Buffer, at: number, floor: number): Match | undefined {
  const { bytes: base, index } = source;
  const hash = index.hashes[first];
  let best: Match | undefined;
  let tries = CHAIN_MAX;
  for (let number = first; number >= 0 && tries > 0; number = index.next[number]!, tries--) {
    if (index.hashes[number] !== hash) continue;
    const from = number * WINDOW;
    const ahead = equalBytes(base, from, target, at);
    if (ahead < WINDOW) continue;
    let back = 0;
    while (back < at - floor && back < from && base[from - back - 1] === target[at - back - 1]) back++;
    if (best === undefined || ahead + back > best.size) {
      best = { baseStart: from - back, targetStart: at - back, size: ahead + back };
    }
    if (ahead + back >= GOOD_ENOUGH) break;
  }
  return best;
}

/** How many bytes of `base` from `from` on equal those of `target` from `at` on. */
function equalBytes(base: Buffer, from: number, target: Buffer, at: number): number {
  const most = Math.min(base.length - from, target.length - at);
  let size = 0;
  for (const near = Math.min(most, NEAR); size < near; size++) {
    if (base[from + size] !== target[at + size]) return size;
  }
  // Many at once, by the processor's own means.
  while (size + FAR <= most) {
    if (base.compare(target, at + size, at + size + FAR, from + size, from + size + FAR) !== 0) break;
    size += FAR;
  }
  while (size < most && base[from + size] === target[at + size]) size++;
  return size;
}
