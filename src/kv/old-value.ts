/**
 * The pieces of the value that a key has, for the one that is to replace it: where it was cut, and bytes that new pieces are compared
 * with. A piece is used only where the receiver has it and it is here: none is fetched. Pieces are read as they are needed, a few
 * are held.
 */

import type { OldPieces } from "../cdc/old-cuts.ts";
import { KvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import { DeltaBase } from "../gitwire/pack/delta-search.ts";
import { readManifest } from "./chunked-value.ts";
import type { Key } from "./key.ts";
import type { Manifest, Piece } from "./manifest.ts";
import type { PieceStore } from "./piece-store.ts";
import { findKey } from "./read.ts";
import type { NamespaceState } from "./state.ts";

/** Old pieces held, with what is looked up in them: about 1.5 times their size. */
const HELD = 6;

/** The manifest of the value that `key` has in `state`; undefined where it has none, or it cannot be read. */
export function oldManifest(objects: ObjectSource, state: NamespaceState | undefined, key: Key): Manifest | undefined {
  if (state === undefined) return undefined;
  try {
    const found = findKey(objects, state, key, { now: 0, allowExpired: true });
    return found.meta.type === "chunked" ? readManifest(objects, found) : undefined;
  } catch (error) {
    // Whatever is wrong with the old value, the new one can be stored without it.
    if (error instanceof KvError) return undefined;
    throw error;
  }
}

export class OldValue implements OldPieces {
  readonly pieces: readonly Piece[];
  /** Where each piece begins. */
  readonly starts: readonly number[];
  readonly #objects: ObjectSource;
  readonly #store: Pick<PieceStore, "holds">;
  readonly #bySha256: ReadonlyMap<string, number>;
  /** Pieces by number, the one used last at the end; undefined: it cannot be used. */
  readonly #held = new Map<number, DeltaBase | undefined>();

  constructor(objects: ObjectSource, { chunks }: Pick<Manifest, "chunks">, store: Pick<PieceStore, "holds">) {
    this.pieces = chunks;
    this.#objects = objects;
    this.#store = store;
    let at = 0;
    this.starts = chunks.map(({ size }) => {
      at += size;
      return at - size;
    });
    this.#bySha256 = new Map(chunks.map(({ sha256 }, number) => [sha256, number]));
  }

  find(sha256: string, expected: number): number | undefined {
    return this.pieces[expected]?.sha256 === sha256 ? expected : this.#bySha256.get(sha256);
  }

  read(number: number): Buffer | undefined {
    return this.base(number)?.bytes;
  }

  /** A piece to make deltas of; undefined where it cannot be used. */
  base(number: number): DeltaBase | undefined {
    const piece = this.pieces[number];
    if (piece === undefined) return undefined;
    const held = this.#held.get(number);
    const base = held === undefined && !this.#held.has(number) ? this.#load(piece) : held;
    this.#held.delete(number);
    this.#held.set(number, base);
    if (this.#held.size > HELD) this.#held.delete(this.#held.keys().next().value!);
    return base;
  }

  #load(piece: Piece): DeltaBase | undefined {
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
