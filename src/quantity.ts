/**
 * Sizes, durations and times as people write them in flags, batch files, settings and policies:
 * `64KiB 1MiB 10MB`, `90s 15m 2h 30d`, `2026-01-02`, `2026-01-02T03:04:05Z`, `@1767322800`, `2h` (ago).
 */

import { KvError } from "./errors.ts";

const SIZE_UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
  kb: 1000,
  mb: 1000 ** 2,
  gb: 1000 ** 3,
  tb: 1000 ** 4,
};

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 0.001,
  s: 1,
  m: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
};

/** Bytes of `text` (`64KiB`, `10MB`, `512`). Throws INPUT_INVALID where it is no size up to 2^53 - 1. */
export function parseSize(text: string): number {
  const size = quantity(/^(\d{1,15})\s?([KMGT]?i?B)?$/i.exec(text.trim()), SIZE_UNITS);
  if (size !== undefined) return size;
  throw new KvError("INPUT_INVALID", `'${text}' is not a size`, { hint: "write 512, 64KiB, 1MiB or 10MB" });
}

/** `bytes` as people read them: `512 B`, `5.1 MB`, `99.6 MB`. */
export function formatSize(bytes: number): string {
  const units = ["kB", "MB", "GB", "TB"];
  if (bytes < 1000) return `${Math.round(bytes)} B`;
  let value = bytes / 1000;
  let unit = 0;
  // 999.95 would be written as 1000.0.
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toFixed(1)} ${units[unit]}`;
}

/** Seconds of `text` (`90s`, `30d`; a unit is required). Throws INPUT_INVALID where it is no duration. */
export function parseDuration(text: string): number {
  const seconds = quantity(/^(\d{1,12})\s?(ms|s|m|h|d|w)$/.exec(text.trim()), DURATION_UNITS);
  if (seconds !== undefined) return seconds;
  throw new KvError("INPUT_INVALID", `'${text}' is not a duration`, { hint: "write 90s, 15m, 2h or 30d" });
}

/** Seconds for people, in the largest unit that there are two of: `119 s`, `14 min`, `3 h`, `12 d`. */
export function formatDuration(seconds: number): string {
  const units = [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
  ] as const;
  const [unit, size] = units.find(([, length]) => seconds >= 2 * length) ?? ["s", 1];
  return `${Math.round(seconds / size)} ${unit}`;
}

const DATE = /^\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]| ?[+-]\d\d:?\d\d)?)?$/;

/** How a point in time is written, for who wrote it otherwise. */
export const POINT_IN_TIME = "write 2026-01-02T03:04:05Z, 2026-01-02 or @1767322800";

/**
 * Unix seconds of `text`: RFC 3339, as `git log --date=iso` writes it too, or a date (UTC where no zone is given), `@<unix seconds>`, or
 * a duration back from `now` (Unix seconds). Throws INPUT_INVALID with `hint`.
 */
export function parseTime(text: string, now: number, hint = `${POINT_IN_TIME}; 2h is two hours ago`): number {
  const trimmed = text.trim();
  const unix = /^@(\d{1,12})$/.exec(trimmed)?.[1];
  if (unix !== undefined) return Number(unix);
  if (DATE.test(trimmed) && isDay(trimmed.slice(0, 10))) {
    const zoned = /(?:[Zz]|[+-]\d\d:?\d\d)$/.test(trimmed.slice(10)) || trimmed.length === 10 ? trimmed : `${trimmed}Z`;
    const time = Date.parse(zoned.replace(" ", "T").replace(" ", ""));
    if (!Number.isNaN(time)) return Math.floor(time / 1000);
  } else {
    const seconds = quantity(/^(\d{1,12})\s?(ms|s|m|h|d|w)$/.exec(trimmed), DURATION_UNITS);
    if (seconds !== undefined) return Math.floor(now - seconds);
  }
  throw new KvError("INPUT_INVALID", `'${text}' is not a time`, { hint });
}

/** Whether the month has such a day: `Date.parse` takes February 30th for March 2nd. */
function isDay(date: string): boolean {
  const time = Date.parse(date);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(date);
}

function quantity(match: RegExpExecArray | null, units: Readonly<Record<string, number>>): number | undefined {
  const unit = units[(match?.[2] ?? "").toLowerCase()];
  if (match === null || unit === undefined) return undefined;
  const value = Number(match[1]) * unit;
  return value <= Number.MAX_SAFE_INTEGER ? value : undefined;
}
