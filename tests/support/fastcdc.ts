/**
 * FastCDC byte by byte, from docs/formats/data-format.md, section 6, and nothing else: what the module that cuts is compared
 * with.
 */

import * as fs from "node:fs";
import * as path from "node:path";

const GEAR_FILE = path.join(import.meta.dir, "..", "..", "docs", "formats", "fastcdc-gear.txt");

/** The 256 numbers that bytes stand for. */
export const GEAR = Uint32Array.from(fs.readFileSync(GEAR_FILE, "utf8").trim().split(/\s+/), Number);

export interface Sizes {
  readonly min: number;
  readonly avg: number;
  readonly max: number;
}

/** The sizes of the pieces of `data`, in order. */
export function pieceSizes(data: Buffer, sizes: Sizes): number[] {
  const found: number[] = [];
  for (let at = 0; at < data.length; at += found.at(-1)!) found.push(pieceSize(data.subarray(at), sizes));
  return found;
}

/** The size of the piece that `data` begins with. */
function pieceSize(data: Buffer, { min, avg, max }: Sizes): number {
  if (data.length <= min) return data.length;
  const bits = Math.round(Math.log2(avg));
  const limit = Math.min(data.length, max);
  const centre = Math.min(limit, avg - Math.min(avg, min + Math.ceil(min / 2)));
  let hash = 0;
  for (let at = min; at < limit; at++) {
    hash = ((hash >>> 1) + GEAR[data[at]!]!) >>> 0;
    const mask = at < centre ? 2 ** (bits + 1) - 1 : 2 ** (bits - 1) - 1;
    if ((hash & mask) === 0) return at + 1;
  }
  return limit;
}
