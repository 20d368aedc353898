/**
 * Objects that arrive under an id which is known already have to be the same, byte for byte (git: index-pack.c,
 * check_collision): whoever can make two contents with one SHA-1 could replace what others have stored and signed.
 */

import { KvError } from "../../errors.ts";
import { TimeSlice } from "../../time-slice.ts";
import type { GitObject } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import type { Pack } from "../pack/pack-reader.ts";
import type { ObjectStore } from "./object-store.ts";

/**
 * Compares those of the first objects of `pack`, up to offset `end`, that `known` has too. Throws BAD_OBJECT where one is
 * another. A known object that is damaged says nothing.
 */
export async function refuseCollisions(pack: Pack, end: number, known: ObjectStore): Promise<void> {
  const slice = new TimeSlice();
  for (let from = 0; from < pack.count; from += STEP) {
    for (const oid of known.knownAmong(idsOf(pack, from, Math.min(pack.count, from + STEP), end))) {
      compareOne(pack, known, oid);
      if (slice.isOver()) await slice.pause();
    }
    await slice.pause();
  }
}

/** Ids that are looked for at a time. */
const STEP = 16_384;

/** Ids `from` to `to` in the order of the index, but for those whose entries are at or after `end`. */
function idsOf({ index }: Pack, from: number, to: number, end: number): Oid[] {
  return index.sweep(() => {
    const oids: Oid[] = [];
    for (let i = from; i < to; i++) if (index.offset(i) < end) oids.push(index.oid(i));
    return oids;
  });
}

function compareOne(pack: Pack, known: ObjectStore, oid: Oid): void {
  const before = readSound(known, oid);
  const now = pack.read(pack.find(oid));
  if (before !== undefined && (before.kind !== now.kind || !before.data.equals(now.data))) {
    throw new KvError("BAD_OBJECT", `collision: the pack has another object ${oid} than the one that is stored`, {
      data: { oid },
    });
  }
}

function readSound(known: ObjectStore, oid: Oid): GitObject | undefined {
  try {
    return known.read(oid);
  } catch (error) {
    if (error instanceof KvError && error.code === "CORRUPT") return undefined;
    throw error;
  }
}
