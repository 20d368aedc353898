/**
 * Circles among the deltas of a pack that holds an object twice. Each delta was resolved from some copy of its base, but a reader
 * looks a base up by its id and may find another copy: a delta of a delta of that very object, and so on without an end.
 */

import { KvError } from "../../errors.ts";
import { OidTable } from "../object/oid-table.ts";
import type { EntryList } from "./entry-list.ts";

/** Throws BAD_PACK where a delta could be its own base, by way of whichever copies. All deltas have been resolved. */
export function refuseCircles(list: EntryList): void {
  const objects = new OidTable(list.format, list.count);
  const numbers = Int32Array.from({ length: list.count }, (_, entry) =>
    objects.addRaw(list.ids, entry * list.format.rawSize),
  );
  /** Deltas by object: the first, and the next of the same object; -1 for none. */
  const first = new Int32Array(objects.size).fill(-1);
  const next = new Int32Array(list.deltaCount);
  for (let delta = 0; delta < list.deltaCount; delta++) {
    const number = numbers[list.deltaEntries[delta]!]!;
    next[delta] = first[number]!;
    first[number] = delta;
  }
  /** 0 not met, 1 on the path that is walked, 2 done. */
  const states = new Uint8Array(objects.size);
  for (let start = 0; start < states.length; start++) {
    if (states[start] !== 0) continue;
    states[start] = 1;
    const path = [start];
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const delta = first[top]!;
      if (delta < 0) {
        states[top] = 2;
        path.pop();
        continue;
      }
      first[top] = next[delta]!;
      const base = numbers[list.deltaBases[delta]!]!;
      if (states[base] === 1) {
        throw new KvError("BAD_PACK", `the pack holds ${objects.oid(base)} twice, as a delta of itself`);
      }
      if (states[base] === 0) {
        states[base] = 1;
        path.push(base);
      }
    }
  }
}
