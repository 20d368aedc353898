/**
 * Cuts a stream of any length into pieces. Where the cuts are depends on the bytes and the {@link Chunking} (and on the cuts of an
 * older version, where they are followed), never on the portions in which the bytes arrive.
 *
 *     const chunker = openChunker(chunking);
 *     for (let count; (count = read(fd, chunker.room())) > 0; ) for (const piece of chunker.take(count)) store(piece);
 *     for (const piece of chunker.finish()) store(piece);
 */

import { type Chunking, checkChunking } from "./chunking.ts";
import type { CutGuide } from "./cut-guide.ts";
import { openFastCdc } from "./fastcdc.ts";
import { openFixed } from "./fixed.ts";

/** One pass over one value. The bytes are read to where they are cut: nothing is copied on the way to a piece. */
export interface Chunker {
  /** Where the next bytes go; never empty. It stays in place until {@link take} is called. */
  room(): Buffer;
  /**
   * Tells that the first `count` bytes of {@link room} have been filled, and returns the pieces that are complete now: none for
   * most portions, many for some. They are cut while they are run through, to the end and before the next call of `room`, `take` or
   * `finish`, and are views that hold until then.
   */
  take(count: number): Iterable<Buffer>;
  /**
   * Tells that there are no more bytes, and returns the pieces that are left; none for an empty value. To be run through to the
   * end. The views hold until another chunker is opened. The chunker is of no use any more.
   */
  finish(): Iterable<Buffer>;
}

/** Throws INPUT_INVALID where pieces cannot be cut that way. A `guide` is asked first where to cut; equal parts need none. */
export function openChunker(chunking: Chunking, guide?: CutGuide): Chunker {
  checkChunking(chunking);
  return chunking.mode === "fixed" ? openFixed(chunking.size) : openFastCdc(chunking, guide);
}
