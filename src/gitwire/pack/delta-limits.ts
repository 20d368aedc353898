/** Applies the deltas of an arriving pack, and holds them to the limits: how deep they lie and what they make all together. */

import { KvError } from "../../errors.ts";
import { applyDelta, deltaSizes } from "./delta.ts";
import type { PackLimits } from "./pack-scan.ts";

export class DeltaLimits {
  readonly #limits: PackLimits;
  #made = 0;

  constructor(limits: PackLimits) {
    this.#limits = limits;
  }

  /** Throws LIMIT_EXCEEDED where a chain has more than so many deltas. */
  requireDepth(depth: number): void {
    const { deltaDepth } = this.#limits;
    if (depth > deltaDepth)
      throw new KvError("LIMIT_EXCEEDED", `the pack has a chain of more than ${deltaDepth} deltas`);
  }

  /** Bytes of what `delta`, entry number `entry`, makes. Throws BAD_PACK where its sizes are damaged. */
  targetSize(entry: number, delta: Buffer): number {
    return inEntry(entry, () => deltaSizes(delta).targetSize);
  }

  /**
   * What `delta`, entry number `entry`, makes of `base`; in `into` where that has room. Throws BAD_PACK where it is damaged, LIMIT_EXCEEDED
   * where it or all together make too much.
   */
  apply(entry: number, base: Buffer, delta: Buffer, into?: Buffer): Buffer {
    const { objectBytes, packInflatedBytes } = this.#limits;
    const data = inEntry(entry, () => applyDelta(base, delta, objectBytes, into));
    this.#made += data.length;
    if (this.#made > packInflatedBytes)
      throw new KvError("LIMIT_EXCEEDED", `the pack's deltas make more than ${packInflatedBytes} bytes`);
    return data;
  }
}

/** Runs a decoder of entry number `entry` and turns its BAD_OBJECT into a BAD_PACK that names the object. */
export function inEntry<T>(entry: number, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof KvError) || error.code !== "BAD_OBJECT") throw error;
    throw new KvError("BAD_PACK", `object ${entry + 1} of the pack: ${error.message}`, { cause: error });
  }
}
