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
import type { KnownObject } from "./known-objects.ts";
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
  const { objects } = arrived;
  const found = yield* known.known(objects.ids);
  const twice = found.filter(({ number }) => number < objects.received);
  if (twice.length === 0) return;
  const comparison = new Comparison(openIndexed(arrived, known.format), objects, known);
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
  }

  *run(twice: readonly KnownObject[]): Generator<void> {
    const others = yield* this.#withoutSameEntries(twice);
    others.sort((a, b) => compare(a.pack?.path ?? "", b.pack?.path ?? "") || a.offset - b.offset);
    yield* this.#compareObjects(others);
  }

  /** Those of the objects whose entries are not the same, byte for byte, in both packs. They are compared in the order in which they came. */
  *#withoutSameEntries(twice: readonly KnownObject[]): Generator<void, KnownObject[]> {
    const byEntry = new Int32Array(this.#objects.count).fill(-1);
    for (const [i, { number }] of twice.entries()) byEntry[number] = i;
    const others: KnownObject[] = [];
    for (let entry = 0; entry < byEntry.length; entry++) {
      const object = twice[byEntry[entry]!];
      if (object === undefined) continue;
      if (!this.#isSameEntry(object)) others.push(object);
      if (entry % STEP === 0) yield;
    }
    return others;
  }

  #isSameEntry({ number, pack, offset }: KnownObject): boolean {
    if (pack === undefined) return false;
    let known = this.#sweeps.get(pack);
    if (known === undefined) {
      known = new PackSweep(pack);
      this.#sweeps.set(pack, known);
    }
    const start = this.#objects.offset(number);
    try {
      return known.isSameWhole(offset, this.#sweep, start, this.#objects.end(number) - start);
    } catch (error) {
      if (isUnreadable(error)) return false;
      throw error;
    }
  }

  /**
   * Compares what the entries make, first many of the known objects, then those of the pack, each in the order in which they lie.
   */
  *#compareObjects(twice: readonly KnownObject[]): Generator<void> {
    let held: Held[] = [];
    let bytes = 0;
    for (const { number } of twice) {
      const oid = this.#objects.oid(number);
      const before = this.#readKnown(oid);
      if (before === undefined) continue;
      held.push({ oid, offset: this.#objects.offset(number), before });
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

/** A known object, and where in the pack that has arrived its double is. */
interface Held {
  readonly oid: Oid;
  readonly offset: number;
  readonly before: GitObject;
}

/** Whether what was read is damaged, or in a pack that has just gone. */
function isUnreadable(error: unknown): boolean {
  return (error instanceof KvError && error.code === "CORRUPT") || isMissing(error);
}
