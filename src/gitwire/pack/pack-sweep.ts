/**
 * Reads many entries of a pack in ascending order of offset, through a window that grows while they lie close together: one
 * read of 256 KiB for a hundred trees instead of one or two for each.
 */

import type { ObjectKind } from "../object/oid.ts";
import { type EntryHeader, type EntryPlace, entryKind, MAX_ENTRY_HEADER, type RawEntry } from "./pack-entry.ts";
import type { PackFile } from "./pack-file.ts";
import type { Pack } from "./pack-reader.ts";
import { deflateBound, inflateInto, TRUNCATED } from "./zlib.ts";

const WINDOW_BYTES = 256 * 1024;
const FIRST_READ = 8 * 1024;
const EMPTY: Buffer = Buffer.alloc(0);
/** Objects up to this size are read through the window. */
const LARGEST = 64 * 1024;

/** A whole object and its compressed stream, both in buffers that the next call writes over. */
export interface SweptObject {
  readonly kind: ObjectKind;
  readonly data: Buffer;
  readonly stream: Buffer;
}

/** An entry as it is stored, inflated: as {@link SweptObject}. */
export interface SweptEntry {
  readonly header: EntryHeader;
  readonly data: Buffer;
  readonly stream: Buffer;
}

export class PackSweep {
  readonly pack: Pack;
  /** Both are as large as was needed so far, and never larger than the pack: most packs of a server are of one push, and small. */
  #window = EMPTY;
  #output = EMPTY;
  /** The window holds bytes `[start, end)` of the pack. */
  #start = 0;
  #end = 0;
  /** Bytes read where nothing near was read before, and bytes read last. */
  readonly #least: number;
  #reach: number;

  constructor(pack: Pack, least = FIRST_READ) {
    this.pack = pack;
    this.#least = least;
    this.#reach = least;
  }

  /** What {@link headerAt} has read. */
  get window(): Buffer {
    return this.#window;
  }

  /** The header of the entry at `offset`; the id of a ref-delta's base is in {@link window}, until the next call. */
  headerAt(offset: number): EntryHeader {
    const file = this.pack.open();
    const at = this.#show(file, offset, MAX_ENTRY_HEADER);
    return file.header(offset, this.#window, at, this.#end - this.#start);
  }

  /** As {@link Pack.rawEntryAt}; the entry's data is good until the next call. */
  rawEntryAt(place: EntryPlace): RawEntry {
    return this.pack.rawEntryIn(this.#bytesAt(place), place.offset, place.position);
  }

  /** The compressed stream of the entry, which has been verified; good until the next call. */
  streamAt(place: EntryPlace): Buffer {
    const bytes = this.#bytesAt(place);
    return bytes.subarray(this.pack.verify(bytes, place.offset, place.position).length);
  }

  /**
   * Whether the entry at `offset` is that of a whole object and the same, byte for byte, as the one at `otherAt` in `other`, which has
   * `length` bytes: then so is the object, since size and stream say themselves where they end. False for entries above 64 KiB.
   */
  isSameWhole(offset: number, other: PackSweep, otherAt: number, length: number): boolean {
    if (length > LARGEST) return false;
    const at = this.#show(this.pack.open(), offset, length);
    const from = other.#show(other.pack.open(), otherAt, length);
    if (at + length > this.#end - this.#start || from + length > other.#end - other.#start) return false;
    if (entryKind((this.#window[at]! >> 4) & 7) === undefined) return false;
    return this.#window.compare(other.#window, from, from + length, at, at + length) === 0;
  }

  /** The entry's bytes, in the window where they fit. */
  #bytesAt(place: EntryPlace): Buffer {
    const { offset, end } = place;
    const length = end - offset;
    if (!(length > 0 && length <= WINDOW_BYTES)) return this.pack.entryBytes(place);
    const at = this.#show(this.pack.open(), offset, length);
    if (at + length > this.#end - this.#start) return this.pack.entryBytes(place);
    return this.#window.subarray(at, at + length);
  }

  /** The object whose entry is at `offset`, where it is small and stored whole; else undefined. Throws CORRUPT on damage. */
  smallObject(offset: number): SweptObject | undefined {
    const found = this.smallEntry(offset);
    const kind = found === undefined ? undefined : entryKind(found.header.type);
    return kind === undefined ? undefined : { kind, data: found!.data, stream: found!.stream };
  }

  /**
   * The entry at `offset`, a whole object or a delta, where it is small; else undefined. Its data is in `into` where that is given, which
   * has room for one byte more. Throws CORRUPT on damage.
   */
  smallEntry(offset: number, into?: Buffer): SweptEntry | undefined {
    const file = this.pack.open();
    let at = this.#show(file, offset, MAX_ENTRY_HEADER);
    const header = file.header(offset, this.#window, at, this.#end - this.#start);
    const { size, length } = header;
    if (size > LARGEST || (into !== undefined && size >= into.length)) return undefined;
    at = this.#show(file, offset, length + deflateBound(size)) + length;
    const bound = this.#end - this.#start;
    if (into === undefined && this.#output.length <= size)
      this.#output = Buffer.allocUnsafeSlow(size < FIRST_READ ? FIRST_READ : LARGEST + 1);
    const output = into ?? this.#output;
    const consumed = file.decoding(offset, () => inflateInto(this.#window, at, bound, output, size));
    if (consumed === TRUNCATED) return undefined;
    return { header, data: output.subarray(0, size), stream: this.#window.subarray(at, at + consumed) };
  }

  /** Gives up its window, which the next sweep may use; this one takes another when it is used again. */
  release(): void {
    if (this.#window.length > spare.length) spare = this.#window;
    this.#window = EMPTY;
    this.#start = 0;
    this.#end = 0;
  }

  /** Where the entry at `offset` starts in the window, which holds `least` bytes of it where the pack does. */
  #show(file: PackFile, offset: number, least: number): number {
    const wanted = Math.min(offset + least, file.end);
    if (offset < this.#start || wanted > this.#end) {
      const isNear = offset >= this.#start && offset < this.#end + this.#reach;
      this.#reach = Math.max(least, isNear ? Math.min(this.#reach * 2, WINDOW_BYTES) : this.#least);
      const needed = Math.min(this.#reach, file.end);
      if (this.#window.length < needed) this.#window = takeWindow(needed, file.end);
      const got = file.readUpTo(this.#window, Math.min(this.#reach, this.#window.length), offset);
      this.#start = offset;
      this.#end = offset + got;
    }
    return offset - this.#start;
  }
}

/** A window that is free: whoever combines a hundred small packs looks at one after the other. */
let spare = EMPTY;

/** A window of at least `needed` bytes for a pack whose entries end at `end`. */
function takeWindow(needed: number, end: number): Buffer {
  if (spare.length >= needed) {
    const window = spare;
    spare = EMPTY;
    return window;
  }
  return Buffer.allocUnsafeSlow(Math.min(needed <= FIRST_READ ? FIRST_READ : WINDOW_BYTES, end));
}
