/** Which chains of deltas of a pack were walked lately. */

/** Chains that are known. */
const MOST = 16 * 1024;

export class WalkedChains {
  /** Where they end. */
  readonly #ends = new Set<number>();

  /** Whether a chain was walked before that ends at `offset`; now one was. */
  isAgain(offset: number): boolean {
    if (this.#ends.has(offset)) return true;
    if (this.#ends.size === MOST) this.#ends.clear();
    this.#ends.add(offset);
    return false;
  }
}
