/**
 * Writes a pack of listed objects as a stream (git: gitformat-pack; `git pack-objects --stdout`).
 *
 * What is stored compressed is taken over as it is: whole entries, and deltas whose base is in this pack too (written
 * before them) or, in a thin pack, with the receiver. A tree that is stored whole while one like it is at hand becomes a
 * delta; everything else is compressed anew. Packs all of whose objects are listed go first, as they are (pack-copy.ts).
 */

import { KvError } from "../../errors.ts";
import { TimeSlice } from "../../time-slice.ts";
import { isMissing } from "../disk.ts";
import { newHasher, type ObjectKind, type Oid } from "../object/oid.ts";
import { createDelta } from "../pack/delta-search.ts";
import { packHeader } from "../pack/pack-builder.ts";
import type { RawEntry } from "../pack/pack-entry.ts";
import {
  ENTRY,
  type EntryType,
  encodeOfsDistance,
  encodeTypeSize,
  kindType,
  MAX_ENTRY_HEADER,
} from "../pack/pack-entry.ts";
import { PACK_HEADER_BYTES } from "../pack/pack-file.ts";
import { deflate } from "../pack/zlib.ts";
import { deflatedLoose, looseHeader } from "../store/loose-stream.ts";
import type { ObjectStore } from "../store/object-store.ts";
import type { Span } from "./listed-objects.ts";
import type { ObjectList } from "./object-list.ts";
import { copyOf, entriesOf, type PackCopy } from "./pack-copy.ts";

export interface PackObjectsOptions {
  /** The receiver reads ofs-delta entries; without it deltas name their base by id. */
  readonly ofsDelta: boolean;
  /** The receiver adds bases it has. */
  readonly thin: boolean;
}

/** Figures of a pack, for the last line of progress. */
export interface PackStatistics {
  readonly objects: number;
  deltas: number;
  reused: number;
  reusedDeltas: number;
  /** Of packs that were taken over whole. */
  packReused: number;
  bytes: number;
}

/** The figures of a pack of `objects` before anything is written. */
export function newStatistics(objects: number): PackStatistics {
  return { objects, deltas: 0, reused: 0, reusedDeltas: 0, packReused: 0, bytes: 0 };
}

/** Chunks of about this size are handed on. */
const CHUNK = 128 * 1024;
/** Longest chain of deltas we make by joining those of several packs (git's own default for a pack). */
const MAX_DEPTH = 50;
/** Smaller trees are not worth a delta of their own. */
const MIN_DELTA = 256;
/** Stored entries of more bytes are read and handed on in pieces. */
const LARGE_ENTRY = 1024 * 1024;
/** Loose objects in smaller files are read whole, even where they inflate to more than {@link LARGE_ENTRY}. */
const LARGE_FILE = 64 * 1024;
/** Larger objects are not searched for a delta. */
const MAX_DELTA = 1024 * 1024;

const EMPTY = Buffer.alloc(0);

const UNWRITTEN = 0;
const IN_PROGRESS = -1;

/** Yields the pack of `list`, trailer included, in chunks that are good until the next is asked for. Throws CORRUPT where an object is missing or damaged. */
export async function* packObjects(
  store: ObjectStore,
  list: ObjectList,
  options: PackObjectsOptions,
  statistics: PackStatistics,
): AsyncGenerator<Buffer> {
  const { objects } = list;
  const writer = new EntryWriter(store, list, options, statistics);
  const hasher = newHasher(objects.format);
  const slice = new TimeSlice();
  writer.start(packHeader(objects.size));
  // A receiver without ofs-delta could not read what packs hold.
  const packs = options.ofsDelta ? [...store.packs()].sort((a, b) => b.count - a.count) : [];
  for (const pack of packs) {
    const copy = await copyOf(pack, objects, (number) => writer.isFree(number), slice);
    if (copy === undefined) continue;
    try {
      yield taken(writer, hasher);
      writer.skip(copy);
      for (const chunk of entriesOf(copy)) {
        hasher.update(chunk);
        yield chunk;
        if (slice.isOver()) await slice.pause();
      }
    } finally {
      copy.file.release();
    }
  }
  for (let index = 0; index < objects.size; index++) {
    for (let large = writer.write(index); large !== undefined; large = writer.write(index)) {
      for await (const piece of large) {
        writer.add(piece);
        if (writer.waiting >= CHUNK) yield taken(writer, hasher);
        if (slice.isOver()) await slice.pause();
      }
    }
    if (writer.waiting >= CHUNK) yield taken(writer, hasher);
    if (slice.isOver()) await slice.pause();
  }
  const last = writer.take();
  hasher.update(last);
  statistics.bytes = writer.position + objects.format.rawSize;
  yield last;
  yield hasher.digest() as Buffer;
}

