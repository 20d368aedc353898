/** Writes the code of a WebAssembly function that computes with vectors of four words, instruction by instruction (WebAssembly 2.0, section 5.4). */

const LAST_BYTE = 0x7f;

/** Unsigned LEB128. */
export function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > LAST_BYTE; rest >>>= 7) bytes.push((rest & LAST_BYTE) | 0x80);
  bytes.push(rest);
  return bytes;
}

/** Words of two vectors, by their numbers, as the bytes a shuffle is given. */
function bytesOf(numbers: readonly number[]): number[] {
  return numbers.flatMap((n) => [n * 4, n * 4 + 1, n * 4 + 2, n * 4 + 3]);
}

export class WasmCode {
  readonly bytes: number[] = [];

  get(local: number): this {
    return this.#op(0x20, local);
  }

  set(local: number): this {
    return this.#op(0x21, local);
  }

  /** As {@link set}; the value stays. */
  tee(local: number): this {
    return this.#op(0x22, local);
  }

  /** A number of at most 32 bits. */
  int(value: number): this {
    this.bytes.push(0x41);
    let rest = value | 0;
    for (; rest < -0x40 || rest > 0x3f; rest >>= 7) this.bytes.push((rest & LAST_BYTE) | 0x80);
    this.bytes.push(rest & LAST_BYTE);
    return this;
  }

  addInt(): this {
    return this.#raw(0x6a);
  }

  multiplyInt(): this {
    return this.#raw(0x6c);
  }

  orInt(): this {
    return this.#raw(0x72);
  }

  /** Runs `body` until it leaves 0. */
  loop(body: (code: this) => void): this {
    this.#raw(0x03, 0x40);
    body(this);
    return this.#raw(0x0d, 0, 0x0b);
  }

  /** Runs `body` where the number before equals `value`. */
  ifIs(value: number, body: (code: this) => void): this {
    this.int(value).#raw(0x46, 0x04, 0x40);
    body(this);
    return this.#raw(0x0b);
  }

  load(offset: number): this {
    return this.#simd(0x00).#op(0, offset);
  }

  store(offset: number): this {
    return this.#simd(0x0b).#op(0, offset);
  }

  constant(words: readonly number[]): this {
    return this.#simd(0x0c).#raw(...new Uint8Array(Uint32Array.from(words).buffer));
  }

  splat(): this {
    return this.#simd(0x11);
  }

  add(): this {
    return this.#simd(0xae);
  }

  multiply(): this {
    return this.#simd(0xb5);
  }

  xor(): this {
    return this.#simd(0x51);
  }

  /**
   * Turns every word of `local` right by `bits`. Shifts are dear: the runtime moves the count of each into a vector anew. Whole bytes are looked
   * up, and one bit less than that is a turn to the left by one, a sum with itself and its sign.
   */
  turn(local: number, bits: number): this {
    const bytes = Math.round(bits / 8);
    if (bits === bytes * 8) return this.#turnBytes(local, bytes);
    if (bits === bytes * 8 - 1) {
      this.#turnBytes(local, bytes).get(local).get(local).add();
      // Where the highest bit is set, zero is greater: -1.
      return this.constant([0, 0, 0, 0]).get(local).#simd(0x3b).#simd(0xb1).set(local);
    }
    this.get(local).int(bits).#simd(0xad);
    return this.get(local)
      .int(32 - bits)
      .#simd(0xab)
      .#simd(0x50)
      .set(local);
  }

  #turnBytes(local: number, bytes: number): this {
    const order = Array.from({ length: 16 }, (_, at) => (at & ~3) | ((at + bytes) & 3));
    return this.get(local)
      .#simd(0x0c)
      .#raw(...order)
      .#simd(0x0e)
      .set(local);
  }

  /** Words of two vectors, by their numbers from 0 to 7. */
  pick(numbers: readonly number[]): this {
    return this.#simd(0x0d).#raw(...bytesOf(numbers));
  }

  end(): this {
    return this.#raw(0x0b);
  }

  #op(code: number, argument: number): this {
    this.bytes.push(code, ...unsigned(argument));
    return this;
  }

  #simd(code: number): this {
    return this.#op(0xfd, code);
  }

  #raw(...bytes: number[]): this {
    this.bytes.push(...bytes);
    return this;
  }
}
