/** Media types: what is recognised, what is taken, and that no text takes long to refuse. */

import { expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import { BYTES, detectMediaType, isMediaType, parseMediaType } from "../../src/kv/media-type.ts";

test("values are bytes, text or JSON", () => {
  const TEXT = "text/plain; charset=utf-8";
  const cases: [string | Buffer, string][] = [
    ["", BYTES],
    ["hello\n", TEXT],
    ["tab\tand\x1bescape", TEXT],
    ["é日本", TEXT],
    ["\ufeffbom", TEXT],
    ["42", TEXT],
    ['"quoted"', TEXT],
    ["true", TEXT],
    ["{}", "application/json"],
    [' \n[1, {"a": null}]\n', "application/json"],
    ["{not json}", TEXT],
    ["[1,", TEXT],
    ["a\0b", BYTES],
    ["\x7f", BYTES],
    [Buffer.from([0xff, 0xfe]), BYTES],
    [Buffer.from([0xc3]), BYTES],
    [Buffer.from([0xc0, 0x80]), BYTES],
    ["x".repeat(1024 * 1024), TEXT],
    ["x".repeat(1024 * 1024 + 1), BYTES],
    [`[${" ".repeat(1000)}]`, "application/json"],
  ];
  for (const [value, type] of cases)
    expect([value.slice(0, 20), detectMediaType(Buffer.from(value))]).toEqual([value.slice(0, 20), type]);
});

test("media types as RFC 9110 writes them", () => {
  const good = [
    "a/b",
    "application/vnd.api+json",
    "text/plain; charset=utf-8",
    "text/plain;charset=utf-8;format=flowed",
    'multipart/mixed; boundary="a;b=c"',
    'a/b; c="x\\"y"',
    `${"a".repeat(127)}/${"b".repeat(127)}`,
  ];
  for (const text of good) expect([text, parseMediaType(text)]).toEqual([text, text]);
  const bad = [
    "",
    "a",
    "a/",
    "/b",
    "a/b/c",
    "a b/c",
    "a/b;",
    "a/b; c",
    "a/b; c=",
    'a/b; c="x',
    'a/b; c=""d"',
    "a/é",
    "a/b\n",
    "a/b; c=\u0001",
    `a/${"b".repeat(128)}`,
    `a/b; c=${"d".repeat(250)}`,
    'a/b; c="\t"',
  ];
  for (const text of bad) {
    expect([text, isMediaType(text)]).toEqual([text, false]);
    expect(() => parseMediaType(text)).toThrow(KvError);
  }
});

test("text made to be matched in many ways is refused at once", () => {
  const start = performance.now();
  for (const piece of [';c=""', '; c="\\"', ";  ", 'c="', ";a=b"]) {
    expect(isMediaType(`a/b${piece.repeat(Math.floor(250 / piece.length))}!é`.slice(0, 255))).toBe(false);
  }
  expect(performance.now() - start).toBeLessThan(100);
});
