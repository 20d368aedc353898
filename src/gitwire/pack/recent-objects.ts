/**
 * The small objects of an arriving pack that came last, for deltas of them: in a pack of git's a base comes just before its deltas. They are
 * in a ring of memory, which grows to its budget before the oldest are written over.
 */

import { withRoom } from "./grow.ts";

const CHUNK = 256 * 1024;
/** Larger objects are not kept. */
const LARGEST = 64 * 1024;
/** Entries that are told apart: of two whose numbers differ by as many the older is forgotten. */
const SLOTS = 64 * 1024;

export class RecentObjects {
  readonly #mostChunks: number;
  readonly #chunks: Buffer[] = [];
  /** The entry that each chunk begins with. What came before it was in the chunk is gone. */
  readonly #firstEntries: number[] = [];
  #chunk = -1;
  #filled = 0;
  /** By slot: the number of the entry plus one, 0 for none; where its data is, and how long. */
  #entries = new Uint32Array(64);
  #places = new Uint32Array(64);
  #lengths = new Uint32Array(64);

  /** `budget`: most bytes held, at most 4 GiB; less than 256 KiB is none. */
  constructor(budget: number) {
    this.#mostChunks = Math.floor(budget / CHUNK);
  }

  /** Keeps a copy of the object of entry number `entry`, the first `length` bytes of `data`. Entries come in ascending order. */
  add(entry: number, data: Buffer, length: number): void {
    if (length > LARGEST || this.#mostChunks === 0) return;
    if (this.#chunk < 0 || this.#filled + length > CHUNK) this.#nextChunk(entry);
    const slot = entry % SLOTS;
    this.#entries = withRoom(this.#entries, slot);
    this.#places = withRoom(this.#places, slot);
    this.#lengths = withRoom(this.#lengths, slot);
    this.#entries[slot] = entry + 1;
    this.#places[slot] = this.#chunk * CHUNK + this.#filled;
    this.#lengths[slot] = length;
    data.copy(this.#chunks[this.#chunk]!, this.#filled, 0, length);
    this.#filled += length;
  }

  /** The object, where it is still here; good until the next is added. */
  get(entry: number): Buffer | undefined {
    const slot = entry % SLOTS;
    if (this.#entries[slot] !== entry + 1) return undefined;
    const place = this.#places[slot]!;
    const chunk = Math.floor(place / CHUNK);
    if (entry < this.#firstEntries[chunk]!) return undefined;
    const start = place % CHUNK;
    return this.#chunks[chunk]!.subarray(start, start + this.#lengths[slot]!);
  }

  /** Forgets all, for another pack; the memory stays. */
  clear(): void {
    this.#entries.fill(0);
    this.#chunk = -1;
    this.#filled = 0;
  }

  #nextChunk(entry: number): void {
    this.#chunk = (this.#chunk + 1) % this.#mostChunks;
    if (this.#chunk === this.#chunks.length) this.#chunks.push(Buffer.allocUnsafeSlow(CHUNK));
    this.#firstEntries[this.#chunk] = entry;
    this.#filled = 0;
  }
}
