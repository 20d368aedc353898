/**
 * The changes of a trie's node: a run in an order that is refined digit by digit, from the root down. The first digits of all of them are
 * one array of numbers, as reading each from its text at each depth waits for memory.
 */

import { KvError } from "../errors.ts";

/** Whatever has a place in a trie: at least as many hex digits as the trie is deep. */
interface Placed {
  readonly digits: string;
}

/** Digits of a number. */
const HEAD_DIGITS = 8;
const HEX_DIGITS = "0123456789abcdef";
const DIGIT_0 = 0x30;
const LETTER_A = 0x61;

export class TrieRun<T extends Placed> {
  readonly #all: readonly T[];
  readonly #heads: Uint32Array;
  readonly #order: Uint32Array;
  readonly #from: number;
  readonly #to: number;

  private constructor(all: readonly T[], heads: Uint32Array, order: Uint32Array, from: number, to: number) {
    this.#all = all;
    this.#heads = heads;
    this.#order = order;
    this.#from = from;
    this.#to = to;
  }

  /** The run of all of `all`, in their order. */
  static of<T extends Placed>(all: readonly T[]): TrieRun<T> {
    const heads = new Uint32Array(all.length);
    const order = new Uint32Array(all.length);
    for (const [i, { digits }] of all.entries()) {
      let head = 0;
      for (let at = 0; at < HEAD_DIGITS; at++) head = head * 16 + digitOf(digits.charCodeAt(at));
      heads[i] = head;
      order[i] = i;
    }
    return new TrieRun(all, heads, order, 0, all.length);
  }

  get length(): number {
    return this.#to - this.#from;
  }

  /** What is made of each, in order. */
  map<U>(make: (one: T) => U): U[] {
    const made: U[] = [];
    for (let i = this.#from; i < this.#to; i++) made.push(make(this.#all[this.#order[i]!]!));
    return made;
  }

  /** Whether there is one of a kind. */
  some(is: (one: T) => boolean): boolean {
    for (let i = this.#from; i < this.#to; i++) if (is(this.#all[this.#order[i]!]!)) return true;
    return false;
  }

  /**
   * The runs of those that have the same digit at `depth`, with that digit, in the order of the digits; each keeps the order it was given in. This one is
   * of no use any more.
   */
  byDigit(depth: number): [digit: string, run: TrieRun<T>][] {
    const run = this.#order.subarray(this.#from, this.#to);
    const digits = new Uint8Array(run.length);
    const ends = new Uint32Array(HEX_DIGITS.length);
    for (let i = 0; i < run.length; i++) {
      digits[i] = this.#digit(run[i]!, depth);
      ends[digits[i]!]!++;
    }
    const groups: [string, TrieRun<T>][] = [];
    let start = 0;
    for (let digit = 0; digit < ends.length; digit++) {
      const end = start + ends[digit]!;
      if (end > start) groups.push([HEX_DIGITS[digit]!, this.#part(start, end)]);
      ends[digit] = start;
      start = end;
    }
    const before = run.slice();
    for (let i = 0; i < before.length; i++) run[ends[digits[i]!]!++] = before[i]!;
    return groups;
  }

  #part(start: number, end: number): TrieRun<T> {
    return new TrieRun(this.#all, this.#heads, this.#order, this.#from + start, this.#from + end);
  }

  #digit(number: number, depth: number): number {
    if (depth < HEAD_DIGITS) return (this.#heads[number]! >>> (4 * (HEAD_DIGITS - 1 - depth))) & 15;
    const code = this.#all[number]!.digits.charCodeAt(depth);
    if (Number.isNaN(code)) throw new KvError("CORRUPT", "more than 256 files share one SHA-256");
    return digitOf(code);
  }
}

/** The value of a lower-case hex digit, given as its ASCII code. */
const digitOf = (code: number): number => (code < LETTER_A ? code - DIGIT_0 : code - LETTER_A + 10);
