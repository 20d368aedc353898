/**
 * Who may hold the streams of events of a door: a fair share by who asks. Each has at most so many. Where all places are taken, one who has fewer
 * than another gets the newest place of whoever has the most, so that nobody is kept out by a few who have much.
 */

/** A place, or why there is none: who asks has as many as may be, or the others have no more than they. */
export type Taken = "taken" | "too many of one" | "all taken";

export class WatchPlaces {
  readonly #most: number;
  readonly #ofOne: number;
  /** Who has which, the newest last. */
  readonly #places = new Map<AbortController, string>();

  /** Of `most` places each may have `ofOne`. */
  constructor(most: number, ofOne: number) {
    this.#most = most;
    this.#ofOne = ofOne;
  }

  get size(): number {
    return this.#places.size;
  }

  /** Takes a place for `who`. It is theirs until they {@link leave}; `end` is aborted where another is to have it. */
  take(who: string, end: AbortController): Taken {
    const held = new Map<string, number>();
    for (const one of this.#places.values()) held.set(one, (held.get(one) ?? 0) + 1);
    const own = held.get(who) ?? 0;
    if (own >= this.#ofOne) return "too many of one";
    if (this.#places.size >= this.#most) {
      const [richest, most] = [...held].reduce((a, b) => (b[1] > a[1] ? b : a));
      if (most <= own + 1) return "all taken";
      const newest = [...this.#places].findLast(([, one]) => one === richest)![0];
      this.leave(newest);
      newest.abort();
    }
    this.#places.set(end, who);
    return "taken";
  }

  leave(end: AbortController): void {
    this.#places.delete(end);
  }

  /** Ends all of them. */
  close(): void {
    for (const end of [...this.#places.keys()]) end.abort();
  }
}
