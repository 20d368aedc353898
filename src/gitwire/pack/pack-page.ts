/**
 * The part of a pack's file that was read last, one for all packs: 12 KiB from an entry on, which hold most entries whole. A base that
 * lies close before its delta is read with what is around it: the trees of transactions that follow each other are chains whose links
 * lie side by side, and the chains of their other trees between them, so that one read serves them all.
 */

import { type EntryHeader, MAX_ENTRY_HEADER } from "./pack-entry.ts";
import { PACK_HEADER_BYTES, type PackFile } from "./pack-file.ts";
import { deflateBound } from "./zlib.ts";

/** Read from an entry on. */
export const PAGE_BYTES = 12 * 1024;
/** Read before a base as well that is no further than this before its delta: what some fifty transactions of one key write. */
const NEAR_BYTES = 4 * 1024;
const BEFORE_BYTES = 12 * 1024;

class PackPage {
  readonly bytes = Buffer.allocUnsafeSlow(BEFORE_BYTES + PAGE_BYTES);
  /** Where the entry whose header was read last stands in {@link bytes}. */
  at = 0;
  /** How many of {@link bytes} count. */
  end = 0;
  /** Of the file. */
  #opening = 0;
  /** Where in the file they are. */
  #from = 0;

  /** The header of the entry at `offset` of `file`, which is open; the bytes behind it, at least a page, are then here. `delta`: where an entry is whose base it is. */
  header(file: PackFile, offset: number, delta?: number): EntryHeader {
    const known = file.opening === this.#opening ? this.#known(file, offset) : undefined;
    if (known !== undefined) return known;
    const isNear = delta !== undefined && delta > offset && delta - offset <= NEAR_BYTES;
    const from = isNear ? Math.max(PACK_HEADER_BYTES, offset - BEFORE_BYTES) : offset;
    this.#opening = 0;
    this.end = file.readUpTo(this.bytes, offset - from + PAGE_BYTES, from);
    this.#from = from;
    this.#opening = file.opening;
    this.at = offset - from;
    return file.header(offset, this.bytes, this.at, this.end);
  }

  /** The header where all of the entry is here, however badly it was compressed. */
  #known(file: PackFile, offset: number): EntryHeader | undefined {
    const at = offset - this.#from;
    if (at < 0 || at + MAX_ENTRY_HEADER > this.end) return undefined;
    const header = file.header(offset, this.bytes, at, this.end);
    if (at + header.length + deflateBound(header.size) > this.end) return undefined;
    this.at = at;
    return header;
  }
}

export const page = new PackPage();
