/**
 * Reads objects out of a pack on disk (git: gitformat-pack).
 *
 * One object costs one read of 12 KiB in most cases, which holds its header and its data (a tree of 256 entries takes 8), and often serves the links
 * of its chain and the next objects as well. The pack's file stays open while it is used, so another process may delete it
 * (gc, repack) meanwhile.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { GitObject } from "../object/object.ts";
import { hashObject, type ObjectFormat, type ObjectKind, type Oid } from "../object/oid.ts";
import { applyDelta } from "./delta.ts";
import { ObjectCache } from "./object-cache.ts";
import { ENTRY, type EntryHeader, type EntryInfo, type EntryPlace, entryKind, type RawEntry } from "./pack-entry.ts";
import { type HeldParts, PACK_HEADER_BYTES, PackFile } from "./pack-file.ts";
import { PackIndex } from "./pack-index.ts";
import { entryEnds, PackOrder } from "./pack-order.ts";
import { PAGE_BYTES, page } from "./pack-page.ts";
import { beginsStored, storedAt, unstore } from "./stored-stream.ts";
import { WalkedChains } from "./walked-chains.ts";
import { deflateBound, inflateAt, inflateFew, inflateInto, maxStream, mayInflateFew, TRUNCATED } from "./zlib.ts";

/** Data up to this size is copied out of a buffer that is used again; more is inflated to where it stays. */
const COPIED_BYTES = 4 * 1024;
const EMPTY = Buffer.alloc(0);
/** Bytes of a large entry read at once. */
const PIECE_BYTES = 128 * 1024;
/** Deltas of one chain kept inflated on the way to its base; beyond that they are read a second time. */
const CHAIN_BYTES = 16 * 1024 * 1024;
/** Objects up to this size are made in memory that is used again, where they are links of a chain only. */
const PASSING_BYTES = 64 * 1024;
const DEFAULT_CACHE_BYTES = 16 * 1024 * 1024;

/** Longest entry that is read. */
const MAX_ENTRY = maxStream(LIMITS.objectBytes);

const passing = [Buffer.allocUnsafeSlow(PASSING_BYTES), Buffer.allocUnsafeSlow(PASSING_BYTES)] as const;
let serials = 0;

export class Pack {
  readonly path: string;
  readonly format: ObjectFormat;
  readonly #cache: ObjectCache;
  readonly #serial = serials++;
  #index: PackIndex | undefined;
  #order: PackOrder | undefined;
  #orderAsked = 0;
  readonly #file: PackFile;
  readonly #walked = new WalkedChains();

  /** `path` ends in ".pack"; the index beside it ends in ".idx". Files are opened when first needed; `held` need not be read from them. */
  constructor(path: string, format: ObjectFormat, cache?: ObjectCache, held?: HeldParts) {
    this.path = path;
    this.format = format;
    this.#cache = cache ?? new ObjectCache(DEFAULT_CACHE_BYTES);
    this.#index = held?.index;
    this.#file = new PackFile(path, format, held?.pack);
  }

  /** The pack's index. Throws CORRUPT where it is damaged; ENOENT where it is gone. */
  get index(): PackIndex {
    this.#index ??= new PackIndex(`${this.path.slice(0, -".pack".length)}.idx`, this.format);
    return this.#index;
  }

  /** Objects in the pack. */
  get count(): number {
    return this.index.count;
  }

  /** Offset of the object, or -1. */
  find(oid: Oid): number {
    const position = this.index.find(oid);
    return position < 0 ? -1 : this.index.offset(position);
  }

  /** As {@link find} for the raw id at `oid[at]`. */
  findRaw(oid: Buffer, at: number): number {
    const position = this.index.findRaw(oid, at);
    return position < 0 ? -1 : this.index.offset(position);
  }

