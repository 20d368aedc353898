/** How much of the indexes of packs look-ups leave in the memory of this process: no end to it, unless it is told otherwise. */

let bytes = 0;
let most = Number.POSITIVE_INFINITY;

/** Bounds the bytes of all whole indexes together, for a process that lasts; of further ones only the heads of their ids are kept (id-heads.ts). */
export function limitKeptIndexes(limit: number): void {
  most = limit;
}

/** Whether an index of `size` bytes may be kept whole besides those that are. */
export function mayKeepIndex(size: number): boolean {
  return bytes + size <= most;
}

/** So many bytes more are kept, or fewer. */
export function countKeptIndex(change: number): void {
  bytes += change;
}
