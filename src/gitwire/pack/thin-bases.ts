/**
 * Completes a thin pack: the bases it lacks are put at its end (git: pack-objects --thin, index-pack --fix-thin).
 *
 * An entry is copied as it is stored, still compressed, wherever it lies in a pack: 23,000 trees of 6 KB take 0.25 s, and
 * took 1.8 s inflated and deflated again. A base that is itself a delta is copied with what it is a delta of, while that
 * chain is short; objects read often would become slow to read otherwise.
 */

import { KvError } from "../../errors.ts";
import { isMissing } from "../disk.ts";
import type { GitObject, ObjectSource } from "../object/object.ts";
import type { ObjectFormat, ObjectKind, Oid } from "../object/oid.ts";
import { ENTRY, encodeEntryHeader, kindType, MAX_ENTRY_HEADER } from "./pack-entry.ts";
import type { Pack, RawEntry } from "./pack-reader.ts";
import { PackSweep, type SweptObject } from "./pack-sweep.ts";
import { deflate } from "./zlib.ts";

/** Longest chain of deltas that is copied: one link more costs a reader about 5 us, making the object whole 45 us once. */
const MAX_CHAIN = 4;
/** From this share of a pack's entries on, their ends are looked up together and not found by inflating each. */
const BULK_SHARE = 512;

/** Objects for bases: where it can say in which pack one is, that one is copied. */
export interface BaseSource extends ObjectSource {
  locateAll?(oids: Iterable<Oid>): ReadonlyMap<Oid, StoredBase>;
}

type StoredBase =
  | { readonly kind: "packed"; readonly pack: Pack; readonly offset: number; readonly position: number }
  | { readonly kind: "loose" };

/** Where copies of entries go. */
export interface BaseSink {
  readonly format: ObjectFormat;
  /** Offset of the next entry. */
  readonly position: number;
  /** Whether the pack holds the object already. */
  has(oid: Oid): boolean;
  /** Adds an entry of the object `oid`; returns its number. Both buffers are used again. */
  append(oid: Oid, kind: ObjectKind, header: Buffer, stream: Buffer): number;
}

/** A base and where it is stored; `pack` is undefined where it has to be made. */
export interface BasePlace {
  readonly oid: Oid;
  readonly pack: Pack | undefined;
  readonly offset: number;
  readonly position: number;
  /** Where its entry ends, where that is known. */
  end: number | undefined;
}

/** An entry that was copied. */
interface Copied {
  /** What {@link BaseSink.append} returned. */
  readonly entry: number;
  readonly offset: number;
  /** Deltas from here to a whole object. */
  readonly depth: number;
  readonly kind: ObjectKind;
}

/** The places of those objects that are here, neighbours in a pack next to each other. */
export function placesOf(source: BaseSource, oids: Iterable<Oid>): BasePlace[] {
  const places: BasePlace[] = [];
  const numbers = new Map<Pack, number>();
  if (source.locateAll === undefined) {
    for (const oid of oids) if (source.has(oid)) places.push(unpacked(oid));
    return places;
  }
  for (const [oid, at] of source.locateAll(oids)) {
    if (at.kind === "loose") {
      places.push(unpacked(oid));
      continue;
    }
    places.push({ oid, pack: at.pack, offset: at.offset, position: at.position, end: undefined });
    if (!numbers.has(at.pack)) numbers.set(at.pack, numbers.size);
  }
  const numberOf = (place: BasePlace): number => (place.pack === undefined ? -1 : numbers.get(place.pack)!);
  return places.sort((a, b) => numberOf(a) - numberOf(b) || a.offset - b.offset);
}

function unpacked(oid: Oid): BasePlace {
  return { oid, pack: undefined, offset: 0, position: 0, end: undefined };
}

/** Finds where the entries of many bases end. `places` are sorted as {@link placesOf} does, no object twice. */
export function findEnds(places: readonly BasePlace[]): void {
  for (let first = 0; first < places.length; ) {
    const { pack } = places[first]!;
    let next = first + 1;
    while (next < places.length && places[next]!.pack === pack) next++;
    const group = places.slice(first, next);
    first = next;
    if (pack === undefined || group.length * BULK_SHARE < pack.count) continue;
    const ends = pack.entryEnds(Float64Array.from(group, (place) => place.offset));
    group.forEach((place, i) => {
      place.end = ends[i]!;
    });
  }
}

export class BaseCopier {
  readonly #source: BaseSource;
  readonly #sink: BaseSink;
  readonly #copied = new Map<Oid, Copied>();
  /** Bases come sorted by pack: one window will do. */
  #sweep: PackSweep | undefined;
  readonly #header = Buffer.allocUnsafeSlow(MAX_ENTRY_HEADER);