function taken(writer: EntryWriter, hasher: ReturnType<typeof newHasher>): Buffer {
  const chunk = writer.take();
  hasher.update(chunk);
  return chunk;
}

/** The zlib stream of a large object, in pieces. */
type Pieces = Iterable<Buffer> | AsyncIterable<Buffer>;

/** An entry about to be written. */
interface Entry {
  /** Number in the list. */
  readonly index: number;
  /** Kind of a whole object, undefined for a delta. */
  readonly kind: ObjectKind | undefined;
  /** Bytes of the data before compression. */
  readonly size: number;
  readonly base: Oid | undefined;
  readonly data: Buffer;
  /** The data of a large entry. */
  readonly pieces?: Pieces | undefined;
  readonly isReused: boolean;
}

class EntryWriter {
  readonly #store: ObjectStore;
  readonly #list: ObjectList;
  readonly #options: PackObjectsOptions;
  readonly #statistics: PackStatistics;
  /** Where each object's entry starts, but for those in {@link #copied}; see UNWRITTEN and IN_PROGRESS. */
  readonly #offsets: Float64Array;
  /** What is added to the places of entries in packs that were taken over, by the spans of their objects. */
  readonly #copied = new Map<Span, number>();
  /** Deltas between each object and a whole one. */
  readonly #depths: Uint8Array;
  readonly #chunks: Buffer[] = [];
  /** Entries that wait for their bases, the one that is written next last. */
  readonly #stack: Entry[] = [];
  /** The data of the entry just begun, where it is large. */
  #large: Pieces | undefined;
  readonly #head = Buffer.alloc(MAX_ENTRY_HEADER);
  /** Bytes not yet taken. */
  waiting = 0;
  /** Bytes written so far. */
  position = 0;

  constructor(store: ObjectStore, list: ObjectList, options: PackObjectsOptions, statistics: PackStatistics) {
    this.#store = store;
    this.#list = list;
    this.#options = options;
    this.#statistics = statistics;
    this.#offsets = new Float64Array(list.objects.size);
    this.#depths = new Uint8Array(list.objects.size);
  }

  start(header: Buffer): void {
    this.#push(header);
  }

  /** Whether nothing has been written for the object of that number. */
  isFree(index: number): boolean {
    return this.#offsetOf(index) === UNWRITTEN;
  }

  /**
   * Counts the entries of a pack as written here; the caller hands them on. How deep they lie is not known: a delta of one of them
   * may come to lie at the end of two packs' chains, twice as deep as either.
   */
  skip({ pack, file, listed }: PackCopy): void {
    const shift = this.position - PACK_HEADER_BYTES;
    if (listed instanceof Uint32Array) {
      const offsets = pack.index.loadOffsets();
      for (let i = 0; i < listed.length; i++) this.#offsets[listed[i]!] = shift + offsets[i]!;
    } else this.#copied.set(listed, shift);
    this.position += file.end - PACK_HEADER_BYTES;
    this.#statistics.packReused += pack.count;
  }

