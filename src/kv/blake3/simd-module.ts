/**
 * BLAKE3's compression function for four inputs at a time, as a WebAssembly module of vectors (the paper "BLAKE3: one function, fast
 * everywhere", sections 2.2 and 5.3). A vector holds the same word of all four.
 *
 *     hash(fours, input, output, blocks, counter, step, counterHigh, flags, first, last)
 *
 * takes `blocks` blocks of 64 bytes from each of the inputs that begin at `input`, one behind the other, four times `fours` of them, and writes
 * their chaining values of 32 bytes at `output`. Input n has the counter `counter` + n * `step`. `flags` are those of all blocks, `first` and
 * `last` those that the first and the last have besides.
 *
 * The module is written here, being one round's steps out of a table. Rounds are a loop: written out seven times, the function is so
 * large that the runtime takes seconds to compile it well.
 */

import { BLOCK_BYTES, IV, MIXED, PERMUTATION, ROUNDS } from "./compress.ts";
import { unsigned, WasmCode } from "./wasm-code.ts";

export interface Blake3Module {
  readonly memory: { readonly buffer: ArrayBuffer };
  hash(
    fours: number,
    input: number,
    output: number,
    blocks: number,
    counter: number,
    step: number,
    counterHigh: number,
    flags: number,
    first: number,
    last: number,
  ): void;
}

/** Parameters by their number. */
const FOURS = 0;
const INPUT = 1;
const OUTPUT = 2;
const BLOCKS = 3;
const COUNTER = 4;
const STEP = 5;
const COUNTER_HIGH = 6;
const FLAGS = 7;
const FIRST = 8;
const LAST = 9;
const PARAMETERS = 10;
/** Numbers: bytes of an input, the blocks and rounds that are left, the flags of a block. */
const STRIDE = PARAMETERS;
const LEFT = PARAMETERS + 1;
const ROUND = PARAMETERS + 2;
const BLOCK_FLAGS = PARAMETERS + 3;
const NUMBERS = 4;
/** Vectors: chaining values, state, message, counters, and some to work with. */
const CHAIN = PARAMETERS + NUMBERS;
const STATE = CHAIN + 8;
const MESSAGE = STATE + 16;
const COUNTERS = MESSAGE + 16;
const WORK = COUNTERS + 1;
const VECTORS = WORK + 4 - CHAIN;

const I32 = 0x7f;
const V128 = 0x7b;
const WORDS_OF_CHAIN = [0, 1, 2, 3, 4, 5, 6, 7];
const LANES = [0, 1, 2, 3];

/** One step of a round, with two words of the message. */
function mix(code: WasmCode, [a, b, c, d]: readonly number[], x: number, y: number): void {
  const half = (word: number, turnD: number, turnB: number): void => {
    code
      .get(STATE + a!)
      .get(STATE + b!)
      .add()
      .get(word)
      .add()
      .set(STATE + a!);
    code
      .get(STATE + d!)
      .get(STATE + a!)
      .xor()
      .set(STATE + d!)
      .turn(STATE + d!, turnD);
    code
      .get(STATE + c!)
      .get(STATE + d!)
      .add()
      .set(STATE + c!);
    code
      .get(STATE + b!)
      .get(STATE + c!)
      .xor()
      .set(STATE + b!)
      .turn(STATE + b!, turnB);
  };
  half(x, 16, 12);
  half(y, 8, 7);
}

function rounds(code: WasmCode): void {
  code.int(ROUNDS).set(ROUND);
  code.loop(() => {
    for (const [step, mixed] of MIXED.entries()) mix(code, mixed, MESSAGE + step * 2, MESSAGE + step * 2 + 1);
    for (const word of PERMUTATION) code.get(MESSAGE + word);
    for (let word = PERMUTATION.length - 1; word >= 0; word--) code.set(MESSAGE + word);
    code.get(ROUND).int(-1).addInt().tee(ROUND);
  });
}

/** Makes columns of the words of four vectors: vector n then has the n-th word of each. */
function transpose(code: WasmCode, from: number): void {
  const [low, high] = [
    [0, 4, 1, 5],
    [2, 6, 3, 7],
  ] as const;
  for (const pair of [0, 1]) {
    for (const [n, words] of [low, high].entries()) {
      code
        .get(from + pair * 2)
        .get(from + pair * 2 + 1)
        .pick(words)
        .set(WORK + pair * 2 + n);
    }
  }
  for (const half of [0, 1]) {
    code
      .get(WORK + half)
      .get(WORK + half + 2)
      .pick([0, 1, 4, 5])
      .set(from + half * 2);
    code
      .get(WORK + half)
      .get(WORK + half + 2)
      .pick([2, 3, 6, 7])
      .set(from + half * 2 + 1);
  }
}

