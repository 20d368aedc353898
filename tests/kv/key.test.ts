/** Keys and their names: a bijection as far as names are short, and no name that a file system or a suffix could confuse. */

import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { utf8ToByteString } from "../../src/bytes.ts";
import type { KvError } from "../../src/errors.ts";
import {
  isKey,
  keyDigits,
  keyName,
  keyText,
  nameDigits,
  parseKey,
  parseName,
  percentDecode,
  percentEncode,
} from "../../src/kv/key.ts";
import { oracleName } from "../support/format-oracle.ts";
import { type Random, random } from "../support/random.ts";

const code = (text: string): string => {
  try {
    parseKey(text);
    return "ok";
  } catch (error) {
    return (error as KvError).code;
  }
};

test("what is a key", () => {
  for (const key of [
    "a",
    " ",
    "\u0080",
    "\u00a0",
    "é",
    "😀",
    "\ufeff",
    "\u2028",
    "x".repeat(1024),
    "é".repeat(512),
    "..",
    "/",
    "\\",
  ]) {
    expect([key, code(key), isKey(utf8ToByteString(key))]).toEqual([key, "ok", true]);
    expect(keyText(parseKey(key))).toBe(key);
  }
  for (const key of [
    "",
    "x".repeat(1025),
    "é".repeat(513),
    "a\0",
    "a\n",
    "\x1f",
    "a\x7fb",
    "\ud800",
    "a\udc00b",
    "\ud800\ud800",
  ]) {
    expect([key, code(key)]).toEqual([key, "KEY_INVALID"]);
  }
  for (const bytes of [
    "",
    "\xff",
    "\xc3",
    "\xc0\x80",
    "\xed\xa0\x80",
    "\xf4\x90\x80\x80",
    "a\n",
    "\x7f",
    "x".repeat(1025),
  ]) {
    expect([bytes, isKey(bytes)]).toEqual([bytes, false]);
  }
});

test("the error for a key hides nothing and breaks no line", () => {
  expect(() => parseKey("a\nb")).toThrow('the key "a\\nb" has a control character');
  expect(() => parseKey("é".repeat(600))).toThrow("the key is 1200 bytes long");
});

const ALPHABET = [
  "a",
  "Z",
  "0",
  "_",
  "-",
  ".",
  ".",
  "%",
  "%41",
  "~",
  "@",
  ":",
  "/",
  " ",
  "é",
  "日",
  "😀",
  ".ref",
  ".del",
  ".meta",
  ".manifest.json",
  "@1",
];

function randomKey(rng: Random): string {
  const pieces = Array.from({ length: 1 + rng.int(rng.pick([3, 8, 40, 160])) }, () => rng.pick(ALPHABET));
  let text = pieces.join("");
  while (Buffer.byteLength(text) > 1024) text = text.slice(0, text.length >> 1);
  return parseKey(text.isWellFormed() ? text : "x");
}

test("names of random keys: as the format's text has it, readable, distinct, safe", () => {
  const rng = random("names");
  const keys = new Set(Array.from({ length: 5000 }, () => randomKey(rng)));
  const names = new Map<string, string>();
  for (const key of keys) {
    const name = keyName(key);
    expect(name).toBe(oracleName(key));
    expect(name).toMatch(/^[A-Za-z0-9_%~-](?:[A-Za-z0-9_.%~-]{0,199}[A-Za-z0-9_%~-])?$/);
    expect(name).not.toMatch(/\.(?:manifest\.json|meta|ref|del)$/);
    expect(names.has(name)).toBe(false);
    names.set(name, key);
    expect(parseName(name)).toEqual(
      name.includes("~") ? { kind: "long", digits: keyDigits(key) } : { kind: "key", key },
    );
    expect(nameDigits(name)).toBe(keyDigits(key));
  }
});

test("texts that are no key's name", () => {
  const bad = [
    "",
    ".",
    "a.",
    ".a",
    "a.ref",
    "a.meta",
    "a.del",
    "a.manifest.json",
    "%41",
    "%2e",
    "%2G",
    "%",
    "a%",
    "%00",
    "%0A",
    "%7F",
    "%FF",
    "%C3",
    "a b",
    "a/b",
    "é",
    "a~",
    "~",
    "a@1",
    `a~${"0".repeat(64)}`,
    `${"x".repeat(117)}~${"0".repeat(64)}`,
    `${"x".repeat(121)}~${"0".repeat(64)}`,
    `${"x".repeat(120)}~${"A".repeat(64)}`,
    `${"x".repeat(120)}~${"0".repeat(63)}`,
    `${"é".repeat(20)}~${"0".repeat(64)}`,
    "a%2Eb",
    "x".repeat(201),
    "a\n",
  ];
  for (const name of bad) expect([name, parseName(name), nameDigits(name)]).toEqual([name, undefined, undefined]);
});

test("percent-encoding goes there and back for every byte", () => {
  const all = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
  expect(percentEncode(all)).toMatch(/^[A-Za-z0-9_.%-]*$/);
  expect(percentDecode(percentEncode(all))).toBe(all);
  for (const bad of ["%", "%0", "%a0", "~", " ", "\n"]) expect(percentDecode(bad)).toBeUndefined();
});

test("the order of keys is the order of their bytes", () => {
  // In UTF-16 the first sorts after the second.
  const [a, b] = [parseKey("\uffee"), parseKey("\u{10000}")];
  expect(a < b).toBe(true);
  expect(Buffer.compare(Buffer.from("\uffee"), Buffer.from("\u{10000}"))).toBe(-1);
});

test("a key's place is the SHA-256 of its bytes, however many they are", () => {
  for (const key of ["a", "\xc3\xa9", "k".repeat(1_024), "k".repeat(1_025), "k".repeat(5_000)])
    expect(keyDigits(key)).toBe(createHash("sha256").update(key, "latin1").digest("hex"));
});
