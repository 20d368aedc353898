/**
 * The small deltas of an arriving pack, kept inflated between the pass that finds them and the one that applies them: a
 * second read and inflation of each would cost 4 us. What is past the budget is read again.
 */

import { withRoom } from "./grow.ts";

const CHUNK = 256 * 1024;
/** The first chunk is smaller: the deltas of a push of one key have a few hundred bytes. */
const FIRST_CHUNK = 4 * 1024;
/** Larger deltas are not kept: what they save is small beside their own work. */
const LARGEST = 4_096;

export class KeptDeltas {
  readonly #budget: number;
  readonly #chunks: Buffer[] = [];
  /** Bytes taken in the last chunk. */
  #filled = 0;
  /** By number of the delta: its length plus one, 0 where it is not kept, and where it is. */
  #lengths = new Uint32Array(64);
  #places = new Uint32Array(64);

  /** `budget`: most bytes held, at most 4 GiB. */
  constructor(budget: number) {
    this.#budget = budget;
  }

  /** Keeps a copy of the delta, the first `length` bytes of `data`, where there is room. */
  add(delta: number, data: Buffer, length: number = data.length): void {
    if (length > LARGEST) return;
    const last = this.#chunks.at(-1);
    if (last === undefined || this.#filled + length >= last.length) {
      if ((this.#chunks.length + 1) * CHUNK > this.#budget) return;
      this.#chunks.push(Buffer.allocUnsafeSlow(last === undefined ? FIRST_CHUNK : CHUNK));
      this.#filled = 0;
    }
    this.#lengths = withRoom(this.#lengths, delta);
    this.#places = withRoom(this.#places, delta);
    this.#lengths[delta] = length + 1;
    this.#places[delta] = (this.#chunks.length - 1) * CHUNK + this.#filled;
    data.copy(this.#chunks.at(-1)!, this.#filled, 0, length);
    this.#filled += length;
  }

  /** The delta, where it is kept. */
  get(delta: number): Buffer | undefined {
    const length = this.#lengths[delta] ?? 0;
    if (length === 0) return undefined;
    const place = this.#places[delta]!;
    const start = place % CHUNK;
    return this.#chunks[Math.floor(place / CHUNK)]!.subarray(start, start + length - 1);
  }
}
