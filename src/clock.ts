/** Time and randomness, passed in wherever a result depends on them, so that tests can fix both. */

export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  now(): number;
  /** `length` random bytes. */
  random(length: number): Uint8Array;
  /** Offset of local time from UTC in minutes at `at` (milliseconds), east positive. */
  utcOffset(at: number): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  random: (length) => crypto.getRandomValues(new Uint8Array(length)),
  utcOffset: (at) => -new Date(at).getTimezoneOffset(),
};
