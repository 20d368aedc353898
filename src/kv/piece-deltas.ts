/**
 * Writes new pieces of a large value as git deltas against pieces of the key's value before, so that scattered edits cost about
 * what they change.
 *
 * The value is cut where the one before was cut as far as that is found again, which pairs new pieces with old ones. Where it is
 * not, a few old pieces are tried for each new one: those at its place, where the bytes before it have shown how far things
 * have moved, and those that come next in the old value.
 */

import type { Chunking } from "../cdc/chunking.ts";
import type { CutGuide } from "../cdc/cut-guide.ts";
import { OldCuts } from "../cdc/old-cuts.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import { createDelta } from "../gitwire/pack/delta-search.ts";
import type { Key } from "./key.ts";
import type { Manifest } from "./manifest.ts";
import { OldValue, oldManifest } from "./old-value.ts";
import type { DeltaFinder, PieceDelta, PieceStore } from "./piece-store.ts";
import type { NamespaceState } from "./state.ts";

/** A delta must be this part smaller than its piece: reading one costs a second piece. */
const WORTH = 16;
/** A delta of at most this part of its piece ends the search for a better base. */
const GOOD_ENOUGH = 4;
/** Old pieces tried at the place of a new one. */
const AT_PLACE = 2;

/** Deltas against the value that `key` has in `state`; undefined where there is none in pieces, or it cannot be read. */
export function previousPieces(
  objects: ObjectSource,
  state: NamespaceState | undefined,
  key: Key,
  store: PieceStore,
  chunking: Chunking,
): DeltaFinder | undefined {
  const manifest = oldManifest(objects, state, key);
  return manifest && new PieceDeltas(objects, manifest, store, chunking);
}

export class PieceDeltas implements DeltaFinder {
  readonly #old: OldValue;
  readonly #cuts: OldCuts | undefined;
  /** The new value's offsets minus the old one's, as far as is known. */
  #shift = 0;
  /** The old piece that is likely to come next. */
  #next = 0;

  /** `chunking` is that of the new value, whose pieces come in their order. */
  constructor(
    objects: ObjectSource,
    manifest: Pick<Manifest, "chunks" | "chunking">,
    store: Pick<PieceStore, "holds">,
    chunking: Chunking,
  ) {
    this.#old = new OldValue(objects, manifest, store);
    // Old cuts are followed where the new ones have to obey the same sizes.
    const isSame = JSON.stringify(chunking) === JSON.stringify(manifest.chunking);
    if (isSame && chunking.mode === "fastcdc") this.#cuts = new OldCuts(this.#old, chunking);
  }

  get guide(): CutGuide | undefined {
    return this.#cuts;
  }

  digest(at: number): string | undefined {
    const trace = this.#cuts?.trace(at);
    if (trace?.number !== undefined) {
      this.#shift = trace.shift ?? this.#shift;
      this.#next = trace.number;
    }
    return trace?.sha256;
  }

  reused(sha256: string, at: number): void {
    const number = this.#old.find(sha256, this.#next);
    if (number === undefined) return;
    this.#shift = at - this.#old.starts[number]!;
    this.#next = number + 1;
  }

  find(piece: Buffer, at: number): PieceDelta | undefined {
    let best: PieceDelta | undefined;
    let limit = piece.length - Math.ceil(piece.length / WORTH);
    for (const number of this.#candidates(at, piece.length)) {
      const base = this.#old.base(number);
      if (base === undefined || !base.resembles(piece)) continue;
      const hint = Math.max(0, at - this.#shift - this.#old.starts[number]!);
      const delta = createDelta(base, piece, { limit, hint });
      if (delta === undefined) continue;
      best = { base: this.#old.pieces[number]!, delta };
      this.#next = number;
      limit = delta.length - 1;
      if (delta.length * GOOD_ENOUGH <= piece.length) break;
    }
    return best;
  }

  /** Numbers of the old pieces worth trying, the likeliest first. */
  #candidates(at: number, size: number): Iterable<number> {
    const { pieces, starts } = this.#old;
    const from = at - this.#shift;
    const overlap = (number: number): number => {
      const start = starts[number]!;
      return Math.min(start + pieces[number]!.size, from + size) - Math.max(start, from);
    };
    const atPlace: number[] = [];
    for (let number = this.#numberAt(from); number < pieces.length && overlap(number) > 0; number++) {
      atPlace.push(number);
    }
    atPlace.sort((a, b) => overlap(b) - overlap(a));
    const ahead = [this.#next, this.#next + 1].filter((number) => number < pieces.length);
    return new Set([...atPlace.slice(0, AT_PLACE), ...ahead]);
  }

  /** The first old piece that ends after `offset`. */
  #numberAt(offset: number): number {
    const { pieces, starts } = this.#old;
    let low = 0;
    let high = pieces.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle]! + pieces[middle]!.size > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
