/**
 * Completes a thin pack: the bases it lacks are put at its end (git: pack-objects --thin, index-pack --fix-thin).
 *
 * An entry is copied as it is stored, still compressed, wherever it lies whole in a pack: 23,000 trees of 6 KB take 0.25 s,
 * and took 1.5 s inflated and deflated again. Of a base that is itself a delta the whole object that it leads to is copied,
 * and a delta against that made of those on the way.
 */

import { type Code, KvError } from "../../errors.ts";
import { isMissing } from "../disk.ts";
import type { GitObject, ObjectSource } from "../object/object.ts";
import type { ObjectFormat, ObjectKind, Oid } from "../object/oid.ts";
import { applyDelta, deltaSizes } from "./delta.ts";
import { composeDeltas } from "./delta-compose.ts";
import { ENTRY, encodeEntryHeader, kindType, MAX_ENTRY_HEADER, type RawEntry } from "./pack-entry.ts";
import type { Pack } from "./pack-reader.ts";
import { PackSweep, type SweptObject } from "./pack-sweep.ts";
import type { RecentBases, RootedObject, WholeObject } from "./recent-bases.ts";
import { deflate, inflateAt } from "./zlib.ts";

/** Longest chain of deltas that is followed (as git's pack.depth). */
const MAX_CHAIN = 50;
/** A delta is worth keeping up to this part of what it makes: beyond, the object itself is hardly larger. */
const WORTH = 3;
/** Codes of damage met while copying. */
const DAMAGE: ReadonlySet<Code> = new Set<Code>(["CORRUPT", "BAD_OBJECT"]);
/** From this share of a pack's entries on, their ends are looked up together and not found by inflating each. */
const BULK_SHARE = 512;

/** Objects for bases: where it can say in which pack one is, that one is copied. */
export interface BaseSource extends ObjectSource {
  /** How what came lately is made of whole objects. */
  readonly recentBases?: RecentBases | undefined;
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
  /** How it is made of a whole object, where that is known. */
  readonly rooted?: RootedObject;
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
  const others: Oid[] = [];
  for (const oid of oids) {
    const rooted = source.recentBases?.get(oid);
    if (rooted === undefined) others.push(oid);
    else places.push({ ...unpacked(oid), rooted });
  }
  if (source.locateAll === undefined) {
    for (const oid of others) if (source.has(oid)) places.push(unpacked(oid));
    return places;
  }
  for (const [oid, at] of source.locateAll(others)) {
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
  readonly #remembers: boolean;
  readonly #copied = new Map<Oid, Copied>();
  /** How what {@link addAndRead} added is made of whole objects, as far as that is known; where `remembers` says so. */
  readonly rooted = new Map<Oid, RootedObject>();
  /** Bases come sorted by pack: one window will do. */
  #sweep: PackSweep | undefined;
  readonly #header = Buffer.allocUnsafeSlow(MAX_ENTRY_HEADER);

  constructor(source: BaseSource, sink: BaseSink, remembers = false) {
    this.#source = source;
    this.#sink = sink;
    this.#remembers = remembers;
  }

  /** Adds the base where it is not there yet. Throws BAD_OBJECT where it is gone, CORRUPT where it is damaged. */
  add(place: BasePlace): void {
    if (this.#copied.has(place.oid) || this.#addRooted(place)) return;
    if (!this.#attempt(place, (pack) => this.#copy(place.oid, pack, this.#storedEntry(place, pack)))) {
      this.#make(place.oid, this.#read(place.oid));
    }
  }

  /** As {@link add}; returns the number of the base's entry and the object, whose data is good until the next call. */
  addAndRead(place: BasePlace): { readonly entry: number; readonly object: GitObject } {
    const { oid } = place;
    let object: GitObject | undefined;
    if (!this.#copied.has(oid) && !this.#addRooted(place)) {
      const isCopied = this.#attempt(place, (pack) => {
        object = this.#sweepOf(pack).smallObject(place.offset);
        if (object !== undefined) {
          const { kind, data, stream } = object as SweptObject;
          this.#append(oid, { kind, size: data.length, base: undefined, baseOffset: -1, data: stream }, undefined);
          this.#remember(oid, { oid, kind, size: data.length, stream });
          return true;
        }
        const entry = pack.rawEntry(place.offset);
        const made = entry.kind === undefined ? this.#copyDelta(oid, pack, entry) : undefined;
        object = made?.root === undefined ? pack.read(place.offset) : applied(made.root, made.delta);
        return made !== undefined || (entry.kind !== undefined && this.#copy(oid, pack, entry));
      });
      if (!isCopied) {
        object ??= this.#read(oid);
        this.#make(oid, object);
      }
    }
    return { entry: this.#copied.get(oid)!.entry, object: object ?? this.#read(oid) };
  }

  /** Adds a base of which it is known how it is made of a whole object; false where it is not, or that would not do. */
  #addRooted({ oid, rooted }: BasePlace): boolean {
    if (rooted === undefined) return false;
    const { root, deltas } = rooted;
    const whole = { kind: root.kind, size: root.size, base: undefined, baseOffset: -1, data: root.stream };
    const [first, ...rest] = deltas;
    if (first === undefined) {
      this.#append(oid, whole, undefined);
      this.rooted.set(oid, rooted);
      return true;
    }
    const delta = rest.reduce((before, after) => composeDeltas(before, after), first);
    if (delta.length * WORTH > deltaSizes(delta).targetSize) return false;
    let base = this.#copied.get(root.oid);
    if (base === undefined && this.#sink.has(root.oid)) return false;
    base ??= this.#append(root.oid, whole, undefined);
    if (base.depth !== 0) return false;
    this.#append(oid, { ...whole, kind: undefined, size: delta.length, data: deflate(delta, delta.length) }, base);
    this.rooted.set(oid, { root, deltas: [delta] });
    return true;
  }

  /** Notes that the object `oid` is `delta`, where it is one, of `root`. The buffers are used again. */
  #remember(oid: Oid, root: WholeObject, delta?: Buffer): void {
    if (!this.#remembers) return;
    const stream = Buffer.from(root.stream);
    this.rooted.set(oid, { root: { ...root, stream }, deltas: delta === undefined ? [] : [Buffer.from(delta)] });
  }

  /** False where there is no pack to copy from, or none any more, or its copy is damaged: there may be another. */
  #attempt(place: BasePlace, copy: (pack: Pack) => boolean): boolean {
    if (place.pack === undefined) return false;
    try {
      return copy(place.pack);
    } catch (error) {
      if (isMissing(error) || (error instanceof KvError && DAMAGE.has(error.code))) return false;
      throw error;
    }
  }

  /** Copies the entry; false where that would not do. */
  #copy(oid: Oid, pack: Pack, entry: RawEntry): boolean {
    if (entry.kind === undefined) return this.#copyDelta(oid, pack, entry) !== undefined;
    this.#append(oid, entry, undefined);
    return true;
  }

