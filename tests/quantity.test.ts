/** Sizes, durations and times as people write them. */

import { expect, test } from "bun:test";
import { KvError } from "../src/errors.ts";
import { formatDuration, parseDuration, parseSize, parseTime } from "../src/quantity.ts";
import { parseExpiry } from "../src/time.ts";

const refused = (run: () => unknown): void => {
  try {
    run();
  } catch (error) {
    expect((error as KvError).code).toBe("INPUT_INVALID");
    return;
  }
  expect.unreachable();
};

test("sizes", () => {
  expect(parseSize("512")).toBe(512);
  expect(parseSize("64KiB")).toBe(65_536);
  expect(parseSize("1 MiB")).toBe(1_048_576);
  expect(parseSize("10MB")).toBe(10_000_000);
  expect(parseSize("3gib")).toBe(3 * 1024 ** 3);
  for (const bad of ["", "MiB", "-1", "1.5MiB", "1XB", "99999999999999999", "9000000TiB", "1 2"])
    refused(() => parseSize(bad));
});

test("durations are seconds, and need a unit", () => {
  expect(parseDuration("90s")).toBe(90);
  expect(parseDuration("15m")).toBe(900);
  expect(parseDuration("2h")).toBe(7_200);
  expect(parseDuration("30d")).toBe(2_592_000);
  for (const bad of ["", "90", "1y", "-1s", "1h30m", "soon"]) refused(() => parseDuration(bad));
});

test("durations for people", () => {
  expect([0, 1, 119, 120, 848, 7_199, 7_200, 172_799, 172_800, 1e6].map(formatDuration)).toEqual([
    "0 s",
    "1 s",
    "119 s",
    "2 min",
    "14 min",
    "120 min",
    "2 h",
    "48 h",
    "2 d",
    "12 d",
  ]);
});

test("times", () => {
  const now = 1_767_322_800;
  expect(parseTime("@1767322800", 0)).toBe(1_767_322_800);
  expect(parseTime("2026-01-02", 0)).toBe(Date.UTC(2026, 0, 2) / 1000);
  expect(parseTime("2026-01-02T03:04:05Z", 0)).toBe(Date.UTC(2026, 0, 2, 3, 4, 5) / 1000);
  expect(parseTime("2026-01-02T03:04:05+02:00", 0)).toBe(Date.UTC(2026, 0, 2, 1, 4, 5) / 1000);
  expect(parseTime("2026-01-02 03:04:05 +0200", 0)).toBe(Date.UTC(2026, 0, 2, 1, 4, 5) / 1000);
  expect(parseTime("2h", now)).toBe(now - 7_200);
  expect(parseTime("2028-02-29", 0)).toBe(Date.UTC(2028, 1, 29) / 1000);
  for (const bad of [
    "",
    "yesterday",
    "2026-13-01",
    "2026-02-30",
    "2025-02-29T00:00Z",
    "2026-01-02T25:00:00Z",
    "12:00",
    "@x",
  ])
    refused(() => parseTime(bad, now));
});

test("who writes a time to expire at wrongly is not told to write a duration back", () => {
  const hint = (text: string): string | undefined => {
    try {
      parseExpiry(undefined, text, 0);
    } catch (error) {
      if (error instanceof KvError) return error.hint;
    }
    return undefined;
  };
  expect(hint("tomorrow")).toBe("write 2026-01-02T03:04:05Z, 2026-01-02 or @1767322800");
  expect(hint("2027-02-29")).toBe("write 2026-01-02T03:04:05Z, 2026-01-02 or @1767322800");
  expect(hint("2h")).toBe("give it as ttl");
});
