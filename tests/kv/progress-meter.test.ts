/** The line that says how far a long step is. */

import { expect, test } from "bun:test";
import { ProgressMeter } from "../../src/kv/progress-meter.ts";
import { formatSize } from "../../src/quantity.ts";

test("says nothing in the first half second, then ten times a second at most, and takes its line away", () => {
  const shown: string[] = [];
  let now = 1_000;
  const meter = new ProgressMeter(
    "storing",
    (text) => void shown.push(text),
    () => now,
  );
  const tell = (at: number, done: number): void => {
    now = 1_000 + at;
    meter.tell(done, 200_000_000, () => "5.1 MB new");
  };
  tell(499, 40_000_000);
  expect(shown).toEqual([]);
  tell(500, 50_000_000);
  tell(599, 60_000_000);
  tell(1_000, 150_000_000);
  meter.end();
  meter.end();
  expect(shown).toEqual([
    "storing: 25 % of 200.0 MB, 100.0 MB/s, 5.1 MB new",
    "storing: 75 % of 200.0 MB, 150.0 MB/s, 5.1 MB new",
    "",
  ]);
});

test("a step that is over soon leaves the terminal alone; of an unknown size it says what is done", () => {
  const shown: string[] = [];
  let now = 0;
  const meter = new ProgressMeter(
    "sending",
    (text) => void shown.push(text),
    () => now,
  );
  meter.tell(5, undefined);
  meter.end();
  expect(shown).toEqual([]);
  now = 2_000;
  meter.tell(3_000_000, undefined);
  expect(shown).toEqual(["sending: 3.0 MB, 1.5 MB/s"]);
});

test("sizes as people read them", () => {
  const sizes: [number, string][] = [
    [0, "0 B"],
    [999, "999 B"],
    [1_000, "1.0 kB"],
    [999_949, "999.9 kB"],
    [999_951, "1.0 MB"],
    [5_123_456, "5.1 MB"],
    [2_147_483_648, "2.1 GB"],
    [3e15, "3000.0 TB"],
  ];
  for (const [bytes, text] of sizes) expect(formatSize(bytes)).toBe(text);
});
