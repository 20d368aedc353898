/**
 * Which of many ids a repository has already, and where. A pack of fewer objects than are asked for is gone through, each of its ids looked
 * up among those; in a larger one each of those is looked up. So with loose objects. A push of 100,000 objects was looked up in 16 packs
 * one by one before, which took longer than hashing them.
 */

import { KvError } from "../../errors.ts";
import { isMissing } from "../disk.ts";
import type { SortedIds } from "../object/sorted-ids.ts";
import type { PackIndex } from "../pack/pack-index.ts";
import type { Pack } from "../pack/pack-reader.ts";
import { hasLoose, readDirIfThere } from "./loose.ts";
import type { ObjectLocation } from "./object-place.ts";
import type { RecentPacks } from "./recent-packs.ts";

/** Ids are looked up by reading ahead from one for this many entries of a pack on. */
const SWEEP_SHARE = 500;
/** Going through so many ids of a pack is as dear as looking one up in it. */
const LOOKUP = 8;
/** Loose objects that are looked for one by one in a folder, before the folder is read. */
const LOOSE_LOOKUPS = 16;
/** Ids between two yields. */
const STEP = 4_096;

/** A folder of objects. */
export interface KnownFolder {
  readonly objectsDir: string;
  readonly packs: { packs(): readonly Pack[]; readonly recent: RecentPacks };
}

/**
 * Those of `ids` that are in the folders by what is known of them: a pack that came a moment ago may be passed over, and so is one that is
 * gone or whose index is damaged. Yields now and then. `onOpen` is told of packs whose index is about to be opened.
 */
export function* findKnown(
  folders: readonly KnownFolder[],
  ids: SortedIds,
  onOpen: (pack: Pack) => void,
): Generator<void, KnownObjects> {
  const found = new KnownObjects(ids.count);
  const search = new Search(ids, found);
  for (const { objectsDir, packs } of folders) {
    search.amongRecent(packs.recent);
    for (const pack of packs.packs()) {
      if (packs.recent.has(pack)) continue;
      try {
        onOpen(pack);
        yield* search.inPack(pack);
      } catch (error) {
        const isDamaged = error instanceof KvError && error.code === "CORRUPT";
        if (!isDamaged && !isMissing(error)) throw error;
      }
    }
    yield* search.amongLoose(objectsDir);
  }
  return found;
}

/** What was found, by the numbers of the ids that were asked for. */
export class KnownObjects {
  /** The packs, and the folders of loose objects, that something was found in. */
  readonly #places: (Pack | string)[] = [];
  /** Number of the place plus one, 0 where nothing was found. */
  readonly #placeOf: Uint32Array;
  readonly #positions: Uint32Array;
  readonly #offsets: Float64Array;
  #size = 0;

  constructor(count: number) {
    this.#placeOf = new Uint32Array(count);
    this.#positions = new Uint32Array(count);
    this.#offsets = new Float64Array(count);
  }

  /** How many were found. */
  get size(): number {
    return this.#size;
  }

  has(number: number): boolean {
    return this.#placeOf[number]! > 0;
  }

  location(number: number): ObjectLocation | undefined {
    const place = this.#places[this.#placeOf[number]! - 1];
    if (typeof place === "string") return { kind: "loose", objectsDir: place };
    if (place === undefined) return undefined;
    return { kind: "packed", pack: place, offset: this.#offsets[number]!, position: this.#positions[number]! };
  }

  addPacked(number: number, pack: Pack, position: number): void {
    if (this.has(number)) return;
    this.#offsets[number] = pack.index.offset(position);
    this.#positions[number] = position;
    this.#add(number, pack);
  }

  addLoose(number: number, objectsDir: string): void {
    if (!this.has(number)) this.#add(number, objectsDir);
  }

  #add(number: number, place: Pack | string): void {
    if (this.#places.at(-1) !== place) this.#places.push(place);
    this.#placeOf[number] = this.#places.length;
    this.#size++;
  }
}

class Search {
  readonly #ids: SortedIds;
  readonly #found: KnownObjects;

  constructor(ids: SortedIds, found: KnownObjects) {
    this.#ids = ids;
    this.#found = found;
  }

  /** Their indexes are in memory, and one table has all of their ids. */
  amongRecent(recent: RecentPacks): void {
    const { raw, format, count } = this.#ids;
    for (let number = 0; number < count; number++) {
      const pack = recent.find(raw, number * format.rawSize);
      const position = pack?.index.findRaw(raw, number * format.rawSize) ?? -1;
      if (position >= 0) this.#found.addPacked(number, pack!, position);
    }
  }

  *inPack(pack: Pack): Generator<void> {
    const { index } = pack;
    const { count } = this.#ids;
    const isSmall = index.count <= count * LOOKUP;
    for (let from = 0; from < (isSmall ? index.count : count); from += STEP) {
      const look = (): void => (isSmall ? this.#goThrough(pack, index, from) : this.#lookUp(pack, index, from));
      if (index.count < count * SWEEP_SHARE) index.sweep(look);
      else look();
      yield;
    }
  }

  /** Looks up what the pack has from position `from` on. */
  #goThrough(pack: Pack, index: PackIndex, from: number): void {
    const to = Math.min(index.count, from + STEP);
    const { bytes, start, stride } = index.idsFrom(from, to);
    for (let position = from; position < to; position++) {
      const number = this.#ids.find(bytes, start + (position - from) * stride);
      if (number >= 0) this.#found.addPacked(number, pack, position);
    }
  }

  /** Looks in the pack for what is asked for, from place `from` in its order on. */
  #lookUp(pack: Pack, index: PackIndex, from: number): void {
    const { order, raw, format } = this.#ids;
    for (let place = from; place < Math.min(order.length, from + STEP); place++) {
      const number = order[place]!;
      if (this.#found.has(number)) continue;
      const position = index.findRaw(raw, number * format.rawSize);
      if (position >= 0) this.#found.addPacked(number, pack, position);
    }
  }

  *amongLoose(objectsDir: string): Generator<void> {
    const { order, raw, format } = this.#ids;
    const fans = new Set(readDirIfThere(objectsDir));
    for (let from = 0, to = 0; from < order.length; from = to) {
      const first = raw[order[from]! * format.rawSize]!;
      while (to < order.length && raw[order[to]! * format.rawSize] === first) to++;
      const fan = first.toString(16).padStart(2, "0");
      if (!fans.has(fan)) continue;
      if (to - from > LOOSE_LOOKUPS) this.#goThroughLoose(objectsDir, fan);
      else for (const number of order.subarray(from, to)) this.#lookUpLoose(objectsDir, number);
      yield;
    }
  }

  #goThroughLoose(objectsDir: string, fan: string): void {
    const { format } = this.#ids;
    const id = Buffer.alloc(format.rawSize);
    for (const name of readDirIfThere(`${objectsDir}/${fan}`)) {
      if (name.length !== format.hexSize - 2 || id.write(fan + name, "hex") !== format.rawSize) continue;
      const number = this.#ids.find(id, 0);
      if (number >= 0) this.#found.addLoose(number, objectsDir);
    }
  }

  #lookUpLoose(objectsDir: string, number: number): void {
    if (!this.#found.has(number) && hasLoose(objectsDir, this.#ids.oid(number)))
      this.#found.addLoose(number, objectsDir);
  }
}
