/**
 * Cuts a stream of any length into pieces. Where the cuts are depends on the bytes and the {@link Chunking} alone, never on the
 * portions in which the bytes arrive.
 *
 *     const chunker = openChunker(chunking);
 *     for (let count; (count = read(fd, chunker.room())) > 0; ) store(chunker.take(count));
 *     store(chunker.finish());
 */

import { type Chunking, checkChunking } from "./chunking.ts";
import { openFastCdc } from "./fastcdc.ts";
import { openFixed } from "./fixed.ts";

/** One pass over one value. The bytes are read to where they are cut: nothing is copied on the way to a piece. */
export interface Chunker {
  /** Where the next bytes go; never empty. It stays in place until {@link take} is called. */
  room(): Buffer;
  /**
   * Tells that the first `count` bytes of {@link room} have been filled, and returns the pieces that are complete now: none for
   * most portions, many for some. They are views that hold until the next call of `room`, `take` or `finish`.
   */
  take(count: number): Buffer[];
  /**
   * Tells that there are no more bytes, and returns the pieces that are left; none for an empty value. The views hold until
   * another chunker is opened. The chunker is of no use any more.
   */
  finish(): Buffer[];
}

/** Throws INPUT_INVALID where pieces cannot be cut that way. */
export function openChunker(chunking: Chunking): Chunker {
  checkChunking(chunking);
  return chunking.mode === "fixed" ? openFixed(chunking.size) : openFastCdc(chunking);
}
