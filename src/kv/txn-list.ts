/** The KV-Txns of a ledger, 16 bytes each, to find those that come twice. */

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A ULID as two halves of 64 bits: 13 digits of 5 bits each, the first of which is below 8. */
function halves(txn: string): [bigint, bigint] {
  let value = 0n;
  for (const digit of txn) value = (value << 5n) | BigInt(ALPHABET.indexOf(digit));
  return [value >> 64n, value & 0xffff_ffff_ffff_ffffn];
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
