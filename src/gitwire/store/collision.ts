/**
 * Objects that arrive under an id which is known already have to be the same, byte for byte (git: index-pack.c,
 * check_collision): whoever can make two contents with one SHA-1 could replace what others have stored and signed.
 */

import { compare } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { inSlices } from "../../time-slice.ts";
import { isMissing } from "../disk.ts";
import type { GitObject } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import type { ArrivedObjects } from "../pack/arrived-objects.ts";
import { type IndexedPack, openIndexed } from "../pack/index-pack.ts";
import type { Pack } from "../pack/pack-reader.ts";
import { PackSweep } from "../pack/pack-sweep.ts";
import type { KnownObjects } from "./known-objects.ts";
import type { ObjectLocation } from "./object-place.ts";
import type { ObjectStore } from "./object-store.ts";

/** A pack that has arrived. */
export type ArrivedPack = Pick<IndexedPack, "packPath" | "held" | "objects">;

/**
 * Compares those objects of the pack that were received with those that `known` has of the same ids. Throws BAD_OBJECT where one is
 * another. A known object that is damaged says nothing.
 */
export async function refuseCollisions(arrived: ArrivedPack, known: ObjectStore): Promise<void> {
  await inSlices(compareKnown(arrived, known));
}

function* compareKnown(arrived: ArrivedPack, known: ObjectStore): Generator<void> {
  const twice = yield* known.known(arrived.objects.ids);
  if (twice.size === 0) return;
  const comparison = new Comparison(openIndexed(arrived, known.format), arrived.objects, known);
  try {
    yield* comparison.run(twice);
  } finally {
    comparison.close();
  }
}

/** Bytes of known objects that wait to be compared. */
const MOST_HELD = 4 * 1024 * 1024;
/** Entries between two yields. */
const STEP = 32;
/** Packs of known objects that are open at a time for comparing entries. */
const OPEN_PACKS = 64;

class Comparison {
  readonly #arrived: Pack;
  readonly #objects: ArrivedObjects;
  readonly #known: ObjectStore;
  /** Read the pack that has arrived, and those of the known objects. */
  readonly #sweep: PackSweep;
  readonly #sweeps = new Map<Pack, PackSweep>();

  constructor(arrived: Pack, objects: ArrivedObjects, known: ObjectStore) {
    this.#arrived = arrived;
    this.#objects = objects;
    this.#known = known;
    this.#sweep = new PackSweep(arrived);
  }

  close(): void {
    this.#arrived.close();
    for (const sweep of [this.#sweep, ...this.#sweeps.values()]) sweep.release();
  }

  *run(twice: KnownObjects): Generator<void> {
    const others = yield* this.#withoutSameEntries(twice);
    others.sort((a, b) => compareLocations(a.location, b.location));
    yield* this.#compareObjects(others);
  }

  /** Those of the objects whose entries are not the same, byte for byte, in both packs. They are compared in the order in which they came. */
  *#withoutSameEntries(twice: KnownObjects): Generator<void, Twice[]> {
    const others: Twice[] = [];
    for (let entry = 0; entry < this.#objects.received; entry++) {
      if (entry % STEP === 0) yield;
      const location = twice.location(entry);
      if (location !== undefined && !this.#isSameEntry(entry, location)) others.push({ entry, location });
    }
    return others;
  }

  #isSameEntry(entry: number, location: ObjectLocation): boolean {
    if (location.kind === "loose") return false;
    const { pack, offset } = location;
    const start = this.#objects.offset(entry);
    try {
      return this.#sweepOf(pack).isSameWhole(offset, this.#sweep, start, this.#objects.end(entry) - start);
    } catch (error) {
      if (isUnreadable(error)) return false;
      throw error;
    }
  }

  #sweepOf(pack: Pack): PackSweep {
    let sweep = this.#sweeps.get(pack);
    if (sweep !== undefined) return sweep;
    if (this.#sweeps.size === OPEN_PACKS) {
      const [oldest] = this.#sweeps.keys();
      oldest!.release();
      this.#sweeps.delete(oldest!);
    }
    sweep = new PackSweep(pack);
    this.#sweeps.set(pack, sweep);
    return sweep;
  }

  /**
   * Compares what the entries make, first many of the known objects, then those of the pack, each in the order in which they lie.
   */
  *#compareObjects(twice: readonly Twice[]): Generator<void> {
    let held: Held[] = [];
    let bytes = 0;
    for (const { entry } of twice) {
      const oid = this.#objects.oid(entry);
      const before = this.#readKnown(oid);
      if (before === undefined) continue;
      held.push({ oid, offset: this.#objects.offset(entry), before });
      bytes += before.data.length;
      yield;
      if (bytes < MOST_HELD) continue;
      yield* this.#compareHeld(held);
      held = [];
      bytes = 0;
    }
    yield* this.#compareHeld(held);
  }

  #readKnown(oid: Oid): GitObject | undefined {
    try {
      return this.#known.readOnce(oid);
    } catch (error) {
      if (isUnreadable(error)) return undefined;
      throw error;
    }
  }

  *#compareHeld(held: Held[]): Generator<void> {
    for (const { oid, offset, before } of held.sort((a, b) => a.offset - b.offset)) {
      const now = this.#arrived.read(offset);
      if (before.kind !== now.kind || !before.data.equals(now.data)) {
        throw new KvError("BAD_OBJECT", `collision: the pack has another object ${oid} than the one that is stored`, {
          data: { oid },
        });
      }
      yield;
    }
  }
}

/** An entry that has arrived, and where its object is known to be. */
interface Twice {
  readonly entry: number;
  readonly location: ObjectLocation;
}

/** A known object, and where in the pack that has arrived its double is. */
interface Held {
  readonly oid: Oid;
  readonly offset: number;
  readonly before: GitObject;
}

function compareLocations(a: ObjectLocation, b: ObjectLocation): number {
  if (a.kind === "loose" || b.kind === "loose") return compare(a.kind, b.kind);
  return compare(a.pack.path, b.pack.path) || a.offset - b.offset;
}

/** Whether what was read is damaged, or in a pack that has just gone. */
function isUnreadable(error: unknown): boolean {
  return (error instanceof KvError && error.code === "CORRUPT") || isMissing(error);
}
