/** Seeded randomness for property tests: the seed is printed, and GIT_KV_SEED runs one again. */

/** A small fast generator (mulberry32); the same seed gives the same numbers everywhere. */
export interface Random {
  readonly seed: number;
  /** A float in [0, 1). */
  next(): number;
  /** An integer in [0, below). */
  int(below: number): number;
  /** One member of `items`. */
  pick<T>(items: readonly T[]): T;
  /** `length` random bytes. */
  bytes(length: number): Buffer;
  /** A shuffled copy. */
  shuffle<T>(items: readonly T[]): T[];
}

/** A generator from GIT_KV_SEED or a fresh seed, which is printed under `label`. */
export function random(label: string): Random {
  const given = process.env.GIT_KV_SEED;
  const seed = given === undefined ? (Math.random() * 2 ** 32) >>> 0 : Number(given) >>> 0;
  console.error(`${label}: GIT_KV_SEED=${seed}`);
  return fromSeed(seed);
}

export function fromSeed(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (below: number): number => Math.floor(next() * below);
  return {
    seed,
    next,
    int,
    pick: (items) => items[int(items.length)]!,
    bytes: (length) => Buffer.from(Array.from({ length }, () => int(256))),
    shuffle: (items) => {
      const copy = [...items];
      for (let i = copy.length - 1; i > 0; i--) {
        const j = int(i + 1);
        [copy[i], copy[j]] = [copy[j]!, copy[i]!];
      }
      return copy;
    },
  };
}
