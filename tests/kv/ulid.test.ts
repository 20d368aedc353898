/** ULIDs, against the examples of their specification. */

import { expect, test } from "bun:test";
import type { Clock } from "../../src/clock.ts";
import { isUlid, newUlid } from "../../src/kv/ulid.ts";

const clock = (now: number, random: Uint8Array): Clock => ({
  now: () => now,
  random: () => random,
  utcOffset: () => 0,
});

test("time first, then 80 random bits", () => {
  // github.com/ulid/spec: 01ARYZ6S41 is the time 1469918176385.
  expect(newUlid(clock(1_469_918_176_385, new Uint8Array(10)))).toBe("01ARYZ6S410000000000000000");
  expect(newUlid(clock(1_469_918_176_385, new Uint8Array(10).fill(255)))).toBe("01ARYZ6S41ZZZZZZZZZZZZZZZZ");
  expect(newUlid(clock(0, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 31)))).toBe("0000000000000000000000000Z");
  expect(newUlid(clock(2 ** 48 - 1, new Uint8Array(10).fill(255)))).toBe("7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
});

test("they sort by time", () => {
  const times = [0, 1, 31, 32, 1023, 1024, 1_700_000_000_000, 1_700_000_000_001, 2 ** 48 - 1];
  const ulids = times.map((time) => newUlid(clock(time, new Uint8Array(10).fill(time % 251))));
  expect([...ulids].sort()).toEqual(ulids);
  for (const ulid of ulids) expect(isUlid(ulid)).toBe(true);
});

test("what is no ULID", () => {
  for (const text of [
    "",
    "01ARYZ6S41000000000000000",
    "01ARYZ6S4100000000000000000",
    "81ARYZ6S410000000000000000",
    "01aryz6s410000000000000000",
    "01ARYZ6S41000000000000000I",
    "01ARYZ6S41000000000000000U",
    "01ARYZ6S410000000000000000\n",
  ]) {
    expect([text, isUlid(text)]).toEqual([text, false]);
  }
});
