/** A value of 100 MiB and the same with 5 % changed in four ways: seeded, and nothing in it compresses. */

import * as fs from "node:fs";
import { noise } from "../tests/support/noise.ts";
import { fromSeed } from "../tests/support/random.ts";

export const LARGE_BYTES = 100 * 1024 * 1024;
/** What changes: 5 %. */
export const CHANGED_BYTES = LARGE_BYTES / 20;

/** A way to change the value. */
export interface Variant {
  readonly name: string;
  /** Most bytes it may take, as a multiple of what changed. */
  readonly target: number;
  /** Makes the new value of the old one. `seed` tells one such change from another. */
  apply(value: Buffer, seed: number): Buffer;
}

/** `runs` stretches, one in each of as many equal parts of the value, are overwritten. */
function overwritten(value: Buffer, runs: number, seed: number): Buffer {
  const changed = Buffer.from(value);
  const length = Math.floor(CHANGED_BYTES / runs);
  const part = Math.floor(value.length / runs);
  const rng = fromSeed(seed);
  for (let run = 0; run < runs; run++) {
    noise(`run ${seed} ${runs} ${run}`, length).copy(changed, run * part + rng.int(part - length));
  }
  return changed;
}

function inserted(value: Buffer, seed: number): Buffer {
  const middle = value.length / 2;
  return Buffer.concat([value.subarray(0, middle), noise(`insertion ${seed}`, CHANGED_BYTES), value.subarray(middle)]);
}

export const VARIANTS: readonly Variant[] = [
  { name: "one run", target: 1.03, apply: (value, seed) => overwritten(value, 1, seed) },
  { name: "100 runs", target: 1.1, apply: (value, seed) => overwritten(value, 100, seed) },
  { name: "1,000 runs", target: 1.1, apply: (value, seed) => overwritten(value, 1_000, seed) },
  { name: "inserted in the middle", target: 1.03, apply: inserted },
];

/** The value that is changed. */
export function largeValue(): Buffer {
  return noise("large value", LARGE_BYTES);
}

/** Bytes of all files below a folder. */
export function bytesBelow(dir: string): number {
  return fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + fs.statSync(`${entry.parentPath}/${entry.name}`).size, 0);
}
