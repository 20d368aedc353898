/**
 * Records of one kind, made one after the other in the same place: what a record shares with the one before lies there already, and so
 * does most of its delta against the first of them. Of a million records that is a third of the time of making each from its text.
 */

import { DeltaBuilder, readInstructions } from "../gitwire/pack/delta.ts";
import type { RecordParts } from "./record.ts";

/** Pieces shorter than this are inserted: a copy takes about four bytes. */
const SHORTEST_COPY = 6;
/** Most bytes of UTF-8 for each UTF-16 unit. */
const WIDEST = 3;
const FIRST_ROOM = 1024;

/** Bytes of the record that the delta inserts, and where in the delta they stand. */
interface Inserted {
  readonly from: number;
  readonly at: number;
  readonly size: number;
}

export class RecordRoom {
  /** The record put down last, good until the next one: whoever keeps it copies it. */
  data: Buffer;
  #room = Buffer.allocUnsafeSlow(FIRST_ROOM);
  /** Its parts, and the bytes each takes. */
  readonly #parts: string[] = [];
  readonly #sizes: number[] = [];
  /** The first record, which the others are deltas of: its parts, the bytes of each, and of all. */
  readonly #first: RecordParts;
  readonly #firstSizes: readonly number[];
  readonly #firstSize: number;
  /** Which parts are those of the first record. */
  readonly #isFirst: boolean[] = [];
  readonly #builder = new DeltaBuilder();
  #delta: Buffer | undefined;
  #inserted: readonly Inserted[] = [];
  /** Whether the delta saves anything, and is not that of the first record itself. */
  #isWorthIt = false;

  /** Puts down `first`, of which the others will be deltas. */
  constructor(first: RecordParts) {
    this.#first = first;
    this.data = this.#room;
    this.put(first);
    this.#firstSizes = [...this.#sizes];
    this.#firstSize = this.data.length;
  }

  /** Puts down a record that has as many parts. */
  put(parts: RecordParts): void {
    const sizes = this.#sizes;
    let at = 0;
    let hasMoved = false;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i]!;
      const isSame = part === this.#parts[i];
      if (!isSame || hasMoved) {
        if (at + part.length * WIDEST > this.#room.length) this.#grow(at + part.length * WIDEST);
        const size = this.#room.utf8Write(part, at);
        if (size !== sizes[i]) {
          hasMoved = true;
          sizes[i] = size;
        }
        if (!isSame) this.#replace(i, part);
      }
      at += sizes[i]!;
    }
    if (hasMoved) this.#delta = undefined;
    if (at !== this.data.length || hasMoved) this.data = this.#room.subarray(0, at);
  }

  /** The record as a delta against the first one, good until the next is put down; undefined where that saves nothing. */
  delta(): Buffer | undefined {
    if (this.#delta === undefined) this.#delta = this.#makeDelta();
    else this.#fillDelta(this.#delta);
    return this.#isWorthIt ? this.#delta : undefined;
  }

  #replace(i: number, part: string): void {
    this.#parts[i] = part;
    const isFirst = part === this.#first[i];
    if (isFirst === this.#isFirst[i]) return;
    this.#isFirst[i] = isFirst;
    this.#delta = undefined;
  }

  #grow(least: number): void {
    const grown = Buffer.allocUnsafeSlow(least * 2);
    this.#room.copy(grown);
    this.#room = grown;
    this.data = grown;
  }

  #makeDelta(): Buffer {
    const builder = this.#builder.restart();
    let from = 0;
    let at = 0;
    for (const [i, size] of this.#sizes.entries()) {
      if (this.#isFirst[i]! && size >= SHORTEST_COPY) builder.copy(from, size);
      else builder.insert(this.data, at, at + size);
      from += this.#firstSizes[i] ?? 0;
      at += size;
    }
    const delta = builder.finish(this.#firstSize, this.data.length);
    this.#inserted = insertedIn(delta);
    this.#isWorthIt = delta.length < this.data.length && !this.#isFirst.every(Boolean);
    return delta;
  }

  /** Puts the bytes of this record where those of the one before stand. */
  #fillDelta(delta: Buffer): void {
    const { data } = this;
    for (const { from, at, size } of this.#inserted) for (let i = 0; i < size; i++) delta[at + i] = data[from + i]!;
  }
}

function insertedIn(delta: Buffer): Inserted[] {
  const inserted: Inserted[] = [];
  let from = 0;
  readInstructions(delta, {
    copy(_offset, size) {
      from += size;
    },
    insert(at, size) {
      inserted.push({ from, at, size });
      from += size;
    },
  });
  return inserted;
}
