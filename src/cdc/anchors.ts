/**
 * What tells where a cut of an old value is in a new one: short stretches of bytes at some distances before and behind it. An edit
 * that hits some of them leaves others.
 */

/** Bytes of one. */
const ANCHOR_BYTES = 64;
/** How many different bytes one has at least: zeros and repetitions are found anywhere. */
const TELLING = 10;
/** Distances from the cut; the furthest leaves room in the smallest piece of the default sizes. */
const DISTANCES = [0, 1_024, 4_096, 16_384, 61_440];

export interface Anchor {
  readonly bytes: Buffer;
  /** Where it begins, counted from the cut. */
  readonly offset: number;
  /** Where it stands, the cut cannot have moved: it is next to it, or behind it. Bytes may come or go between the cut and what is before. */
  readonly isSure: boolean;
}

/** The anchors of the cut between two old pieces, of which one may not be there; the best first. */
export function anchorsOf(before: Buffer | undefined, after: Buffer | undefined): Anchor[] {
  const anchors: Anchor[] = [];
  if (after !== undefined) {
    for (const distance of DISTANCES) add(anchors, after, distance, distance, true);
  }
  if (before !== undefined) {
    for (const distance of DISTANCES) {
      const offset = -distance - ANCHOR_BYTES;
      add(anchors, before, before.length + offset, offset, distance === 0);
    }
  }
  return anchors;
}

function add(anchors: Anchor[], piece: Buffer, start: number, offset: number, isSure: boolean): void {
  if (start < 0 || start + ANCHOR_BYTES > piece.length) return;
  const bytes = piece.subarray(start, start + ANCHOR_BYTES);
  if (new Set(bytes).size >= TELLING) anchors.push({ bytes, offset, isSure });
}

/** Whether an anchor that is sure stands in `data` where it would if the cut were at `cut`. */
export function standsAt(data: Buffer, cut: number, anchors: readonly Anchor[]): boolean {
  return anchors.some(({ bytes, offset, isSure }) => {
    const start = cut + offset;
    const end = start + bytes.length;
    return isSure && start >= 0 && end <= data.length && data.compare(bytes, 0, bytes.length, start, end) === 0;
  });
}

/** Where the cut is in `data`, by the first of the anchors that is found; those that begin before `from` are not looked for. */
export function findCut(data: Buffer, from: number, anchors: readonly Anchor[]): number | undefined {
  for (const { bytes, offset } of anchors) {
    const start = data.indexOf(bytes, from);
    if (start >= 0) return start - offset;
  }
  return undefined;
}

/** Bytes at the end of what was searched in which an anchor may begin that is not whole yet. */
export const ANCHOR_OVERLAP = ANCHOR_BYTES - 1;
