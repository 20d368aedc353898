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

class Comparison {
  readonly #arrived: Pack;
  readonly #objects: ArrivedObjects;
  readonly #known: ObjectStore;

  constructor(arrived: Pack, objects: ArrivedObjects, known: ObjectStore) {
    this.#arrived = arrived;
    this.#objects = objects;
    this.#known = known;
  }

  close(): void {
    this.#arrived.close();
  }

  /** Compares all, as they lie among the known ones: a read of a file brings the neighbours too. */
  *run(twice: KnownObject[]): Generator<void> {
    twice.sort((a, b) => compare(a.pack?.path ?? "", b.pack?.path ?? "") || a.offset - b.offset);
    yield* this.#compareObjects(yield* this.#withoutSameEntries(twice));
  }

  /** Those of the objects whose entries are not the same, byte for byte, in both packs. */
  *#withoutSameEntries(twice: readonly KnownObject[]): Generator<void, KnownObject[]> {
    const arrived = new PackSweep(this.#arrived);
    let known: PackSweep | undefined;
    const others: KnownObject[] = [];
    for (const object of twice) {
      const { number, pack, offset } = object;
      if (known?.pack !== pack) known = pack === undefined ? undefined : new PackSweep(pack);
      const start = this.#objects.offset(number);
      const length = this.#objects.end(number) - start;
      const isSame = known !== undefined && ifReadable(() => known!.isSameWhole(offset, arrived, start, length));
      if (isSame !== true) others.push(object);
      yield;
    }
    return others;
  }

  /**
   * Compares what the entries make, first many of the known objects, then those of the pack, each in the order in which they lie.
   */
  *#compareObjects(twice: readonly KnownObject[]): Generator<void> {
    let held: Held[] = [];
    let bytes = 0;
    for (const { number } of twice) {
      const oid = this.#objects.oid(number);
      const before = ifReadable(() => this.#known.readOnce(oid));
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

/** What `read` gives; undefined where what it reads is damaged, or a pack that has just gone. */
function ifReadable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if ((error instanceof KvError && error.code === "CORRUPT") || isMissing(error)) return undefined;
    throw error;
  }
}
