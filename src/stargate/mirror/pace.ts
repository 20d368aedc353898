/**
 * When the next push to the mirror may leave. Hosts ask for few pushes: a token bucket lets a lone write out at once and makes a
 * stream of writes share pushes. After a failure a wait with full jitter comes on top.
 */

import type { MirrorPace } from "../settings.ts";

/** Milliseconds of the first wait after a failure, and of the longest. */
const BACKOFF_FIRST = 500;
const BACKOFF_MOST = 60_000;

export class TokenBucket {
  readonly #pace: MirrorPace;
  #tokens: number;
  #filledAt: number;

  constructor(pace: MirrorPace, now: number) {
    this.#pace = pace;
    this.#tokens = pace.burst;
    this.#filledAt = now;
  }

  /** Takes a token and returns 0, or returns the milliseconds until there is one. */
  take(now: number): number {
    const { burst, interval } = this.#pace;
    if (interval <= 0) return 0;
    const gained = Math.max(0, now - this.#filledAt) / interval;
    this.#tokens = Math.min(burst, this.#tokens + gained);
    this.#filledAt = now;
    // A fraction may be missing to a whole token by rounding alone.
    if (this.#tokens >= 1 - 1e-9) {
      this.#tokens -= 1;
      return 0;
    }
    return Math.ceil((1 - this.#tokens) * interval);
  }
}

/** Milliseconds to wait after `failures` (1 or more) failures in a row; `random` in [0, 1). */
export function backoff(failures: number, random: number): number {
  const most = Math.min(BACKOFF_MOST, BACKOFF_FIRST * 2 ** Math.min(failures, 30));
  return Math.max(BACKOFF_FIRST, Math.floor(random * most));
}
