/**
 * Many small objects at once, in the order in which they lie in their packs: the pointers of 15,000 keys of a million, read one after the
 * other, took three reads of up to 12 KiB each.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { isMissing } from "../disk.ts";
import type { GitObject } from "../object/object.ts";
import { applyDelta } from "../pack/delta.ts";
import { ENTRY, entryKind } from "../pack/pack-entry.ts";
import type { Pack } from "../pack/pack-reader.ts";
import { PackSweep } from "../pack/pack-sweep.ts";
import type { KnownObjects } from "./known-objects.ts";

/** Read from an entry on, where none that was read lately is near: what a small object takes. */
const SMALL_READ = 512;

/** The first `count` of the objects that were looked for, by their numbers; undefined where it was not found in a pack, or cannot be read there. */
export function readMany(known: KnownObjects, count: number): (GitObject | undefined)[] {
  const packed = new Map<Pack, Place[]>();
  for (let number = 0; number < count; number++) {
    const at = known.location(number);
    if (at?.kind !== "packed") continue;
    const places = packed.get(at.pack);
    if (places === undefined) packed.set(at.pack, [{ number, offset: at.offset }]);
    else places.push({ number, offset: at.offset });
  }
  const objects = new Array<GitObject | undefined>(count).fill(undefined);
  for (const [pack, places] of packed) readPlaces(pack, places, objects);
  return objects;
}

interface Place {
  readonly number: number;
  readonly offset: number;
}

function readPlaces(pack: Pack, places: Place[], objects: (GitObject | undefined)[]): void {
  places.sort((a, b) => a.offset - b.offset);
  const reader = new SmallReader(pack);
  try {
    for (const { number, offset } of places) objects[number] = reader.read(offset);
  } catch (error) {
    // Whoever reads the rest one by one finds another copy, or says what is wrong.
    if (!isMissing(error) && !(error instanceof KvError)) throw error;
  }
}

/** Reads small objects at ascending offsets of a pack. */
class SmallReader {
  readonly #pack: Pack;
  readonly #sweep: PackSweep;
  /** The base that was needed last: records of one transaction share theirs. */
  #base: GitObject | undefined;
  #baseAt = -1;

  constructor(pack: Pack) {
    this.#pack = pack;
    this.#sweep = new PackSweep(pack, SMALL_READ);
  }

  read(offset: number): GitObject {
    const entry = this.#sweep.smallEntry(offset);
    if (entry === undefined) return this.#pack.read(offset);
    const { header, data } = entry;
    const kind = entryKind(header.type);
    if (kind !== undefined) return { kind, data: Buffer.from(data) };
    if (header.type !== ENTRY.ofsDelta || header.baseDistance === 0) return this.#pack.read(offset);
    const base = this.#baseOf(offset - header.baseDistance);
    return { kind: base.kind, data: applyDelta(base.data, data, LIMITS.objectBytes) };
  }

  #baseOf(offset: number): GitObject {
    if (offset !== this.#baseAt || this.#base === undefined) {
      this.#base = this.#pack.read(offset);
      this.#baseAt = offset;
    }
    return this.#base;
  }
}
