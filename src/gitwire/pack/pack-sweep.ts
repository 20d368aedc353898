/**
 * Reads many entries of a pack in ascending order of offset, through a window that grows while they lie close together: one
 * read of 256 KiB for a hundred trees instead of one or two for each.
 */

import type { ObjectKind } from "../object/oid.ts";
import { entryKind, MAX_ENTRY_HEADER } from "./pack-entry.ts";
import type { PackFile } from "./pack-file.ts";
import type { EntryPlace, Pack, RawEntry } from "./pack-reader.ts";
import { deflateBound, inflateInto, TRUNCATED } from "./zlib.ts";

const WINDOW_BYTES = 256 * 1024;
const FIRST_READ = 8 * 1024;
/** Objects up to this size are read through the window. */
const LARGEST = 64 * 1024;

/** A whole object and its compressed stream, both in buffers that the next call writes over. */
export interface SweptObject {
  readonly kind: ObjectKind;
  readonly data: Buffer;
  readonly stream: Buffer;
}

export class PackSweep {
  readonly pack: Pack;
  readonly #window = Buffer.allocUnsafeSlow(WINDOW_BYTES);
  readonly #output = Buffer.allocUnsafeSlow(LARGEST + 1);
  /** The window holds bytes `[start, end)` of the pack. */
  #start = 0;
  #end = 0;
  /** Bytes read last. */
  #reach = FIRST_READ;

  constructor(pack: Pack) {
    this.pack = pack;
  }

  /** As {@link Pack.rawEntryAt}; the entry's data is good until the next call. */
  rawEntryAt(place: EntryPlace): RawEntry {
    const { offset, end, position } = place;
    const file = this.pack.open();
    if (end - offset > WINDOW_BYTES || end <= offset) return this.pack.rawEntryAt(place);
    const at = this.#show(file, offset, end - offset);
    if (at + end - offset > this.#end - this.#start) return this.pack.rawEntryAt(place);
    return this.pack.rawEntryIn(this.#window.subarray(at, at + end - offset), offset, position);
  }

  /** The object whose entry is at `offset`, where it is small and stored whole; else undefined. Throws CORRUPT on damage. */
  smallObject(offset: number): SweptObject | undefined {
    const file = this.pack.open();
    let at = this.#show(file, offset, MAX_ENTRY_HEADER);
    const { type, size, length } = file.header(offset, this.#window, at, this.#end - this.#start);
    const kind = entryKind(type);
    if (kind === undefined || size > LARGEST) return undefined;
    at = this.#show(file, offset, length + deflateBound(size)) + length;
    const bound = this.#end - this.#start;
    const consumed = file.decoding(offset, () => inflateInto(this.#window, at, bound, this.#output, size));
    if (consumed === TRUNCATED) return undefined;
    return { kind, data: this.#output.subarray(0, size), stream: this.#window.subarray(at, at + consumed) };
  }

  /** Where the entry at `offset` starts in the window, which holds `least` bytes of it where the pack does. */
  #show(file: PackFile, offset: number, least: number): number {
    const wanted = Math.min(offset + least, file.end);
    if (offset < this.#start || wanted > this.#end) {
      const isNear = offset >= this.#start && offset < this.#end + this.#reach;
      this.#reach = Math.max(least, isNear ? Math.min(this.#reach * 2, WINDOW_BYTES) : FIRST_READ);
      const got = file.readUpTo(this.#window, this.#reach, offset);
      this.#start = offset;
      this.#end = offset + got;
    }
    return offset - this.#start;
  }
}