  /** The object whose entry is at `offset`; its data in `into` where that has room, compared as ObjectSource.readInto says. Throws CORRUPT, LIMIT_EXCEEDED. */
  read(offset: number, into?: Buffer, isCompared = into !== undefined): GitObject {
    const chain: { offset: number; delta: Buffer | undefined }[] = [];
    let held = 0;
    let at = offset;
    let object = this.#cache.get(this.#key(at));
    for (let from: number | undefined; object === undefined; object = this.#cache.get(this.#key(at))) {
      const header = this.#header(at, from);
      const kind = entryKind(header.type);
      if (kind !== undefined) {
        object = { kind, data: this.#inflate(at, header, chain.length === 0 ? into : undefined, isCompared) };
        break;
      }
      if (chain.length >= LIMITS.deltaDepth) {
        throw new KvError(
          "LIMIT_EXCEEDED",
          `${this.#file.place(offset)}: more than ${LIMITS.deltaDepth} deltas in a chain`,
        );
      }
      const base = this.#baseOffset(at, header, page.bytes);
      held += header.size;
      chain.push({ offset: at, delta: held <= CHAIN_BYTES ? this.#inflate(at, header) : undefined });
      from = at;
      at = base;
    }
    if (chain.length === 0) return object;
    // Most chains that are walked once never are again: of those what was there just before is kept, which is often asked for next, and what
    // else is on the way is made where nothing is kept.
    const isKept = this.#walked.isAgain(at);
    for (let link = chain.pop(); link !== undefined; link = chain.pop()) {
      if (isKept || chain.length === 0) this.#cache.set(this.#key(at), object);
      at = link.offset;
      const delta = link.delta ?? this.#inflate(at, this.#header(at));
      const passed = isKept || chain.length < 2 ? undefined : passing[chain.length % 2];
      object = { kind: object.kind, data: this.#apply(at, object.data, delta, chain.length === 0 ? into : passed) };
    }
    // What is asked for next is often a delta of it.
    if (into === undefined) this.#cache.set(this.#key(offset), object);
    return object;
  }

  /** Kind of the object whose entry is at `offset`, following its chain without inflating anything. */
  kind(offset: number): ObjectKind {
    let at = offset;
    for (let depth = 0; depth <= LIMITS.deltaDepth; depth++) {
      const header = this.#header(at);
      const kind = entryKind(header.type);
      if (kind !== undefined) return kind;
      at = this.#baseOffset(at, header, page.bytes);
    }
    throw new KvError(
      "LIMIT_EXCEEDED",
      `${this.#file.place(offset)}: more than ${LIMITS.deltaDepth} deltas in a chain`,
    );
  }

  /** What the entry at `offset` is, without its data. */
  entryInfo(offset: number): EntryInfo {
    const header = this.#header(offset);
    const { type, size, length } = header;
    return {
      kind: entryKind(type),
      size,
      baseOffset: this.#baseOf(offset, header, page.bytes),
      dataOffset: offset + length,
    };
  }

  /**
   * The entry at `offset` as it is stored. Its CRC is checked, or its data inflated. With `most`, an entry of more bytes comes in
   * pieces where the index tells its CRC. Throws CORRUPT on damage.
   */
  rawEntry(offset: number, most: number = Number.POSITIVE_INFINITY): RawEntry {
    const order = this.#orderIfWorthIt() ?? (most < this.#header(offset).size ? this.order() : undefined);
    if (order === undefined) return this.inflatedEntry(offset).entry;
    const rank = order.rank(offset);
    const place = { offset, end: order.endOf(rank), position: order.positionOf(rank) };
    const crc = place.end - offset > most ? this.index.crc(place.position) : undefined;
    return crc === undefined ? this.rawEntryAt(place) : this.#largeEntry(place, crc);
  }

  #largeEntry(place: EntryPlace, crc: number): RawEntry {
    const header = this.#header(place.offset);
    return {
      ...this.#raw(header, this.#baseOf(place.offset, header, page.bytes), EMPTY),
      pieces: this.#pieces(place, header.length, crc),
    };
  }

  *#pieces({ offset, end }: EntryPlace, headerLength: number, crc: number): Generator<Buffer> {
    let sum = 0;
    for (let at = offset; at < end; ) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, end - at));
      this.#opened().readFully(piece, piece.length, at, offset);
      sum = Bun.hash.crc32(piece, sum);
      yield at === offset ? piece.subarray(headerLength) : piece;
      at += piece.length;
    }
    if (sum !== crc) throw this.#file.corrupt(offset, "its checksum is wrong");
  }

  /** As {@link rawEntry}, of an entry whose end and position are known (see {@link entryEnds}). */
  rawEntryAt(place: EntryPlace): RawEntry {
    return this.rawEntryIn(this.entryBytes(place), place.offset, place.position);
  }

  /** The entry's bytes, header included, as they are. */
  entryBytes({ offset, end }: EntryPlace): Buffer {
    const file = this.#opened();
    if (!(end > offset && end - offset < MAX_ENTRY)) throw file.corrupt(offset, "its length is absurd");
    const bytes = Buffer.allocUnsafe(end - offset);
    file.readFully(bytes, bytes.length, offset, offset);
    return bytes;
  }

  /** As {@link rawEntryAt}, of an entry that has been read: `bytes` holds it and nothing else. */
  rawEntryIn(bytes: Buffer, offset: number, position: number): RawEntry {
    const header = this.verify(bytes, offset, position);
    return this.#raw(header, this.#baseOf(offset, header, bytes), bytes.subarray(header.length));
  }

  /** Checks an entry that has been read by its CRC, or by inflating it; returns its header. Throws CORRUPT on damage. */
  verify(bytes: Buffer, offset: number, position: number): EntryHeader {
    const file = this.#file;
    const header = file.header(offset, bytes, 0, bytes.length);
    const crc = this.index.crc(position);
    if (crc === undefined) file.decoding(offset, () => inflateAt(bytes, header.length, header.size));
    else if (crc !== Bun.hash.crc32(bytes)) throw file.corrupt(offset, "its checksum is wrong");
    return header;
  }

  /** The entry at `offset` as it is stored, and its data, which for a delta is the delta. Throws CORRUPT on damage. */
  inflatedEntry(offset: number): { readonly entry: RawEntry; readonly data: Buffer } {
    const header = this.#header(offset);
    const baseOffset = this.#baseOf(offset, header, page.bytes);
    const { data, stream } = this.#inflateKeeping(offset, header);
    return { entry: this.#raw(header, baseOffset, stream), data };
  }

  /**
   * Where the entries at the ascending offsets `wanted` end. Reads all offsets of the pack but keeps nothing: for a few hundredths
   * of the pack's entries, or more of them, cheaper than inflating each to find its end.
   */
  entryEnds(wanted: Float64Array): Float64Array {
    if (this.#order !== undefined) return wanted.map((offset) => this.#order!.end(offset));
    return entryEnds(this.index.loadOffsets(), wanted, this.#opened().end);
  }

  /** Id of the object whose entry is at `offset`. */
  oidAt(offset: number): Oid {
    const order = this.#orderIfWorthIt();
    if (order !== undefined) return this.index.oid(order.position(offset));
    const { kind, data } = this.read(offset);
    return hashObject(this.format, kind, data);
  }

  /** The pack's objects in the order of their entries: loads a table of 12 bytes an object, and most indexes. */
  order(): PackOrder {
    if (this.#order === undefined) {
      this.index.keep();
      this.#order = new PackOrder(this.path, this.index.loadOffsets(), this.#opened().end);
    }
    return this.#order;
  }

  /** Opens the pack's file where it is not open, and hands it out for reading. Throws ENOENT where it is gone, CORRUPT where it is damaged. */
  open(): PackFile {
    return this.#opened();
  }

  /** Gives back the file descriptors; what is in memory stays, files are opened again when needed. */
  release(): void {
    this.#file.release();
    this.#index?.release();
  }

  /** Closes both files and frees memory; the pack may be used again. */
  close(): void {
    this.#file.release();
    this.#index?.close();
    this.#index = undefined;
    this.#order = undefined;
  }

  #key(offset: number): string {
    return `${this.#serial}.${offset}`;
  }

  /** Few entries are looked up by inflating them; from a sixty-fourth of the pack on the table is cheaper. */
  #orderIfWorthIt(): PackOrder | undefined {
    if (this.#order !== undefined) return this.#order;
    return this.#orderAsked++ * 64 < this.count ? undefined : this.order();
  }

  /** `data` is the entry's stream; what else was read into {@link page} may be gone afterwards. */
  #raw({ type, size }: EntryHeader, baseOffset: number, data: Buffer): RawEntry {
    return { kind: entryKind(type), size, baseOffset, base: baseOffset < 0 ? undefined : this.oidAt(baseOffset), data };
  }

  /** The header at `offset`; {@link page} then holds the bytes that follow it. `delta` is the entry whose base it is, where that is known. */
  #header(offset: number, delta?: number): EntryHeader {
    return page.header(this.#opened(), offset, delta);
  }

  /** Data of the entry whose `header` was just read into {@link page}. */
  #inflate(offset: number, header: EntryHeader, into?: Buffer, isCompared = false): Buffer {
    try {
      const { size, length } = header;
      const stored = storedAt(page.bytes, page.at + length, page.end, size);
      if (stored !== undefined) return stored;
      if (mayInflateFew(size)) {
        const few = inflateFew(this.#fewBytes(offset, length, size), size);
        if (few !== undefined) return few;
      }
      const output = outputFor(size, into);
      if (this.#inflateFromPage(header, output) >= 0)
        return output === small ? Buffer.copyBytesFrom(small, 0, size) : output.subarray(0, size);
      return this.#stored(offset, header, into, isCompared) ?? this.#inflateStream(offset, header).data;
    } catch (error) {
      throw this.#file.located(offset, error);
    }
  }

  /** Large data that is stored and not compressed, in `into` where that has room; undefined for any other. */
  #stored(offset: number, { size, length }: EntryHeader, into?: Buffer, isCompared = false): Buffer | undefined {
    if (size <= PAGE_BYTES * 2 || !beginsStored(page.bytes, page.at + length)) return undefined;
    const most = Math.min(deflateBound(size), this.#file.end - offset - length);
    const stream = into !== undefined && into.length >= most ? into.subarray(0, most) : Buffer.allocUnsafeSlow(most);
    this.#file.readFully(stream, most, offset + length, offset);
    return unstore(stream, size, isCompared && into !== undefined);
  }

  /** What most probably holds the whole stream of an entry: the rest of {@link page}, or as much as it can take. */
  #fewBytes(offset: number, length: number, size: number): Buffer {
    if (size <= PAGE_BYTES * 2) return page.bytes.subarray(page.at + length, Math.min(page.at + PAGE_BYTES, page.end));
    const start = offset + length;
    const stream = Buffer.allocUnsafeSlow(Math.min(deflateBound(size), this.#file.end - start));
    this.#file.readFully(stream, stream.length, start, offset);
    return stream;
  }

  /** As {@link #inflate}, together with the compressed stream. */
  #inflateKeeping(offset: number, header: EntryHeader): { data: Buffer; stream: Buffer } {
    return this.#file.decoding(offset, () => {
      const { size, length } = header;
      const consumed = this.#inflateFromPage(header, small);
      if (consumed < 0) return this.#inflateStream(offset, header);
      const stream = Buffer.copyBytesFrom(page.bytes, page.at + length, consumed);
      return { data: Buffer.copyBytesFrom(small, 0, size), stream };
    });
  }

  /** Inflates into `output` a stream that most probably ends inside {@link page}; its length, or {@link TRUNCATED}. */
  #inflateFromPage({ size, length }: EntryHeader, output: Buffer): number {
    if (size > PAGE_BYTES * 2) return TRUNCATED;
    return inflateInto(page.bytes, page.at + length, page.end, output, size);
  }

  #inflateStream(offset: number, { size, length }: EntryHeader): { data: Buffer; stream: Buffer } {
    const start = offset + length;
    const output = Buffer.allocUnsafeSlow(size + 1);
    // Streams longer than any sensible encoder makes them are legal: the second try reads on.
    for (const bound of [deflateBound(size), maxStream(size)]) {
      const stream = Buffer.allocUnsafeSlow(Math.max(1, Math.min(bound, this.#file.end - start)));
      this.#file.readFully(stream, stream.length, start, offset);
      const consumed = inflateInto(stream, 0, stream.length, output, size);
      if (consumed !== TRUNCATED) return { data: output.subarray(0, size), stream: stream.subarray(0, consumed) };
    }
    throw new KvError("BAD_OBJECT", "compressed data does not end");
  }

  /** Where the base of the entry at `offset` is, -1 for a whole object; its header was read from `bytes`. */
  #baseOf(offset: number, header: EntryHeader, bytes: Buffer): number {
    return entryKind(header.type) === undefined ? this.#baseOffset(offset, header, bytes) : -1;
  }

  /** Where the base of the delta at `offset` is, whose header was read from `bytes`. */
  #baseOffset(offset: number, header: EntryHeader, bytes: Buffer): number {
    if (header.type === ENTRY.ofsDelta) {
      const base = offset - header.baseDistance;
      if (header.baseDistance === 0 || base < PACK_HEADER_BYTES)
        throw this.#file.corrupt(offset, "its base lies outside the pack");
      return base;
    }
    bytes.copy(baseOid, 0, header.baseAt, header.baseAt + this.format.rawSize);
    const base = this.findRaw(baseOid, 0);
    if (base < 0)
      throw this.#file.corrupt(offset, `its base ${baseOid.hexSlice(0, this.format.rawSize)} is not in the pack`);
    return base;
  }

  #apply(offset: number, base: Buffer, delta: Buffer, into: Buffer | undefined): Buffer {
    try {
      return applyDelta(base, delta, LIMITS.objectBytes, into);
    } catch (error) {
      throw this.#file.located(offset, error);
    }
  }

  /** The pack's file, open. */
  #opened(): PackFile {
    if (!this.#file.isOpen) this.#file.open(this.index);
    return this.#file;
  }
}

/** Where data of `size` bytes is inflated to from the {@link page}. */
function outputFor(size: number, into: Buffer | undefined): Buffer {
  if (size > PAGE_BYTES * 2) return small;
  if (into !== undefined && size < into.length) return into;
  return size <= COPIED_BYTES ? small : Buffer.allocUnsafeSlow(size + 1);
}

const small = Buffer.allocUnsafeSlow(PAGE_BYTES * 2 + 1);
const baseOid = Buffer.alloc(32);
