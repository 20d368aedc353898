/**
 * The parts of packs' files that were read last, four for all packs: 12 KiB from an entry on, which hold most entries whole. Whoever goes
 * over the keys reads a value and a record in turn, which lie in order but far apart. A base that
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

/** Pages that are kept: of values, records, pointers and trees. */
const PAGES = 4;

/** Some bytes of a pack's file. */
class Page {
  readonly bytes = Buffer.allocUnsafeSlow(BEFORE_BYTES + PAGE_BYTES);
  /** How many of {@link bytes} count. */
  end = 0;
  /** Of the file; 0: none. */
  opening = 0;
  /** Where in the file they are. */
  from = 0;
}

class PackPage {
  /** Where the entry whose header was read last stands in {@link bytes}. */
  at = 0;
  /** The page it is in. */
  #page = new Page();
  /** All that are there, the one used last first. */
  readonly #pages = [this.#page];

  get bytes(): Buffer {
    return this.#page.bytes;
  }

  /** How many of {@link bytes} count. */
  get end(): number {
    return this.#page.end;
  }

  /** The header of the entry at `offset` of `file`, which is open; the bytes behind it, at least a page, are then here. `delta`: where an entry is whose base it is. */
  header(file: PackFile, offset: number, delta?: number): EntryHeader {
    for (let i = 0; i < this.#pages.length; i++) {
      const page = this.#pages[i]!;
      const known = page.opening === file.opening ? this.#known(page, file, offset) : undefined;
      if (known === undefined) continue;
      this.#use(page, i);
      return known;
    }
    const page = this.#oldest();
    const isNear = delta !== undefined && delta > offset && delta - offset <= NEAR_BYTES;
    const from = isNear ? Math.max(PACK_HEADER_BYTES, offset - BEFORE_BYTES) : offset;
    page.opening = 0;
    page.end = file.readUpTo(page.bytes, offset - from + PAGE_BYTES, from);
    page.from = from;
    page.opening = file.opening;
    this.at = offset - from;
    return file.header(offset, page.bytes, this.at, page.end);
  }

  /** The page to read into: a new one while there are few. It is the one in use then. */
  #oldest(): Page {
    const { length } = this.#pages;
    if (length < PAGES) this.#use(new Page(), length);
    else this.#use(this.#pages[length - 1]!, length - 1);
    return this.#page;
  }

  /** Puts the page at `place` first. */
  #use(page: Page, place: number): void {
    for (let i = place; i > 0; i--) this.#pages[i] = this.#pages[i - 1]!;
    this.#pages[0] = page;
    this.#page = page;
  }

  /** The header where all of the entry is here, however badly it was compressed. */
  #known({ bytes, end, from }: Page, file: PackFile, offset: number): EntryHeader | undefined {
    const at = offset - from;
    if (at < 0 || at + MAX_ENTRY_HEADER > end) return undefined;
    const header = file.header(offset, bytes, at, end);
    if (at + header.length + deflateBound(header.size) > end) return undefined;
    this.at = at;
    return header;
  }
}

export const page = new PackPage();
