/**
 * The entries of a pack that is being indexed, as parallel arrays: 37 bytes an object (sha1), 16 more for each delta. They
 * grow as entries arrive, so a declared count takes no memory by itself.
 */

import type { ObjectFormat, ObjectKind, Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { withRoom } from "./grow.ts";
import { KeptDeltas } from "./kept-deltas.ts";
import { entryKind, kindType } from "./pack-entry.ts";
import type { IndexedObjects } from "./pack-index-writer.ts";
import type { SeenObjects } from "./seen-objects.ts";

export class EntryList {
  readonly format: ObjectFormat;
  count = 0;
  /** Entry types as stored; a delta's becomes its object's when that is known. */
  types = new Uint8Array(64);
  offsets = new Float64Array(64);
  crcs = new Uint32Array(64);
  ids: Buffer;
  /** The deltas: their entry, the next delta of the same base, and the entry of the base once that is known. */
  deltaCount = 0;
  deltaEntries = new Uint32Array(64);
  nextSibling = new Int32Array(64);
  deltaBases = new Int32Array(64);
  /** Deltas that were resolved as they arrived: how many, and how deep each of them lies; 0 for others. */
  earlyCount = 0;
  #depths = new Uint32Array(64);
  /** First delta of each base in the pack that an ofs-delta names, by entry; -1 for none. */
  #firstChild = new Int32Array(0);
  /** Bases that ref-deltas name, and the first delta of each that still waits; -1 for none. */
  readonly refBases: OidTable;
  /** Ids that have been set; made when first asked for. */
  #known: OidTable | undefined;
  #firstByRef = new Int32Array(64).fill(-1);

  /** Entries met that hold the base of the same number; more than one: {@link hasBaseTwice}. */
  #met = new Uint32Array(64);
  /** Whether the base of a ref-delta is here more than once. */
  hasBaseTwice = false;
  /** Deltas by number, as far as they are kept. */
  readonly kept: KeptDeltas;
  /** Takes the objects that are decoded. */
  seen: SeenObjects | undefined;

  /** `keptBytes`: most bytes of inflated deltas held. */
  constructor(format: ObjectFormat, keptBytes: number) {
    this.format = format;
    this.kept = new KeptDeltas(keptBytes);
    this.ids = Buffer.allocUnsafe(64 * format.rawSize);
    this.refBases = new OidTable(format);
  }

  /** Adds an entry; returns its number. */
  add(type: number, offset: number, crc: number): number {
    const entry = this.count++;
    this.types = withRoom(this.types, entry);
    this.offsets = withRoom(this.offsets, entry);
    this.crcs = withRoom(this.crcs, entry);
    this.types[entry] = type;
    this.offsets[entry] = offset;
    this.crcs[entry] = crc;
    return entry;
  }

  /** Stores the raw id of `entry`. */
  setId(entry: number, id: Buffer): void {
    const at = entry * this.format.rawSize;
    if (at + this.format.rawSize > this.ids.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.ids.length * 2, at + this.format.rawSize));
      this.ids.copy(grown);
      this.ids = grown;
    }
    for (let i = 0; i < this.format.rawSize; i++) this.ids[at + i] = id[i]!;
    this.#known?.addRaw(id, 0);
  }

  /** Id of `entry`, raw, where it has been set; good until the next entry is added. */
  idOf(entry: number): Buffer {
    const at = entry * this.format.rawSize;
    return this.ids.subarray(at, at + this.format.rawSize);
  }

  /** Whether the object is here; that of a delta is once its id is known. */
  has(oid: Oid): boolean {
    this.#known ??= this.#knownIds();
    return this.#known.has(oid);
  }

  /** Number of the entry that starts at `offset`, or -1. */
  entryAt(offset: number): number {
    return search(this.offsets, this.count, offset);
  }

  /** Number of the delta that `entry` is, or -1. */
  deltaOf(entry: number): number {
    return search(this.deltaEntries, this.deltaCount, entry);
  }

  /** Notes that `entry` is a delta of the entry `base`. */
  addOfsDelta(entry: number, base: number): void {
    if (this.#firstChild.length < this.count) {
      const length = this.#firstChild.length;
      this.#firstChild = withRoom(this.#firstChild, Math.max(this.count, this.types.length) - 1).fill(-1, length);
    }
    const delta = this.#addDelta(entry, this.#firstChild[base]!);
    this.#firstChild[base] = delta;
  }

  /** Notes that `entry` is a delta of the object with the raw id at `bytes[at]`. */
  addRefDelta(entry: number, bytes: Buffer, at: number): void {
    const base = this.refBases.addRaw(bytes, at);
    if (base >= this.#firstByRef.length) {
      const length = this.#firstByRef.length;
      this.#firstByRef = withRoom(this.#firstByRef, base).fill(-1, length);
    }
    const delta = this.#addDelta(entry, this.#firstByRef[base]!);
    this.#firstByRef[base] = delta;
  }

  /** Notes that `entry` is a delta of the entry `base`, makes an object of `kind` and is the last of a chain of `depth` deltas. */
  addResolved(entry: number, base: number, kind: ObjectKind, depth: number): void {
    const delta = this.#addDelta(entry, -1);
    this.deltaBases[delta] = base;
    this.types[entry] = kindType(kind);
    this.#depths = withRoom(this.#depths, delta);
    this.#depths[delta] = depth;
    this.earlyCount++;
  }

  /** Deltas in the chain of `entry`, a whole object or a delta that was resolved as it arrived; 0 for any other. */
  depthOf(entry: number): number {
    const delta = this.earlyCount === 0 ? -1 : this.deltaOf(entry);
    return delta < 0 ? 0 : (this.#depths[delta] ?? 0);
  }

  /** First ofs-delta of `entry`, or -1. */
  firstChild(entry: number): number {
    return this.#firstChild[entry] ?? -1;
  }

  /** First ref-delta that waits for base `ref`, or -1. */
  waiting(ref: number): number {
    return this.#firstByRef[ref]!;
  }

  /** Takes the ref-deltas that wait for the id of `entry`: the first of them, or -1. They are given out once. Asked once for each entry. */
  takeRefChildren(entry: number): number {
    if (this.refBases.size === 0) return -1;
    const ref = this.refBases.indexOfRaw(this.ids, entry * this.format.rawSize);
    if (ref < 0) return -1;
    this.#met = withRoom(this.#met, ref);
    if (this.#met[ref]!++ > 0) this.hasBaseTwice = true;
    const first = this.#firstByRef[ref]!;
    this.#firstByRef[ref] = -1;
    return first;
  }

  /** What the index is to say. */
  indexed(): IndexedObjects {
    return { count: this.count, ids: this.ids, offsets: this.offsets, crcs: this.crcs };
  }

  #knownIds(): OidTable {
    const known = new OidTable(this.format, this.count);
    for (let entry = 0; entry < this.count; entry++) {
      if (entryKind(this.types[entry]!) !== undefined) known.addRaw(this.ids, entry * this.format.rawSize);
    }
    return known;
  }

  #addDelta(entry: number, next: number): number {
    const delta = this.deltaCount++;
    this.deltaEntries = withRoom(this.deltaEntries, delta);
    this.nextSibling = withRoom(this.nextSibling, delta);
    this.deltaBases = withRoom(this.deltaBases, delta);
    this.deltaEntries[delta] = entry;
    this.nextSibling[delta] = next;
    this.deltaBases[delta] = -1;
    return delta;
  }
}

/** Index of `value` among the first `count`, ascending, members of `array`, or -1. */
export function search(array: Float64Array | Uint32Array, count: number, value: number): number {
  let low = 0;
  let high = count - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const found = array[middle]!;
    if (found === value) return middle;
    if (found < value) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
