/** The KV-Txns of a ledger, 16 bytes each, to find those that come twice. */

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** Value of each digit by its character code. */
const VALUES = new Uint8Array(128);
for (const [value, digit] of [...ALPHABET].entries()) VALUES[digit.charCodeAt(0)] = value;

/** Digits of 5 bits each that a number holds exactly. */
const EXACT = 10;

/** The number that the digits from `from` up to `to` are. */
function numberOf(txn: string, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) value = value * 32 + VALUES[txn.charCodeAt(at)]!;
  return value;
}

/** The number that the 13 digits from `from` on are: 65 bits. */
function thirteen(txn: string, from: number): bigint {
  const [upper, lower] = [numberOf(txn, from, from + EXACT), numberOf(txn, from + EXACT, from + 13)];
  return (BigInt(upper) << 15n) | BigInt(lower);
}

/** A ULID as two halves of 64 bits: 26 digits of 5 bits each, the first of which is below 8. */
function halves(txn: string): [bigint, bigint] {
  const [upper, lower] = [thirteen(txn, 0), thirteen(txn, 13)];
  return [(upper << 1n) | (lower >> 64n), lower & 0xffff_ffff_ffff_ffffn];
}

export class TxnList {
  #halves = new BigUint64Array(2_048);
  #length = 0;

  /** Adds the next transaction's (a valid ULID). */
  push(txn: string): void {
    if (2 * this.#length === this.#halves.length) {
      const grown = new BigUint64Array(2 * this.#halves.length);
      grown.set(this.#halves);
      this.#halves = grown;
    }
    const [high, low] = halves(txn);
    this.#halves[2 * this.#length] = high;
    this.#halves[2 * this.#length + 1] = low;
    this.#length++;
  }

  /** Positions whose KV-Txn came before, with the position it came at first. */
  *repeated(): Generator<{ readonly at: number; readonly first: number }> {
    const all = this.#halves;
    const order = Uint32Array.from({ length: this.#length }, (_, i) => i).sort((a, b) => {
      const [x, y] = all[2 * a] === all[2 * b] ? [all[2 * a + 1]!, all[2 * b + 1]!] : [all[2 * a]!, all[2 * b]!];
      return x < y ? -1 : x > y ? 1 : a - b;
    });
    let first = 0;
    for (let i = 1; i < order.length; i++) {
      const [before, at] = [order[first]!, order[i]!];
      if (all[2 * at] !== all[2 * before] || all[2 * at + 1] !== all[2 * before + 1]) first = i;
      else yield { at, first: before };
    }
  }
}