  /**
   * Copies a delta: the whole object at the end of its chain, where that is not here yet, and one delta made of the chain's. So a
   * base lies one delta deep however often its object has changed. Returns that delta, and the object where it was just read;
   * undefined where the copy would not do.
   */
  #copyDelta(oid: Oid, pack: Pack, entry: RawEntry): { delta: Buffer; root: RawEntry | undefined } | undefined {
    let delta: Buffer | undefined;
    let link = entry;
    for (let links = 1; links <= MAX_CHAIN && link.base !== undefined; links++) {
      const { base } = link;
      const { data } = inflateAt(link.data, 0, link.size);
      delta = delta === undefined ? data : composeDeltas(data, delta);
      if (delta.length * WORTH > deltaSizes(delta).targetSize) return undefined;
      let root = this.#copied.get(base);
      if (root?.depth !== 0) {
        link = pack.rawEntry(link.baseOffset);
        if (link.kind === undefined) continue;
        // Were the new pack to hold the object twice, a delta could come to lie below itself.
        if (root !== undefined || this.#sink.has(base)) return undefined;
        root = this.#append(base, link, undefined);
      }
      // Stored: ids and texts of a few bytes hardly compress, and deflating a kilobyte takes 15 us.
      const stream = links === 1 ? entry.data : deflate(delta, delta.length);
      this.#append(oid, { ...entry, size: delta.length, data: stream }, root);
      if (link.kind !== undefined)
        this.#remember(oid, { oid: base, kind: link.kind, size: link.size, stream: link.data }, delta);
      return { delta, root: link.kind === undefined ? undefined : link };
    }
    return undefined;
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
    this.#remember(oid, { oid, kind, size: data.length, stream: entry.data });
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

function applied(root: RawEntry, delta: Buffer): GitObject {
  return { kind: root.kind!, data: applyDelta(inflateAt(root.data, 0, root.size).data, delta) };
}
