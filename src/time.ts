/** Points in time as people write them in flags and batches. */

import { KvError } from "./errors.ts";
import { parseDuration } from "./quantity.ts";

const DATE = /^\d{4}-\d\d-\d\d$/;
const RFC3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:[Zz]|[+-]\d\d:\d\d)$/;

/** Unix seconds of an RFC 3339 time, a date (midnight UTC) or `@unix`. Throws INPUT_INVALID. */
export function parseTime(text: string): number {
  const trimmed = text.trim();
  if (/^@\d{1,12}$/.test(trimmed)) return Number(trimmed.slice(1));
  const day = DATE.test(trimmed);
  const parsed =
    day || RFC3339.test(trimmed) ? Date.parse(day ? `${trimmed}T00:00:00Z` : trimmed.replace(" ", "T")) : Number.NaN;
  if (!Number.isNaN(parsed)) return Math.floor(parsed / 1000);
  throw new KvError("INPUT_INVALID", `'${text}' is not a time`, {
    hint: "such as 2026-11-22T10:00:00Z, 2026-11-22 or @1795341600",
  });
}

/** Unix seconds a value expires at, from a time to live or a point in time. `now` is in Unix seconds. Throws INPUT_INVALID. */
export function parseExpiry(ttl: string | undefined, expires: string | undefined, now: number): number | undefined {
  if (ttl !== undefined && expires !== undefined) throw new KvError("INPUT_INVALID", "both ttl and expires are given");
  if (ttl === undefined) return expires === undefined ? undefined : parseTime(expires);
  const duration = parseDuration(ttl);
  if (duration !== undefined) return Math.ceil(now + duration / 1000);
  throw new KvError("INPUT_INVALID", `'${ttl}' is not a duration`, { hint: "such as 90s, 15m, 2h or 30d" });
}

/** A time as RFC 3339 in UTC, whole seconds. */
export function formatTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}
