/**
 * How a value is cut into pieces: by content or into equal parts (docs/formats/data-format.md, section 6). The numbers stand in
 * the policy and in every manifest; they are checked before anything is cut or read by them.
 */

import { KvError } from "../errors.ts";
import { LIMITS } from "../limits.ts";

/** All sizes in bytes. */
export type Chunking =
  | { readonly mode: "fastcdc"; readonly min: number; readonly avg: number; readonly max: number }
  | { readonly mode: "fixed"; readonly size: number };

/** What a policy may leave out. */
export type PartialChunking =
  | {
      readonly mode: "fastcdc";
      readonly min?: number | undefined;
      readonly avg?: number | undefined;
      readonly max?: number | undefined;
    }
  | { readonly mode: "fixed"; readonly size: number };

/** How values are cut where no policy says otherwise. */
export const DEFAULT_CHUNKING = { mode: "fastcdc", min: 65_536, avg: 262_144, max: 1_048_576 } as const;

/** `given` with the defaults of the format where it leaves a number out. */
export function completeChunking(given: PartialChunking | undefined): Chunking {
  if (given === undefined) return DEFAULT_CHUNKING;
  if (given.mode === "fixed") return { mode: "fixed", size: given.size };
  const { min = DEFAULT_CHUNKING.min, avg = DEFAULT_CHUNKING.avg, max = DEFAULT_CHUNKING.max } = given;
  return { mode: "fastcdc", min, avg, max };
}

/** What is wrong with the numbers, as the rest of a sentence that begins with "chunking"; undefined where nothing is. */
export function chunkingFault(chunking: Chunking): string | undefined {
  if (chunking.mode === "fixed") return sizeFault("size", chunking.size);
  const { min, avg, max } = chunking;
  const fault = sizeFault("min", min) ?? sizeFault("avg", avg) ?? sizeFault("max", max);
  if (fault !== undefined) return fault;
  if (min > avg) return `needs a min (${min}) that is not larger than avg (${avg})`;
  return avg > max ? `needs an avg (${avg}) that is not larger than max (${max})` : undefined;
}

function sizeFault(name: string, size: number): string | undefined {
  if (Number.isInteger(size) && size >= LIMITS.pieceLeast && size <= LIMITS.pieceMost) return undefined;
  return `needs a ${name} of ${LIMITS.pieceLeast} to ${LIMITS.pieceMost} bytes, not ${size}`;
}

/** Throws INPUT_INVALID where pieces cannot be cut that way. */
export function checkChunking(chunking: Chunking): void {
  const fault = chunkingFault(chunking);
  if (fault !== undefined) throw new KvError("INPUT_INVALID", `chunking ${fault}`);
}
