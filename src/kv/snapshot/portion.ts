/** How much of an import one transaction takes: so many keys, and about 256 MiB of values. */

import { sizeOfFile } from "../value-source.ts";
import type { ImportSummary } from "./check-import.ts";
import type { ImportEntry, ImportItems } from "./item.ts";

/** Most bytes of values in one transaction, but for the last value of it. */
const MOST_BYTES = 256 * 1024 * 1024;

/** What is in one transaction so far. */
export class Portion {
  readonly #most: number;
  keys = 0;
  #bytes = 0;

  /** `most` keys at the most. */
  constructor(most: number) {
    this.#most = most;
  }

  get isFull(): boolean {
    return this.keys >= this.#most || this.#bytes >= MOST_BYTES;
  }

  add({ value, size }: ImportEntry): void {
    this.keys++;
    if (value.kind === "bytes") this.#bytes += value.data.length;
    else this.#bytes += size ?? (value.kind === "file" ? sizeOfFile(value.path) : undefined) ?? 0;
  }
}

/** Whether all of it goes into one transaction. */
export function isOnePortion({ keys, bytes }: ImportSummary, most: number): boolean {
  return keys <= most && bytes <= MOST_BYTES;
}

/** How many transactions set what `items` bring, where none of it is there yet; they are read only where the values are many. */
export async function countPortions(summary: ImportSummary, most: number, items: () => ImportItems): Promise<number> {
  if (summary.bytes <= MOST_BYTES) return Math.ceil(summary.keys / most);
  let portion = new Portion(most);
  let count = 0;
  for await (const some of items()) {
    for (const item of some) {
      if (item.kind === "bad") continue;
      if (portion.isFull) portion = new Portion(most);
      if (portion.keys === 0) count++;
      portion.add(item);
      if (item.value.kind === "stream") while ((await item.value.read()) !== undefined);
    }
  }
  return count;
}
