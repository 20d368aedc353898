/** Labels of epochs: which come next, and which cannot be used again. */

import { expect, test } from "bun:test";
import { nextLabel } from "../../src/kv/epoch-labels.ts";

test.each([
  ["e1", "e2"],
  ["e9", "e10"],
  ["2027-01", "2027-02"],
  ["2027-09", "2027-10"],
  ["main", "main.2"],
  ["main.2", "main.3"],
  ["x".repeat(63), `${"x".repeat(61)}.2`],
  [`${"x".repeat(62)}9`, `${"x".repeat(61)}10`],
])("%s is followed by %s", (label, next) => {
  expect(nextLabel(label, new Set())).toBe(next);
});

test("labels that were used are passed over", () => {
  expect(nextLabel("e1", new Set(["e2", "e3", "e5"]))).toBe("e4");
  expect(nextLabel("main", new Set(["main.2"]))).toBe("main.3");
});
