/**
 * The objects of one push in memory, their bytes one after the other in a few large buffers, bounded by what they take. The first stay:
 * whoever checks a push walks over all of it more than once, and would find none again were the oldest dropped.
 *
 * A buffer for each object, its id as text and an entry of a Map came to 500 bytes beside the object's own, and 300,000 of them are
 * what the runtime's collector goes over again and again (docs/design/281).
 */

import type { GitObject, TreeChange } from "../object/object.ts";
import { type ObjectKind, type Oid, SHA1, SHA256 } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { withRoom } from "./grow.ts";
import type { ObjectMemory } from "./object-cache.ts";

/** What an object costs besides its bytes, about: its id, where it is, and the slots it is found by. */
const OVERHEAD = 96;
/** A push of one key has a few kilobytes of objects; each further buffer is twice as large, up to this. */
const FIRST_CHUNK = 16 * 1024;
const CHUNK = 1024 * 1024;

const KINDS: readonly ObjectKind[] = ["commit", "tree", "blob", "tag"];

/** Columns of {@link ObjectArena.places}: kind and flags, chunk, start, size of the data, of the change's two trees, and entries. */
const [SORT, IN, AT, SIZE, BEFORE, AFTER, ENTRIES, COLUMNS] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
/** Flags beside the kind's number. */
const KIND = 3;
const CHANGED = 4;
const HAS_TREE = 8;

const raw = Buffer.alloc(32);

export class ObjectArena implements ObjectMemory {
  readonly #budget: number;
  #ids: OidTable | undefined;
  #places = new Uint32Array(0);
  #chunks: Buffer[] = [];
  /** Bytes taken in the last chunk. */
  #filled = 0;
  #bytes = 0;

  /** `budget`: most bytes held. Objects above a quarter of it are not kept. */
  constructor(budget: number) {
    this.#budget = budget;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether an object of `size` bytes would be kept. */
  hasRoom(size: number): boolean {
    const cost = size + OVERHEAD;
    return cost <= this.#budget / 4 && this.#bytes + cost <= this.#budget;
  }

  get(oid: Oid): GitObject | undefined {
    const number = this.#ids?.indexOf(oid) ?? -1;
    if (number < 0) return undefined;
    const row = number * COLUMNS;
    const sort = this.#places[row + SORT]!;
    const size = this.#places[row + SIZE]!;
    const chunk = this.#chunks[this.#places[row + IN]!]!;
    const at = this.#places[row + AT]!;
    const kind = KINDS[sort & KIND]!;
    const data = chunk.subarray(at, at + size);
    return (sort & CHANGED) === 0 ? { kind, data } : { kind, data, change: this.#change(row, chunk, at + size) };
  }

  set(oid: Oid, object: GitObject): void {
    this.add(raw.subarray(0, raw.hexWrite(oid, 0)), object);
  }

  /** Takes a copy of the object with the raw id `id`, where it has room and is not there yet. */
  add(id: Buffer, { kind, data, change }: GitObject): void {
    const size = data.length + (change === undefined ? 0 : id.length + change.before.length + change.after.length);
    if (!this.hasRoom(size)) return;
    this.#ids ??= new OidTable(id.length === SHA1.rawSize ? SHA1 : SHA256);
    const number = this.#ids.size;
    if (this.#ids.addRaw(id, 0) !== number) return;
    const chunk = this.#chunkFor(size);
    const row = number * COLUMNS;
    this.#places = withRoom(this.#places, row + COLUMNS - 1);
    this.#places[row + SORT] = KINDS.indexOf(kind);
    this.#places[row + IN] = this.#chunks.length - 1;
    this.#places[row + AT] = this.#filled;
    this.#places[row + SIZE] = data.length;
    data.copy(chunk, this.#filled);
    if (change !== undefined) this.#addChange(row, chunk, this.#filled + data.length, change);
    this.#filled += size;
    this.#bytes += size + OVERHEAD;
  }

  /** Nothing of it grows old: it goes with its push. */
  age(): void {}

  clear(): void {
    this.#ids = undefined;
    this.#places = new Uint32Array(0);
    this.#chunks = [];
    this.#filled = 0;
    this.#bytes = 0;
  }

  /** Behind the data: the id of the base, then what is left of both trees, which are in order. */
  #addChange(row: number, chunk: Buffer, start: number, { base, before, after, compared }: TreeChange): void {
    let at = start + chunk.hexWrite(base, start);
    at += before.copy(chunk, at);
    after.copy(chunk, at);
    this.#places[row + SORT]! |= CHANGED | (compared.hasTree ? HAS_TREE : 0);
    this.#places[row + BEFORE] = before.length;
    this.#places[row + AFTER] = after.length;
    this.#places[row + ENTRIES] = compared.entries;
  }

  #change(row: number, chunk: Buffer, start: number): TreeChange {
    const from = start + this.#ids!.format.rawSize;
    const middle = from + this.#places[row + BEFORE]!;
    return {
      base: chunk.hexSlice(start, from),
      before: chunk.subarray(from, middle),
      after: chunk.subarray(middle, middle + this.#places[row + AFTER]!),
      compared: {
        entries: this.#places[row + ENTRIES]!,
        inOrder: true,
        hasTree: (this.#places[row + SORT]! & HAS_TREE) !== 0,
      },
    };
  }

  /** The last chunk, or a new one, with room for `size` bytes. */
  #chunkFor(size: number): Buffer {
    const last = this.#chunks.at(-1);
    if (last !== undefined && this.#filled + size <= last.length) return last;
    const usual = Math.min(CHUNK, FIRST_CHUNK * 2 ** this.#chunks.length);
    const chunk = Buffer.allocUnsafeSlow(Math.max(usual, size));
    this.#chunks.push(chunk);
    this.#filled = 0;
    return chunk;
  }
}
