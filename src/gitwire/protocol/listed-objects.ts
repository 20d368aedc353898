/**
 * The objects of a pack to be sent, numbered in order of arrival. A few are kept by their ids. Once they are many, those that a large
 * pack holds are kept by their places in its index: 8 bytes an object, where an id and its hash slot take 40 to 60. The index is in
 * memory once for all who read it.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { isMissing } from "../disk.ts";
import type { ObjectFormat, Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { withRoom } from "../pack/grow.ts";
import type { PackIndex } from "../pack/pack-index.ts";
import type { Pack } from "../pack/pack-reader.ts";

/** Members from which on places are kept, and objects of a pack in which they are. */
const MANY = 65_536;

/** The members that one pack holds. */
export interface Span {
  readonly pack: Pack;
  /** All of it in memory: good whatever happens to the file. */
  readonly index: PackIndex;
  /** The members' numbers, each one more, by place in the index; 0 for an object that is no member. */
  readonly numbers: Uint32Array;
  /** Members in it. */
  size: number;
  /** Slots of the spans before this one. */
  readonly start: number;
}

export class ListedObjects {
  readonly format: ObjectFormat;
  readonly #packs: () => readonly Pack[];
  readonly #many: number;
  /** The members that no span holds. */
  #rest: OidTable;
  /** Numbers of the members in {@link #rest}, by their numbers there; unused while there are no spans. */
  #restNumbers = new Uint32Array(0);
  /** Where each member is: places of the first span, then those of the second, ..., then numbers in {@link #rest}. Unused without spans. */
  #slots = new Uint32Array(0);
  #spans: readonly Span[] = [];
  #spanSlots = 0;
  #size = 0;

  /** `packs`: where most members may be, asked once they are many. */
  constructor(format: ObjectFormat, packs: () => readonly Pack[] = () => [], many: number = MANY) {
    this.format = format;
    this.#packs = packs;
    this.#many = many;
    this.#rest = new OidTable(format, 1024);
  }

  /** Number of members. */
  get size(): number {
    return this.#size;
  }

  /** Adds the raw id at `bytes[offset]`; returns its number, and whether it is new as the size growing. */
  addRaw(bytes: Buffer, offset: number): number {
    for (const span of this.#spans) {
      const place = span.index.findRaw(bytes, offset);
      if (place < 0) continue;
      const number = span.numbers[place]! - 1;
      if (number >= 0) return number;
      span.numbers[place] = this.#size + 1;
      span.size++;
      return this.#append(span.start + place);
    }
    const { size } = this.#rest;
    const index = this.#rest.addRaw(bytes, offset);
    if (this.#spans.length === 0) {
      if (index < size) return index;
      this.#size++;
      if (this.#size === this.#many) this.#spread();
      return index;
    }
    if (index < size) return this.#restNumbers[index]!;
    this.#restNumbers = withRoom(this.#restNumbers, index);
    this.#restNumbers[index] = this.#size;
    return this.#append(this.#spanSlots + index);
  }

  /** Adds a hex id; returns its number. */
  add(oid: Oid): number {
    return this.addRaw(rawOf(oid), 0);
  }

  /** Number of the raw id, or -1. */
  indexOfRaw(bytes: Buffer, offset: number): number {
    for (const span of this.#spans) {
      const place = span.index.findRaw(bytes, offset);
      if (place >= 0) return span.numbers[place]! - 1;
    }
    const index = this.#rest.indexOfRaw(bytes, offset);
    return index < 0 || this.#spans.length === 0 ? index : this.#restNumbers[index]!;
  }

  /** Number of the hex id, or -1. */
  indexOf(oid: Oid): number {
    return this.indexOfRaw(rawOf(oid), 0);
  }

  has(oid: Oid): boolean {
    return this.indexOf(oid) >= 0;
  }

  /** Hex id of member `number` (0 to size - 1). */
  oid(number: number): Oid {
    if (this.#spans.length === 0) return this.#rest.oid(number);
    const span = this.spanOf(number);
    const slot = this.#slots[number]!;
    return span === undefined ? this.#rest.oid(slot - this.#spanSlots) : span.index.oid(slot - span.start);
  }

  /** The span that holds member `number`. */
  spanOf(number: number): Span | undefined {
    const slot = this.#slots[number];
    if (slot === undefined || slot >= this.#spanSlots) return undefined;
    let at = this.#spans.length - 1;
    while (this.#spans[at]!.start > slot) at--;
    return this.#spans[at];
  }

  /** Place of member `number` in the index of its span. */
  placeIn(span: Span, number: number): number {
    return this.#slots[number]! - span.start;
  }

  /** The span of the members that `pack` holds, where there is one. */
  spanIn(pack: Pack): Span | undefined {
    return this.#spans.find((span) => span.pack === pack);
  }

  #append(slot: number): number {
    const number = this.#size++;
    this.#slots = withRoom(this.#slots, number);
    this.#slots[number] = slot;
    return number;
  }

  /** From now on members are kept by their places in the packs, as far as these are large. */
  #spread(): void {
    const spans: Span[] = [];
    let slots = 0;
    for (const pack of [...this.#packs()].sort((a, b) => countOf(b) - countOf(a))) {
      const count = countOf(pack);
      const index = count < this.#many || count > LIMITS.packObjects ? undefined : wholeIndex(pack);
      if (index === undefined) continue;
      spans.push({ pack, index, numbers: new Uint32Array(index.count), size: 0, start: slots });
      slots += index.count;
    }
    if (spans.length === 0) return;
    const members = this.#rest;
    this.#rest = new OidTable(this.format, 1024);
    this.#spans = spans;
    this.#spanSlots = slots;
    this.#size = 0;
    const ids = members.rawIds();
    for (let at = 0; at < ids.length; at += this.format.rawSize) this.addRaw(ids, at);
  }
}

/** Objects in the pack; none where it is gone or damaged, which whoever reads its objects deals with. */
function countOf(pack: Pack): number {
  return tolerant(() => pack.count) ?? 0;
}

function wholeIndex(pack: Pack): PackIndex | undefined {
  return tolerant(() => pack.index.inMemory());
}

function tolerant<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (isMissing(error) || (error instanceof KvError && error.code === "CORRUPT")) return undefined;
    throw error;
  }
}

const raw = Buffer.alloc(32);

/** The raw bytes of a hex id in a buffer shared by all callers: use it before the next call. */
function rawOf(oid: Oid): Buffer {
  raw.write(oid, 0, "hex");
  return raw;
}