  /** All bytes since the last call. */
  take(): Buffer {
    const chunk = Buffer.concat(this.#chunks);
    this.#chunks.length = 0;
    this.waiting = 0;
    return chunk;
  }

  /**
   * Writes the object of that number unless it was written, the bases it needs before it. Where it comes to a large one it returns
   * its data, which the caller adds before calling again.
   */
  write(index: number): Pieces | undefined {
    const stack = this.#stack;
    if (stack.length === 0) {
      if (!this.isFree(index)) return undefined;
      stack.push(this.#begin(index));
    }
    for (let entry = stack.at(-1); entry !== undefined; entry = stack.at(-1)) {
      const base = entry.base === undefined ? -1 : this.#list.objects.indexOf(entry.base);
      if (base >= 0 && this.isFree(base)) {
        stack.push(this.#begin(base));
        continue;
      }
      stack.pop();
      this.#emit(entry, base);
      const large = this.#large;
      this.#large = undefined;
      if (large !== undefined) return large;
    }
    return undefined;
  }

  /** Adds a piece of the large entry begun last. */
  add(piece: Buffer): void {
    this.#push(piece);
  }

  #offsetOf(index: number): number {
    const offset = this.#offsets[index]!;
    if (offset !== UNWRITTEN || this.#copied.size === 0) return offset;
    const { objects } = this.#list;
    const span = objects.spanOf(index);
    const shift = span === undefined ? undefined : this.#copied.get(span);
    return shift === undefined ? UNWRITTEN : shift + span!.index.offset(objects.placeIn(span!, index));
  }

  #begin(index: number): Entry {
    this.#offsets[index] = IN_PROGRESS;
    return this.#stored(index) ?? this.#made(index);
  }

  /** Writes an entry whose base, number `base` of the list where it is in it, is written or under way. */
  #emit(entry: Entry, base: number): void {
    // A base under way needs this object itself (two packs, each with one as a delta of the other); a chain may also
    // grow too long where packs are joined. Then the object is written whole.
    if (base >= 0 && (this.#offsetOf(base) === IN_PROGRESS || this.#depths[base]! >= MAX_DEPTH)) {
      this.#append(this.#whole(entry.index), -1);
      return;
    }
    if (base >= 0) this.#depths[entry.index] = this.#depths[base]! + 1;
    this.#append(entry, base);
  }

  #append(entry: Entry, base: number): void {
    const offset = this.position;
    const isOfs = base >= 0 && this.#options.ofsDelta;
    const head = this.#head;
    let end: number;
    if (entry.kind !== undefined) {
      end = encodeTypeSize(head, 0, kindType(entry.kind), entry.size);
    } else {
      const type: EntryType = isOfs ? ENTRY.ofsDelta : ENTRY.refDelta;
      end = encodeTypeSize(head, 0, type, entry.size);
      if (isOfs) end = encodeOfsDistance(head, end, offset - this.#offsetOf(base));
      else end += head.write(entry.base ?? "", end, "hex");
      this.#statistics.deltas++;
      if (entry.isReused) this.#statistics.reusedDeltas++;
    }
    if (entry.isReused) this.#statistics.reused++;
    this.#push(Buffer.from(head.subarray(0, end)));
    if (entry.pieces === undefined) this.#push(entry.data);
    else this.#large = entry.pieces;
    this.#offsets[entry.index] = offset;
  }

  #push(bytes: Buffer): void {
    this.#chunks.push(bytes);
    this.waiting += bytes.length;
    this.position += bytes.length;
  }

  /** The entry as it is stored, where it can be taken over. */
  #stored(index: number): Entry | undefined {
    const oid = this.#list.objects.oid(index);
    const raw = this.#rawEntry(oid);
    if (raw === undefined) return this.#largeLoose(index, oid);
    const { kind, size, base, data, pieces } = raw;
    if (base !== undefined) {
      return this.#isUsable(base) ? { index, kind, size, base, data, pieces, isReused: true } : undefined;
    }
    // Stored whole, but one like it is at hand.
    if (kind === "tree" && size >= MIN_DELTA && this.#isUsable(this.#list.likely(index))) return undefined;
    return { index, kind, size, base: undefined, data, pieces, isReused: true };
  }

  /** A large object that is loose: its data is compressed anew piece by piece. */
  #largeLoose(index: number, oid: Oid): Entry | undefined {
    const place = this.#store.locate(oid);
    if (place?.kind !== "loose") return undefined;
    const header = looseHeader(place.objectsDir, oid, LARGE_FILE);
    if (header === undefined || header.size <= LARGE_ENTRY) return undefined;
    const pieces = deflatedLoose(place.objectsDir, this.#store.format, oid, header);
    return { index, kind: header.kind, size: header.size, base: undefined, data: EMPTY, pieces, isReused: false };
  }

  /** The object's entry in a pack; undefined where it is loose, or a repack took the pack away just now. */
  #rawEntry(oid: Oid): RawEntry | undefined {
    const place = this.#store.locate(oid);
    if (place?.kind !== "packed") return undefined;
    try {
      return place.pack.rawEntry(place.offset, LARGE_ENTRY);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** True where the receiver can make a delta against that object. */
  #isUsable(base: Oid | undefined): base is Oid {
    if (base === undefined) return false;
    if (this.#list.objects.has(base)) return true;
    return this.#options.thin && this.#list.receiverHas(base);
  }

  /** A new entry: a delta against something alike, or the whole object. */
  #made(index: number): Entry {
    const likely = this.#list.likely(index);
    if (this.#isUsable(likely)) {
      const target = this.#read(index);
      const base = this.#store.read(likely);
      if (base?.kind === target.kind && isWorthIt(target.data) && isWorthIt(base.data)) {
        const delta = createDelta(base.data, target.data);
        if (delta !== undefined && delta.length < target.data.length / 2) {
          return { index, kind: undefined, size: delta.length, base: likely, data: deflate(delta), isReused: false };
        }
      }
    }
    return this.#whole(index);
  }

  #whole(index: number): Entry {
    const { kind, data } = this.#read(index);
    return { index, kind, size: data.length, base: undefined, data: deflate(data), isReused: false };
  }

  #read(index: number): { kind: ObjectKind; data: Buffer } {
    const oid = this.#list.objects.oid(index);
    const object = this.#store.read(oid);
    if (object === undefined) throw new KvError("CORRUPT", `object ${oid} is missing`);
    return object;
  }
}

function isWorthIt(data: Buffer): boolean {
  return data.length >= MIN_DELTA && data.length <= MAX_DELTA;
}
