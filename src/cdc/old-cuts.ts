/**
 * Cuts that follow those of the value before (docs/formats/data-format.md, section 6). An edit that hits a cut, or makes one, would
 * leave pieces that share bytes with two old ones each, and a git delta has one base. So a new version is cut where the old one
 * was, as far as the bytes around an old cut are found again; each new piece then has one old piece to be a delta of.
 *
 * At each cut, the old piece that comes next being known: if its digest is that of as many bytes here, it is that piece. Else, if
 * bytes around its end stand at the same distance, it was edited in place. Else they are searched for: something was put in
 * or taken out. What is not found is cut by content, which meets the old cuts again where pieces are the same.
 */

import { sha256Beside, sha256Of } from "../sha256.ts";
import { ANCHOR_OVERLAP, type Anchor, anchorsOf, findCut, standsAt } from "./anchors.ts";
import type { Chunking } from "./chunking.ts";
import type { CutGuide } from "./cut-guide.ts";

/** A value that was cut before. */
export interface OldPieces {
  readonly pieces: readonly { readonly size: number; readonly sha256: string }[];
  /** Where each begins. */
  readonly starts: readonly number[];
  /** The number of a piece, of several the one that is likeliest after `expected`. */
  find(sha256: string, expected: number): number | undefined;
  /** The bytes of a piece; undefined where they are not here. */
  read(number: number): Buffer | undefined;
}

/** What is known of a new piece. */
export interface CutTrace {
  readonly sha256: string | undefined;
  /** The old piece that ends where it ends; undefined: it was cut by content. */
  readonly number: number | undefined;
  /** How much further on than there its first byte is here, where that is known. */
  readonly shift: number | undefined;
}

/** The digest of `size` bytes from `at` on, which another thread may still be computing. */
interface Foreseen {
  readonly at: number;
  readonly size: number;
  sha256: string | Promise<string>;
}

/** An old cut that is searched for. */
interface LostCut {
  /** The number of the piece behind it. */
  readonly cut: number;
  readonly anchors: readonly Anchor[];
  /** How far the new value has been searched. */
  searched: number;
}

export class OldCuts implements CutGuide {
  readonly #old: OldPieces;
  readonly #min: number;
  readonly #starts: readonly number[];
  readonly #size: number;
  /** Where in the new value the next piece begins. */
  #at = 0;
  /** Where that most likely is in the old value, and the old piece there. */
  #oldAt = 0;
  #next = 0;
  /** Where the trail was lost. */
  #lost: LostCut | undefined;
  #foreseen: Foreseen | undefined;
  readonly #traces = new Map<number, CutTrace>();

  /** Follows `old`, which was cut by the same `chunking`. */
  constructor(old: OldPieces, chunking: Extract<Chunking, { mode: "fastcdc" }>) {
    this.#old = old;
    this.#min = chunking.min;
    this.#starts = old.starts;
    this.#size = (old.starts.at(-1) ?? 0) + (old.pieces.at(-1)?.size ?? 0);
  }

  /** What is known of the piece that begins at `at`. Asked for once, while its cut is the last one. */
  trace(at: number): CutTrace | undefined {
    const trace = this.#traces.get(at);
    this.#traces.clear();
    return trace;
  }

  next(seen: Buffer, isEnd: boolean): number | undefined {
    const same = this.#sameAsNext(seen, isEnd);
    if (same.isSame) return this.#follow(same.size, this.#next + 1, same.sha256);
    if (this.#next >= this.#starts.length && this.#lost === undefined) return undefined;
    const cut = this.#nextCut();
    const anchors = this.#lost?.cut === cut ? this.#lost.anchors : this.#anchors(cut);
    const size = this.#startOf(cut) - this.#oldAt;
    if (this.#canCut(seen, size, isEnd) && this.#isCutAt(cut, seen, size, anchors)) {
      return this.#follow(size, cut, size === same.size ? same.sha256 : undefined);
    }
    this.#lost ??= { cut, anchors, searched: this.#at };
    return this.#search(this.#lost, seen, isEnd);
  }

  passed(piece: Buffer): void {
    const sha256 = sha256Of(piece);
    this.#traces.set(this.#at, { sha256, number: undefined, shift: undefined });
    this.#at += piece.length;
    const number = this.#old.find(sha256, this.#next);
    if (number !== undefined) this.#lost = undefined;
    // A new one counts as one that was edited in place.
    this.#moveTo(number === undefined ? this.#oldAt + piece.length : this.#startOf(number + 1));
  }

  /** Begins to compute the digest of what may be the old piece that comes next. */
  foresee(seen: Buffer): void {
    const size = this.#sizeOfNext(seen, false);
    const sha256 = size === undefined ? undefined : sha256Beside(seen.subarray(0, size));
    this.#foreseen = sha256 === undefined ? undefined : { at: this.#at, size: size!, sha256 };
  }

  async ready(): Promise<void> {
    const foreseen = this.#foreseen;
    if (foreseen !== undefined) foreseen.sha256 = await foreseen.sha256;
  }

  /** The size of the old piece that comes next, where as much of what is seen may be cut. */
  #sizeOfNext(seen: Buffer, isEnd: boolean): number | undefined {
    const size = this.#old.pieces[this.#next]?.size;
    const isPossible =
      size !== undefined && this.#oldAt === this.#starts[this.#next] && this.#canCut(seen, size, isEnd);
    return isPossible ? size : undefined;
  }

