/**
 * Writes new pieces of a large value as git deltas against pieces of the key's value before, so that scattered edits cost about
 * what they change.
 *
 * A few old pieces are tried for each new one: those at its place, where the bytes before it have shown how far things have moved, and
 * those that come next in the old value. A base must be one that the receiver has, in its chunk tree, and that is here: none is
 * fetched. Old pieces are read as they are needed, a few are held.
 */

import { KvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import { createDelta, DeltaBase } from "../gitwire/pack/delta-search.ts";
import { readManifest } from "./chunked-value.ts";
import type { Key } from "./key.ts";
import type { Manifest, Piece } from "./manifest.ts";
import type { DeltaFinder, PieceDelta, PieceStore } from "./piece-store.ts";
import { findKey } from "./read.ts";
import type { NamespaceState } from "./state.ts";

/** A delta must be this part smaller than its piece: reading one costs a second piece. */
const WORTH = 16;
/** A delta of at most this part of its piece ends the search for a better base. */
const GOOD_ENOUGH = 4;
/** Old pieces held, with what is looked up in them: about 1.5 times their size. */
const HELD = 6;
/** Old pieces tried at the place of a new one. */
const AT_PLACE = 2;

/** Deltas against the value that `key` has in `state`; undefined where there is none in pieces, or it cannot be read. */
export function previousPieces(
  objects: ObjectSource,
  state: NamespaceState | undefined,
  key: Key,
  store: PieceStore,
): DeltaFinder | undefined {
  if (state === undefined) return undefined;
  try {
    const found = findKey(objects, state, key, { now: 0, allowExpired: true });
    return found.meta.type === "chunked" ? new PieceDeltas(objects, readManifest(objects, found), store) : undefined;
  } catch (error) {
    // Whatever is wrong with the old value, the new one can be stored without it.
    if (error instanceof KvError) return undefined;
    throw error;
  }
}

export class PieceDeltas implements DeltaFinder {
  readonly #objects: ObjectSource;
  readonly #pieces: readonly Piece[];
  readonly #store: Pick<PieceStore, "holds">;
  /** Where each old piece begins. */
  readonly #starts: readonly number[];
  readonly #bySha256: ReadonlyMap<string, number>;
  /** Bases by number, the one used last at the end; undefined: it cannot be used. */
  readonly #held = new Map<number, DeltaBase | undefined>();
  /** The new value's offsets minus the old one's, as far as is known. */
  #shift = 0;
  /** The old piece that is likely to come next. */
  #next = 0;

  constructor(objects: ObjectSource, { chunks }: Pick<Manifest, "chunks">, store: Pick<PieceStore, "holds">) {
    this.#objects = objects;
    this.#pieces = chunks;
    this.#store = store;
    let at = 0;
    this.#starts = chunks.map(({ size }) => {
      at += size;
      return at - size;
    });
    this.#bySha256 = new Map(chunks.map(({ sha256 }, number) => [sha256, number]));
  }

  reused(sha256: string, at: number): void {
    const number = this.#pieces[this.#next]?.sha256 === sha256 ? this.#next : this.#bySha256.get(sha256);
    if (number === undefined) return;
    this.#shift = at - this.#starts[number]!;
    this.#next = number + 1;
  }

  find(piece: Buffer, at: number): PieceDelta | undefined {
    let best: PieceDelta | undefined;
    let limit = piece.length - Math.ceil(piece.length / WORTH);
    for (const number of this.#candidates(at, piece.length)) {
      const base = this.#base(number);
      if (base === undefined || !base.resembles(piece)) continue;
      const hint = Math.max(0, at - this.#shift - this.#starts[number]!);
      const delta = createDelta(base, piece, { limit, hint });
      if (delta === undefined) continue;
      best = { base: this.#pieces[number]!, delta };
      this.#next = number;
      limit = delta.length - 1;
      if (delta.length * GOOD_ENOUGH <= piece.length) break;
    }
    return best;
  }

  /** Numbers of the old pieces worth trying, the likeliest first. */
  #candidates(at: number, size: number): Iterable<number> {
    const from = at - this.#shift;
    const overlap = (number: number): number => {
      const start = this.#starts[number]!;
      return Math.min(start + this.#pieces[number]!.size, from + size) - Math.max(start, from);
    };
    const atPlace: number[] = [];
    for (let number = this.#numberAt(from); number < this.#pieces.length && overlap(number) > 0; number++) {
      atPlace.push(number);
    }
    atPlace.sort((a, b) => overlap(b) - overlap(a));
    const ahead = [this.#next, this.#next + 1].filter((number) => number < this.#pieces.length);
    return new Set([...atPlace.slice(0, AT_PLACE), ...ahead]);
  }

  /** The first old piece that ends after `offset`. */
  #numberAt(offset: number): number {
    let low = 0;
    let high = this.#pieces.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! + this.#pieces[middle]!.size > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #base(number: number): DeltaBase | undefined {
    const held = this.#held.get(number);
    const base = held === undefined && !this.#held.has(number) ? this.#read(this.#pieces[number]!) : held;
    this.#held.delete(number);
    this.#held.set(number, base);
    if (this.#held.size > HELD) this.#held.delete(this.#held.keys().next().value!);
    return base;
  }

  #read(piece: Piece): DeltaBase | undefined {
    if (!this.#store.holds(piece)) return undefined;
    try {
      const object = this.#objects.read(piece.oid);
      return object?.kind === "blob" ? new DeltaBase(object.data) : undefined;
    } catch (error) {
      // A damaged one is found by who reads the old value; the new one does without it.
      if (error instanceof KvError) return undefined;
      throw error;
    }
  }
}
