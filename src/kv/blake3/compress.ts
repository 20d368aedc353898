/** BLAKE3's compression function for one block (the paper "BLAKE3: one function, fast everywhere", section 2.2), and its constants. */

/** The initial chaining value: of the fractions of the square roots of the first eight primes. */
export const IV: readonly number[] = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];
/** How the words of a block are permuted from one round to the next. */
export const PERMUTATION: readonly number[] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
export const ROUNDS = 7;
/** The words of the state that each of a round's eight steps mixes: columns, then diagonals. */
export const MIXED: readonly (readonly [number, number, number, number])[] = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
];
export const FLAG = { chunkStart: 1, chunkEnd: 2, parent: 4, root: 8 } as const;
export const BLOCK_BYTES = 64;
export const CHUNK_BYTES = 1_024;
const HIGH = 2 ** 32;

/** All that goes into one compression. */
export interface Compression {
  /** Eight words. */
  readonly chain: ArrayLike<number>;
  /** Sixteen words. */
  readonly block: ArrayLike<number>;
  readonly counter: number;
  /** Bytes of the block that are the input's. */
  readonly length: number;
  readonly flags: number;
}

const turned = (word: number, bits: number): number => (word >>> bits) | (word << (32 - bits));

/** The new chaining value: eight words. */
export function compress({ chain, block, counter, length, flags }: Compression): Uint32Array {
  const v = new Uint32Array(16);
  v.set(chain);
  v.set(IV.slice(0, 4), 8);
  v[12] = counter % HIGH;
  v[13] = Math.floor(counter / HIGH);
  v[14] = length;
  v[15] = flags;
  const mix = ([a, b, c, d]: readonly [number, number, number, number], x: number, y: number): void => {
    v[a] = v[a]! + v[b]! + x;
    v[d] = turned(v[d]! ^ v[a]!, 16);
    v[c] = v[c]! + v[d]!;
    v[b] = turned(v[b]! ^ v[c]!, 12);
    v[a] = v[a]! + v[b]! + y;
    v[d] = turned(v[d]! ^ v[a]!, 8);
    v[c] = v[c]! + v[d]!;
    v[b] = turned(v[b]! ^ v[c]!, 7);
  };
  let words = Array.from(block);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [step, mixed] of MIXED.entries()) mix(mixed, words[step * 2]!, words[step * 2 + 1]!);
    words = PERMUTATION.map((word) => words[word]!);
  }
  return Uint32Array.from({ length: 8 }, (_, word) => v[word]! ^ v[word + 8]!);
}
