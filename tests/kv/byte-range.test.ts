/** Ranges of bytes. */

import { expect, test } from "bun:test";
import { parseRange } from "../../src/kv/byte-range.ts";

test.each([
  ["0-0", 10, 0, 1],
  ["2-5", 10, 2, 6],
  ["2-", 10, 2, 10],
  ["-3", 10, 7, 10],
  ["-30", 10, 0, 10],
  ["5-999999999999999", 10, 5, 10],
  ["9-9", 10, 9, 10],
])("%s of %i bytes", (text, size, start, end) => {
  expect(parseRange(text, size)).toEqual({ start, end });
});

test.each([
  ["10-", 10],
  ["10-12", 10],
  ["-0", 10],
  ["0-", 0],
  ["-1", 0],
])("%s of %i bytes is none of them", (text, size) => {
  expect(() => parseRange(text, size)).toThrow(
    expect.objectContaining({
      code: "INPUT_INVALID",
      message: `--range: the value has ${size} bytes, ${text} is none of them`,
    }),
  );
});

test.each(["", "-", "5", "5-4", "a-b", "1-2,4-5", "0x1-2", "1.5-2", " 1-2", "bytes=0-1", "9999999999999999-"])(
  "'%s' is no range",
  (text) => {
    expect(() => parseRange(text, 10)).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID", message: `--range: '${text}' is not a range` }),
    );
  },
);