/** Reads a block of each input. */
function readMessage(code: WasmCode): void {
  for (const group of LANES) {
    for (const lane of LANES) {
      code
        .get(INPUT)
        .get(STRIDE)
        .int(lane)
        .multiplyInt()
        .addInt()
        .load(group * 16);
      code.set(MESSAGE + group * 4 + lane);
    }
    transpose(code, MESSAGE + group * 4);
  }
}

function beginState(code: WasmCode): void {
  for (const word of WORDS_OF_CHAIN) code.get(CHAIN + word).set(STATE + word);
  for (const word of LANES)
    code
      .int(IV[word]!)
      .splat()
      .set(STATE + 8 + word);
  code.get(COUNTERS).set(STATE + 12);
  code
    .get(COUNTER_HIGH)
    .splat()
    .set(STATE + 13);
  code
    .int(BLOCK_BYTES)
    .splat()
    .set(STATE + 14);
  code
    .get(BLOCK_FLAGS)
    .splat()
    .set(STATE + 15);
}

/** Hashes four inputs, from the first block to the last. */
function hashFour(code: WasmCode): void {
  for (const word of WORDS_OF_CHAIN)
    code
      .int(IV[word]!)
      .splat()
      .set(CHAIN + word);
  code.get(COUNTER).splat().constant(LANES).get(STEP).splat().multiply().add().set(COUNTERS);
  code.get(FLAGS).get(FIRST).orInt().set(BLOCK_FLAGS);
  code.get(BLOCKS).set(LEFT);
  code.loop(() => {
    code.get(LEFT).ifIs(1, () => code.get(BLOCK_FLAGS).get(LAST).orInt().set(BLOCK_FLAGS));
    readMessage(code);
    beginState(code);
    rounds(code);
    for (const word of WORDS_OF_CHAIN) {
      code
        .get(STATE + word)
        .get(STATE + 8 + word)
        .xor()
        .set(CHAIN + word);
    }
    code.get(FLAGS).set(BLOCK_FLAGS);
    code.get(INPUT).int(BLOCK_BYTES).addInt().set(INPUT);
    code.get(LEFT).int(-1).addInt().tee(LEFT);
  });
  for (const half of [0, 1]) {
    transpose(code, CHAIN + half * 4);
    for (const lane of LANES) {
      code
        .get(OUTPUT)
        .get(CHAIN + half * 4 + lane)
        .store(lane * 32 + half * 16);
    }
  }
}

function hash(): WasmCode {
  const code = new WasmCode();
  code.get(BLOCKS).int(BLOCK_BYTES).multiplyInt().set(STRIDE);
  code.loop(() => {
    hashFour(code);
    // The first of the four is behind us, three are to be skipped.
    code.get(INPUT).get(STRIDE).int(3).multiplyInt().addInt().set(INPUT);
    code.get(OUTPUT).int(128).addInt().set(OUTPUT);
    code.get(COUNTER).get(STEP).int(4).multiplyInt().addInt().set(COUNTER);
    code.get(FOURS).int(-1).addInt().tee(FOURS);
  });
  return code.end();
}

/**
 * The module in Base64, with a memory of `pages` pages of 64 KiB. Called while the program is built: to write the module takes as long as
 * hashing 4 MiB.
 */
export function simdModuleText(pages: number): string {
  return Buffer.from(simdModule(pages)).toString("base64");
}

/** The module's bytes, with a memory of `pages` pages of 64 KiB. */
export function simdModule(pages: number): Uint8Array<ArrayBuffer> {
  const sized = (bytes: readonly number[]): number[] => [...unsigned(bytes.length), ...bytes];
  const section = (id: number, items: readonly (readonly number[])[]): number[] => {
    return [id, ...sized([...unsigned(items.length), ...items.flat()])];
  };
  const name = (text: string): number[] => sized([...Buffer.from(text)]);
  const locals = [2, NUMBERS, I32, ...unsigned(VECTORS), V128];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [[0x60, PARAMETERS, ...Array<number>(PARAMETERS).fill(I32), 0]]),
    ...section(3, [[0]]),
    ...section(5, [[0, ...unsigned(pages)]]),
    ...section(7, [
      [...name("memory"), 2, 0],
      [...name("hash"), 0, 0],
    ]),
    ...section(10, [sized([...locals, ...hash().bytes])]),
  ]);
}
