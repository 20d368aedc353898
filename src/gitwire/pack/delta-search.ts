/**
 * Finds a delta between any two objects: the base is indexed in blocks of 16 bytes, the target is scanned for them and each
 * hit is grown both ways (the idea of git's diff-delta.c). Trees that we edit ourselves do not need it: their deltas are
 * written straight from the edit.
 */

import { DeltaBuilder } from "./delta.ts";

const BLOCK = 16;
/** Candidates tried for one block of the target; keeps repetitive data from costing the square of its size. */
const CHAIN_MAX = 16;
/** A match this long ends the search among the candidates. */
const GOOD_ENOUGH = 4_096;

/** A delta that makes `target` of `base`, or undefined where it would not be smaller than `target` itself. */
export function createDelta(base: Buffer, target: Buffer): Buffer | undefined {
  if (base.length < BLOCK || target.length < BLOCK) return undefined;
  const index = indexBlocks(base);
  const builder = new DeltaBuilder();
  let literal = 0; // where the bytes start that nothing covers yet
  let at = 0;
  while (at + BLOCK <= target.length) {
    const match = longestMatch(index, base, target, at, literal);
    if (match === undefined) {
      at++;
      continue;
    }
    builder.insert(target, literal, match.targetStart);
    builder.copy(match.baseStart, match.size);
    at = match.targetStart + match.size;
    literal = at;
    if (builder.length >= target.length) return undefined;
  }
  builder.insert(target, literal, target.length);
  const delta = builder.finish(base.length, target.length);
  return delta.length < target.length ? delta : undefined;
}

/** Blocks of the base by hash: `heads` by bucket, `next` by block number, both holding block numbers or -1. */
interface BlockIndex {
  readonly heads: Int32Array;
  readonly next: Int32Array;
}

function indexBlocks(base: Buffer): BlockIndex {
  const blocks = Math.floor(base.length / BLOCK);
  let buckets = 256;
  while (buckets < blocks) buckets *= 2;
  const heads = new Int32Array(buckets).fill(-1);
  const next = new Int32Array(blocks);
  // From the last block to the first, so that chains start with the lowest offset, the cheapest to write.
  for (let block = blocks - 1; block >= 0; block--) {
    const bucket = blockHash(base, block * BLOCK) & (buckets - 1);
    next[block] = heads[bucket]!;
    heads[bucket] = block;
  }
  return { heads, next };
}

function blockHash(bytes: Buffer, at: number): number {
  let hash = Math.imul(bytes.readInt32LE(at), 0x9e37_79b1);
  hash = Math.imul(hash ^ bytes.readInt32LE(at + 4), 0x85eb_ca77);
  hash = Math.imul(hash ^ bytes.readInt32LE(at + 8), 0xc2b2_ae3d);
  hash = Math.imul(hash ^ bytes.readInt32LE(at + 12), 0x27d4_eb2f);
  return hash ^ (hash >>> 15);
}

interface Match {
  readonly baseStart: number;
  readonly targetStart: number;
  readonly size: number;
}

/** The longest piece of the base around `target[at]`; it may reach back to `floor`. */
function longestMatch(index: BlockIndex, base: Buffer, target: Buffer, at: number, floor: number): Match | undefined {
  let best: Match | undefined;
  let tries = CHAIN_MAX;
  let block = index.heads[blockHash(target, at) & (index.heads.length - 1)]!;
  for (; block >= 0 && tries > 0; block = index.next[block]!, tries--) {
    const from = block * BLOCK;
    if (base.compare(target, at, at + BLOCK, from, from + BLOCK) !== 0) continue;
    let end = BLOCK;
    while (from + end < base.length && at + end < target.length && base[from + end] === target[at + end]) end++;
    let back = 0;
    while (back < at - floor && back < from && base[from - back - 1] === target[at - back - 1]) back++;
    if (best === undefined || end + back > best.size) {
      best = { baseStart: from - back, targetStart: at - back, size: end + back };
    }
    if (end + back >= GOOD_ENOUGH) break;
  }
  return best;
}