  /** Whether the old piece that comes next is what comes here; the digest of as many bytes in any case. */
  #sameAsNext(seen: Buffer, isEnd: boolean): { isSame: boolean; size: number; sha256: string | undefined } {
    const size = this.#sizeOfNext(seen, isEnd);
    if (size === undefined) return { isSame: false, size: 0, sha256: undefined };
    const { at, size: foreseen, sha256: known } = this.#foreseen ?? {};
    const isForeseen = at === this.#at && foreseen === size && typeof known === "string";
    const sha256 = isForeseen ? known : sha256Of(seen.subarray(0, size));
    return { isSame: sha256 === this.#old.pieces[this.#next]!.sha256, size, sha256 };
  }

  /** The first old cut that is far enough away: the number of the piece behind it. */
  #nextCut(): number {
    let cut = this.#next + 1;
    while (cut < this.#starts.length && this.#startOf(cut) - this.#oldAt < this.#min) cut++;
    return Math.min(cut, this.#starts.length);
  }

  #startOf(number: number): number {
    return this.#starts[number] ?? this.#size;
  }

  #canCut(seen: Buffer, size: number, isEnd: boolean): boolean {
    return size > 0 && size <= seen.length && (size >= this.#min || (isEnd && size === seen.length));
  }

  #anchors(cut: number): Anchor[] {
    return anchorsOf(cut > 0 ? this.#old.read(cut - 1) : undefined, this.#old.read(cut));
  }

  /** Whether the old cut is there in what is seen. */
  #isCutAt(cut: number, seen: Buffer, size: number, anchors: readonly Anchor[]): boolean {
    if (anchors.length > 0) return standsAt(seen, size, anchors);
    // The old bytes are not here, or tell nothing. The piece behind the cut does, where it is the same.
    const after = this.#old.pieces[cut];
    if (after === undefined || size + after.size > seen.length) return false;
    return sha256Of(seen.subarray(size, size + after.size)) === after.sha256;
  }

  /** Searches for the cut that was lost. */
  #search(lost: LostCut, seen: Buffer, isEnd: boolean): number | undefined {
    const size = findCut(seen, Math.max(0, lost.searched - this.#at), lost.anchors);
    lost.searched = Math.max(lost.searched, this.#at + seen.length - ANCHOR_OVERLAP);
    if (size === undefined) return undefined;
    if (this.#canCut(seen, size, isEnd)) return this.#follow(size, lost.cut, undefined);
    // Too near to cut there, or behind us: but now the place is known, and the next cut is as far as it was.
    this.#lost = undefined;
    this.#moveTo(this.#startOf(lost.cut) - size);
    const cut = this.#nextCut();
    const further = this.#startOf(cut) - this.#oldAt;
    const isThere = this.#canCut(seen, further, isEnd) && this.#isCutAt(cut, seen, further, this.#anchors(cut));
    return isThere ? this.#follow(further, cut, undefined) : undefined;
  }

  /** The next new byte is taken to be that at `oldAt` of the old value. */
  #moveTo(oldAt: number): void {
    this.#oldAt = Math.min(this.#size, Math.max(0, oldAt));
    while (this.#next > 0 && this.#startOf(this.#next) > this.#oldAt) this.#next--;
    while (this.#next < this.#starts.length && this.#startOf(this.#next + 1) <= this.#oldAt) this.#next++;
  }

  /** The piece has `size` bytes and ends at the old cut before the piece `cut`. */
  #follow(size: number, cut: number, sha256: string | undefined): number {
    this.#traces.set(this.#at, { sha256, number: cut - 1, shift: this.#at - this.#oldAt });
    this.#lost = undefined;
    this.#at += size;
    this.#moveTo(this.#startOf(cut));
    return size;
  }
}
