import { describe, expect, test } from "bun:test";
import { editDistance, nearest } from "../src/nearest.ts";
import { random } from "./support/random.ts";

describe("edit distance", () => {
  test("counts insertions, deletions, replacements and swaps", () => {
    for (const [a, b, distance] of [
      ["", "", 0],
      ["get", "", 3],
      ["get", "get", 0],
      ["gte", "get", 1],
      ["list", "lsit", 1],
      ["set", "sett", 1],
      ["mset", "set", 1],
      ["kitten", "sitting", 3],
      ["ca", "abc", 3],
    ] as const) {
      expect([a, b, editDistance(a, b)]).toEqual([a, b, distance]);
    }
  });

  test("is symmetric, zero only for equals, and at most the longer length", () => {
    const { int, pick } = random("edit distance");
    const word = (): string => Array.from({ length: int(7) }, () => pick(["a", "b", "c"])).join("");
    for (let round = 0; round < 500; round++) {
      const [a, b] = [word(), word()];
      const distance = editDistance(a, b);
      expect(editDistance(b, a)).toBe(distance);
      expect(distance === 0).toBe(a === b);
      expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
      expect(distance).toBeGreaterThanOrEqual(Math.abs(a.length - b.length));
    }
  });
});

describe("nearest", () => {
  const known = ["get", "set", "mset", "list", "version", "completion"];

  test("finds what was meant", () => {
    expect(nearest("verison", known)).toBe("version");
    expect(nearest("lsit", known)).toBe("list");
    expect(nearest("compl", known)).toBe("completion");
    expect(nearest("gte", known)).toBe("get");
  });

  test("offers nothing that is far", () => {
    expect(nearest("frobnicate", known)).toBeUndefined();
    expect(nearest("x", known)).toBeUndefined();
    expect(nearest("", known)).toBeUndefined();
    expect(nearest("get", [])).toBeUndefined();
  });
});
