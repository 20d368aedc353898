/** How values are cut into pieces: the two modes and their sizes (docs/formats/data-format.md, section 6). */

import { KvError } from "../errors.ts";
import { LIMITS } from "../limits.ts";

/** Sizes in bytes. */
export type Chunking =
  | { readonly mode: "fastcdc"; readonly min: number; readonly avg: number; readonly max: number }
  | { readonly mode: "fixed"; readonly size: number };

/** What holds where a policy says nothing. */
export const DEFAULT_CHUNKING = { mode: "fastcdc", min: 65_536, avg: 262_144, max: 1_048_576 } as const;

/** Throws INPUT_INVALID where no value can be cut so. */
export function checkChunking(chunking: Chunking): void {
  const sizes = chunking.mode === "fixed" ? [chunking.size] : [chunking.min, chunking.avg, chunking.max];
  const bad = sizes.find((size) => !Number.isSafeInteger(size) || size < LIMITS.pieceLeast || size > LIMITS.pieceMost);
  if (bad !== undefined) {
    throw new KvError("INPUT_INVALID", `pieces of ${bad} bytes are not made`, {
      hint: `sizes go from ${LIMITS.pieceLeast} to ${LIMITS.pieceMost} bytes`,
    });
  }
  if (chunking.mode === "fixed") return;
  const { min, avg, max } = chunking;
  if (min <= avg && avg <= max) return;
  throw new KvError("INPUT_INVALID", `min ${min}, avg ${avg}, max ${max}: each must be at least the one before it`);
}
