/** File and directory names of the kv-index. */

import { expect, test } from "bun:test";
import {
  indexFileName,
  isFileOf,
  type KeyState,
  labelName,
  parseIndexFileName,
  parseLabelName,
  sharedLength,
} from "../../src/kv/index-file.ts";
import { keyName, parseKey } from "../../src/kv/key.ts";

const live = (expires?: number): KeyState => ({ kind: "live", expires });

test("file names tell the state", () => {
  const states: [KeyState, string][] = [
    [live(), "k.ref"],
    [live(0), "k@0.ref"],
    [live(1_767_322_800), "k@1767322800.ref"],
    [live(253_402_300_799), "k@253402300799.ref"],
    [{ kind: "deleted" }, "k.del"],
  ];
  for (const [state, fileName] of states) {
    expect(indexFileName("k", state)).toBe(fileName);
    expect(parseIndexFileName(fileName)).toEqual({ name: "k", state });
  }
});

test("names of awkward keys keep apart from suffixes", () => {
  for (const text of ["k.ref", "k.del", ".", "a@5", "k@5.ref", "x".repeat(300), "é.ref"]) {
    const name = keyName(parseKey(text));
    for (const state of [live(), live(7), { kind: "deleted" } as const]) {
      const fileName = indexFileName(name, state);
      expect(parseIndexFileName(fileName)).toEqual({ name, state });
      expect(isFileOf(fileName, name)).toBe(true);
    }
  }
  expect(isFileOf("k.ref.ref", "k")).toBe(false);
  expect(isFileOf("k.ref", "k.ref")).toBe(false);
  expect(isFileOf("k1.ref", "k")).toBe(false);
  expect(isFileOf("k@x.ref", "k")).toBe(false);
  expect(isFileOf("k.del", "k")).toBe(true);
});

test("what is no file name", () => {
  const bad = [
    "",
    ".ref",
    "k",
    "k.REF",
    "k.refx",
    "k@.ref",
    "k@01.ref",
    "k@-1.ref",
    "k@1.del",
    "k@1@2.ref",
    "@1.ref",
    "k@253402300800.ref",
    "k@9007199254740991.ref",
    "k@1",
    "k.meta",
  ];
  for (const name of bad) expect([name, parseIndexFileName(name)]).toEqual([name, undefined]);
});

test("labels", () => {
  for (const label of ["a", "user:", "é".slice(0, 1), "\xc3", "x".repeat(64), ".", "..ref", "~", "\xff"]) {
    expect(labelName(label)).toEndWith("~");
    expect(parseLabelName(labelName(label))).toBe(label);
  }
  for (const bad of ["", "~", "a", "a~~", "%41~", "%e9~", `${"x".repeat(65)}~`, "a b~", "é~"]) {
    expect([bad, parseLabelName(bad)]).toEqual([bad, undefined]);
  }
});

test("shared prefixes", () => {
  expect([
    sharedLength("abc", "abd", 0),
    sharedLength("abc", "abc", 1),
    sharedLength("ab", "abc", 0),
    sharedLength("a", "b", 0),
    sharedLength("ab", "ab", 2),
  ]).toEqual([2, 2, 2, 0, 0]);
});
