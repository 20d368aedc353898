/** Pieces of one size: for values that are overwritten in place, such as disk images and databases. */

import type { Chunker } from "./chunker.ts";
import { Window } from "./window.ts";

/** Pieces are cut from windows of about this many bytes. */
const WINDOW_BYTES = 4 * 1024 * 1024;

/** `size` has been checked. */
export function openFixed(size: number): Chunker {
  const window = new Window(Buffer.allocUnsafeSlow(size * Math.max(1, Math.floor(WINDOW_BYTES / size))));
  const complete = (): Buffer[] => {
    const pieces: Buffer[] = [];
    while (window.filled.length >= size) pieces.push(window.cut(size));
    return pieces;
  };
  return {
    room: () => window.room(),
    take(count) {
      window.fill(count);
      return complete();
    },
    finish() {
      const pieces = complete();
      if (window.filled.length > 0) pieces.push(window.cut(window.filled.length));
      return pieces;
    },
  };
}
