/** When things expire, and how a time is shown. */

import { KvError } from "./errors.ts";
import { LIMITS } from "./limits.ts";
import { POINT_IN_TIME, parseDuration, parseTime } from "./quantity.ts";

/**
 * Unix seconds a value expires at, up to the year 9999, from a time to live or a point in time. `now` is in Unix seconds.
 * Throws INPUT_INVALID.
 */
export function parseExpiry(ttl: string | undefined, expires: string | undefined, now: number): number | undefined {
  if (ttl !== undefined && expires !== undefined) throw new KvError("INPUT_INVALID", "both ttl and expires are given");
  if (ttl !== undefined) return inRange(Math.ceil(now + parseDuration(ttl)), ttl);
  if (expires === undefined) return undefined;
  if (/^\d+\s?[a-z]+$/i.test(expires.trim())) {
    throw new KvError("INPUT_INVALID", `'${expires}' is a duration, not a time to expire at`, {
      hint: "give it as ttl",
    });
  }
  return inRange(parseTime(expires, now, POINT_IN_TIME), expires);
}

function inRange(seconds: number, text: string): number {
  if (seconds >= 0 && seconds <= LIMITS.latestTime) return seconds;
  throw new KvError("INPUT_INVALID", `'${text}' is not between 1970 and 9999`);
}

/** A time as RFC 3339 in UTC, whole seconds; `@<unix seconds>` where that has no four digits for its year: a commit may claim any time. */
export function formatTime(seconds: number): string {
  if (seconds < FIRST_YEAR || seconds > LIMITS.latestTime) return `@${seconds}`;
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}

/** A time as a Date, which holds 275,000 years to either side of 1970; the nearest of these where a commit claims another. */
export function dateOf(seconds: number): Date {
  return new Date(Math.min(Math.max(seconds, -LAST_OF_DATE), LAST_OF_DATE) * 1000);
}

const LAST_OF_DATE = 8.64e12;

/** The first second of the year 0, in Unix seconds. */
const FIRST_YEAR = -62_167_219_200;
