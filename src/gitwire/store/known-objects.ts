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
import type { RecentPacks } from "./recent-packs.ts";

/** Going through so many ids of a pack is as dear as looking one up in it. */
const LOOKUP = 8;
/** Loose objects that are looked for one by one in a folder, before the folder is read. */
const LOOSE_LOOKUPS = 16;
/** Ids between two yields. */
const STEP = 4_096;

/** An object that is here. */
export interface KnownObject {
  /** Its number among the ids that were asked for. */
  readonly number: number;
  /** Where it lies; without a pack it is loose. */
  readonly pack?: Pack;
  /** Of its entry in the pack. */
  readonly offset: number;
}

/** A folder of objects. */
export interface KnownFolder {
  readonly objectsDir: string;
  readonly packs: { packs(): readonly Pack[]; readonly recent: RecentPacks };
}

/**
 * Those of `ids` that are in the folders by what is known of them: a pack that came a moment ago may be passed over, and so is one that is
 * gone or whose index is damaged. Each is found once. Yields now and then. `onOpen` is told of packs whose index is about to be opened.
 */
export function* findKnown(
  folders: readonly KnownFolder[],
  ids: SortedIds,
  onOpen: (pack: Pack) => void,
): Generator<void, KnownObject[]> {
  const search = new Search(ids);
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
  return search.found;
}

class Search {
  readonly found: KnownObject[] = [];
  readonly #ids: SortedIds;
  readonly #isFound: Uint8Array;

  constructor(ids: SortedIds) {
    this.#ids = ids;
    this.#isFound = new Uint8Array(ids.count);
  }

  /** Their indexes are in memory, and one table has all of their ids. */
  amongRecent(recent: RecentPacks): void {
    const { raw, format, count } = this.#ids;
    for (let number = 0; number < count; number++) {
      const pack = recent.find(raw, number * format.rawSize);
      const position = pack?.index.findRaw(raw, number * format.rawSize) ?? -1;
      if (position >= 0) this.#add(number, pack, pack!.index.offset(position));
    }
  }

  *inPack(pack: Pack): Generator<void> {
    const { index } = pack;
    const isSmall = index.count <= this.#ids.count * LOOKUP;
    for (let from = 0; from < (isSmall ? index.count : this.#ids.count); from += STEP) {
      index.sweep(() => (isSmall ? this.#goThrough(pack, index, from) : this.#lookUp(pack, index, from)));
      yield;
    }
  }

  /** Looks up what the pack has from position `from` on. */
  #goThrough(pack: Pack, index: PackIndex, from: number): void {
    const to = Math.min(index.count, from + STEP);
    const { bytes, start, stride } = index.idsFrom(from, to);
    for (let position = from; position < to; position++) {
      const number = this.#ids.find(bytes, start + (position - from) * stride);
      if (number >= 0) this.#add(number, pack, index.offset(position));
    }
  }

  /** Looks in the pack for what is asked for, from place `from` in its order on. */
  #lookUp(pack: Pack, index: PackIndex, from: number): void {
    const { order, raw, format } = this.#ids;
    for (let place = from; place < Math.min(order.length, from + STEP); place++) {
      const number = order[place]!;
      if (this.#isFound[number] === 1) continue;
      const position = index.findRaw(raw, number * format.rawSize);
      if (position >= 0) this.#add(number, pack, index.offset(position));
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
      if (number >= 0) this.#add(number, undefined, 0);
    }
  }

  #lookUpLoose(objectsDir: string, number: number): void {
    if (this.#isFound[number] === 0 && hasLoose(objectsDir, this.#ids.oid(number))) this.#add(number, undefined, 0);
  }

  #add(number: number, pack: Pack | undefined, offset: number): void {
    if (this.#isFound[number] === 1) return;
    this.#isFound[number] = 1;
    this.found.push(pack === undefined ? { number, offset } : { number, pack, offset });
  }
}
