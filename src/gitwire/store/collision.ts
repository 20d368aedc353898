/**
 * Objects that arrive under an id which is known already have to be the same, byte for byte (git: index-pack.c,
 * check_collision): whoever can make two contents with one SHA-1 could replace what others have stored and signed.
 */

import { compare } from "../../bytes.ts";
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
    const oids = known.knownAmong(idsOf(pack, from, Math.min(pack.count, from + STEP), end));
    for (const _ of compared(pack, known, oids)) if (slice.isOver()) await slice.pause();
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

/** An object that is here and in the pack. */
interface Twice {
  readonly oid: Oid;
  /** In the pack. */
  readonly offset: number;
}

/** Bytes of known objects that wait to be compared. */
const MOST_HELD = 4 * 1024 * 1024;

/**
 * Compares the objects, first many of the known ones, then those of the pack, each in the order in which they lie: a read of a file
 * brings the neighbours too.
 */
function* compared(pack: Pack, known: ObjectStore, oids: readonly Oid[]): Generator<void> {
  let held: { readonly twice: Twice; readonly before: GitObject }[] = [];
  let bytes = 0;
  for (const twice of inOrderOf(
    known,
    oids.map((oid) => ({ oid, offset: pack.find(oid) })),
  )) {
    const before = readSound(known, twice.oid);
    if (before === undefined) continue;
    held.push({ twice, before });
    bytes += before.data.length;
    yield;
    if (bytes < MOST_HELD) continue;
    yield* compareHeld(pack, held);
    held = [];
    bytes = 0;
  }
  yield* compareHeld(pack, held);
}

/** The objects as they lie in `known`. */
function inOrderOf(known: ObjectStore, objects: readonly Twice[]): Twice[] {
  const places = objects.map((twice) => {
    const place = known.locate(twice.oid);
    return {
      twice,
      path: place?.kind === "packed" ? place.pack.path : "",
      offset: place?.kind === "packed" ? place.offset : 0,
    };
  });
  return places.sort((a, b) => compare(a.path, b.path) || a.offset - b.offset).map(({ twice }) => twice);
}

function* compareHeld(pack: Pack, held: { readonly twice: Twice; readonly before: GitObject }[]): Generator<void> {
  for (const { twice, before } of held.sort((a, b) => a.twice.offset - b.twice.offset)) {
    const now = pack.read(twice.offset);
    if (before.kind !== now.kind || !before.data.equals(now.data)) {
      const { oid } = twice;
      throw new KvError("BAD_OBJECT", `collision: the pack has another object ${oid} than the one that is stored`, {
        data: { oid },
      });
    }
    yield;
  }
}

function readSound(known: ObjectStore, oid: Oid): GitObject | undefined {
  try {
    return known.readOnce(oid);
  } catch (error) {
    if (error instanceof KvError && error.code === "CORRUPT") return undefined;
    throw error;
  }
}
