/** The known name a mistyped one was meant to be. */

/**
 * Damerau-Levenshtein distance in its restricted form: insertions, deletions, replacements and swaps of neighbours, no
 * part edited twice.
 */
export function editDistance(a: string, b: string): number {
  const width = b.length + 1;
  let before: number[] = [];
  let last = Array.from({ length: width }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j < width; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, before[j - 2]! + 1);
      row.push(best);
    }
    [before, last] = [last, row];
  }
  return last[b.length]!;
}

/** The one of `known` nearest to `name`, or undefined where none is near: a third of its letters may differ, or it was cut short. */
export function nearest(name: string, known: Iterable<string>): string | undefined {
  let found: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const cut = name.length >= 2 && candidate.startsWith(name);
    const distance = cut ? 0.5 : editDistance(name, candidate);
    const allowed = Math.max(1, Math.floor(Math.max(name.length, candidate.length) / 3));
    if (distance <= allowed && distance < least) [found, least] = [candidate, distance];
  }
  return found;
}