  constructor(source: BaseSource, sink: BaseSink) {
    this.#source = source;
    this.#sink = sink;
  }

  /** Adds the base where it is not there yet. Throws BAD_OBJECT where it is gone, CORRUPT where it is damaged. */
  add(place: BasePlace): void {
    if (this.#copied.has(place.oid)) return;
    if (!this.#attempt(place, (pack) => this.#copy(place.oid, pack, this.#storedEntry(place, pack)))) {
      this.#make(place.oid, this.#read(place.oid));
    }
  }

  /** As {@link add}; returns the number of the base's entry and the object, whose data is good until the next call. */
  addAndRead(place: BasePlace): { readonly entry: number; readonly object: GitObject } {
    const { oid } = place;
    let object: GitObject | undefined;
    if (!this.#copied.has(oid)) {
      const isCopied = this.#attempt(place, (pack) => {
        object = this.#sweepOf(pack).smallObject(place.offset);
        if (object !== undefined) {
          const { kind, data, stream } = object as SweptObject;
          this.#append(oid, { kind, size: data.length, base: undefined, baseOffset: -1, data: stream }, undefined);
          return true;
        }
        object = pack.read(place.offset);
        return this.#copy(oid, pack, pack.rawEntry(place.offset));
      });
      if (!isCopied) {
        object ??= this.#read(oid);
        this.#make(oid, object);
      }
    }
    return { entry: this.#copied.get(oid)!.entry, object: object ?? this.#read(oid) };
  }

  /** False where there is no pack to copy from, or none any more, or its copy is damaged: there may be another. */
  #attempt(place: BasePlace, copy: (pack: Pack) => boolean): boolean {
    if (place.pack === undefined) return false;
    try {
      return copy(place.pack);
    } catch (error) {
      if (isMissing(error) || (error instanceof KvError && error.code === "CORRUPT")) return false;
      throw error;
    }
  }

  /** Copies the entry, after those it is a delta of; false where that would not do. */
  #copy(first: Oid, pack: Pack, entry: RawEntry): boolean {
    const chain: { oid: Oid; entry: RawEntry }[] = [{ oid: first, entry }];
    let base: Copied | undefined;
    for (let last = entry; last.base !== undefined; ) {
      const oid = last.base;
      base = this.#copied.get(oid);
      if (base !== undefined) break;
      // Were the pack to hold it twice, a delta could come to lie below itself.
      if (chain.length > MAX_CHAIN || this.#sink.has(oid)) return false;
      last = pack.rawEntry(last.baseOffset);
      chain.push({ oid, entry: last });
    }
    if ((base?.depth ?? -1) + chain.length > MAX_CHAIN) return false;
    for (let link = chain.pop(); link !== undefined; link = chain.pop())
      base = this.#append(link.oid, link.entry, base);
    return true;
  }

  #append(oid: Oid, { kind, size, data }: RawEntry, base: Copied | undefined): Copied {
    const { format, position } = this.#sink;
    const type = kind === undefined ? ENTRY.ofsDelta : kindType(kind);
    const distance = kind === undefined ? position - base!.offset : 0;
    const header = this.#header.subarray(0, encodeEntryHeader(this.#header, format, type, size, distance, undefined));
    const itsKind = kind ?? base!.kind;
    const entry = this.#sink.append(oid, itsKind, header, data);
    const depth = kind === undefined ? base!.depth + 1 : 0;
    const copied = { entry, offset: position, depth, kind: itsKind };
    this.#copied.set(oid, copied);
    return copied;
  }

  /** Adds the object whole. */
  #make(oid: Oid, { kind, data }: GitObject): void {
    const entry = { kind, size: data.length, base: undefined, baseOffset: -1, data: deflate(data) };
    this.#append(oid, entry, undefined);
  }

  #storedEntry({ offset, position, end }: BasePlace, pack: Pack): RawEntry {
    return end === undefined ? pack.rawEntry(offset) : this.#sweepOf(pack).rawEntryAt({ offset, position, end });
  }

  #sweepOf(pack: Pack): PackSweep {
    if (this.#sweep?.pack !== pack) this.#sweep = new PackSweep(pack);
    return this.#sweep;
  }

  #read(oid: Oid): GitObject {
    const object = this.#source.read(oid);
    if (object === undefined) throw new KvError("BAD_OBJECT", `${oid}, the base of a delta, is missing`);
    return object;
  }
}
