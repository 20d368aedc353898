/**
 * Four bytes of each id of a pack: enough to say of nearly every id that is not in it that it is not, in a seventh of the memory that the
 * whole index takes. They are the bytes behind the first, which the fan-out table of the index tells apart.
 */

/** Bytes of ids that are read at once. */
const PIECE_BYTES = 64 * 1024;

export class IdHeads {
  /** By position in the order of ids. */
  readonly #heads: Uint32Array;

  /** `read` puts the ids of `count` positions from `from` on into a buffer, `stride` bytes from one to the next. */
  constructor(count: number, stride: number, read: (from: number, count: number, into: Buffer) => void) {
    this.#heads = new Uint32Array(count);
    const some = Math.floor(PIECE_BYTES / stride);
    const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
    for (let from = 0; from < count; from += some) {
      const end = Math.min(from + some, count);
      read(from, end - from, piece);
      for (let i = from; i < end; i++) this.#heads[i] = piece.readUInt32BE((i - from) * stride + 1);
    }
  }

  /** The first position in `[low, high)`, whose ids all begin with the same byte, with an id that may be the one at `oid[at]`; else `high`. */
  first(oid: Buffer, at: number, low: number, high: number): number {
    const heads = this.#heads;
    const wanted = oid.readUInt32BE(at + 1);
    const end = high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (heads[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    return low < end && heads[low] === wanted ? low : end;
  }

  /** Whether the ids at both positions have the same four bytes. */
  areAlike(position: number, other: number): boolean {
    return this.#heads[position] === this.#heads[other];
  }
}
