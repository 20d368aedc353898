/** Time and chance for the mirror's work, so that tests need not wait for either. */

import { KvError } from "../../errors.ts";

export interface WorkerTimers {
  /** Milliseconds since 1970. */
  now(): number;
  /** In [0, 1). */
  random(): number;
  /** Resolves after `ms` milliseconds, or when `signal` is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** The longest that one timer of the system can be set for. */
const LONGEST_TIMER = 2 ** 31 - 1;

export const systemTimers: WorkerTimers = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, Math.min(ms, LONGEST_TIMER));
      signal.addEventListener("abort", end, { once: true });
    }),
};

/**
 * Runs `act`, and breaks it off where nothing has moved for `most` milliseconds: a host that takes a connection and says nothing
 * must not hold up the mirror for ever. `act` calls `moved` whenever something has. Throws NETWORK then, and its outcome is not known.
 */
export async function withPatience<T>(
  timers: WorkerTimers,
  most: number,
  stop: AbortSignal,
  act: (signal: AbortSignal, moved: () => void) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const done = new AbortController();
  let last = timers.now();
  const moved = (): void => {
    last = timers.now();
  };
  const tooLong = (async (): Promise<never> => {
    for (;;) {
      // A clock that was set back begins the wait anew instead of making it longer by as much.
      last = Math.min(last, timers.now());
      const left = last + most - timers.now();
      if (left <= 0) break;
      await timers.sleep(left, done.signal);
      if (done.signal.aborted) return new Promise<never>(() => {});
    }
    limit.abort();
    throw new KvError("NETWORK", `the mirror said nothing for ${Math.round(most / 1000)} s`, {
      data: { unknownOutcome: true },
    });
  })();
  const work = act(AbortSignal.any([stop, limit.signal]), moved);
  // Whichever loses the race is told to nobody.
  work.catch(() => {});
  tooLong.catch(() => {});
  try {
    return await Promise.race([work, tooLong]);
  } finally {
    done.abort();
  }
}
