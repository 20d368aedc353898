/** What a policy says of keys and values: the verdicts, and that the messages name key, rule and way out. */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import { type ContentRules, checkKey, checkValue, hasContentRules, isLfsPointer } from "../../src/kv/content-rules.ts";
import { parseKey } from "../../src/kv/key.ts";

function failure(act: () => void): KvError {
  try {
    act();
  } catch (error) {
    if (error instanceof KvError) return error;
  }
  throw new Error("it did not fail");
}

const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${"ab".repeat(32)}\nsize 12345\n`;

describe("keys", () => {
  const rules: ContentRules = {
    maxInline: 10,
    allowedPrefixes: ["cfg:", "user:"],
    signer: { name: "ci-bot", prefixes: ["cfg:"] },
  };

  test("a key under a prefix of both passes", () => {
    expect(() => checkKey(rules, parseKey("cfg:a"))).not.toThrow();
  });

  test("a key outside is refused, and the message says why and what to do", () => {
    const namespace = failure(() => checkKey(rules, parseKey("secret:é")));
    expect([namespace.code, namespace.exit]).toEqual(["PREFIX_NOT_ALLOWED", 3]);
    expect(namespace.message).toBe(
      '"secret:é" begins with none of the namespace\'s allowed_prefixes ("cfg:", "user:")',
    );
    expect(namespace.hint).toContain("let an admin add one to the policy");
    const signer = failure(() => checkKey(rules, parseKey("user:1")));
    expect(signer.message).toBe('ci-bot may not write "user:1": its prefixes are "cfg:"');
    expect(failure(() => checkKey({ ...rules, allowedPrefixes: [] }, parseKey("cfg:a"))).message).toContain("(none)");
  });
});

describe("values", () => {
  test("sizes: the rule that is broken is named", () => {
    const large = failure(() => checkValue({ maxInline: 4 }, parseKey("k"), Buffer.from("12345")));
    expect(large.message).toBe('the value of "k" has 5 bytes, at most 4 are allowed (max_value_inline)');
    const total = failure(() => checkValue({ maxInline: 9, maxTotal: 4 }, parseKey("k"), Buffer.from("12345")));
    expect(total.message).toContain("(max_value_total)");
    expect(() => checkValue({ maxInline: 5, maxTotal: 5 }, parseKey("k"), Buffer.from("12345"))).not.toThrow();
  });

  test("pointers of Git LFS, where the policy forbids them", () => {
    const forbidding: ContentRules = { maxInline: 9_999, forbidLfs: true };
    const pointer = failure(() => checkValue(forbidding, parseKey("img"), Buffer.from(POINTER)));
    expect([pointer.code, pointer.message]).toEqual([
      "LFS_FORBIDDEN",
      'the value of "img" is a Git LFS pointer, which the policy forbids',
    ]);
    expect(pointer.hint).toContain("store the file itself");
    expect(() => checkValue({ maxInline: 9_999 }, parseKey("img"), Buffer.from(POINTER))).not.toThrow();
  });

  test.each([
    ["as git-lfs writes it", POINTER, true],
    ["with extensions", POINTER.replace("oid ", `ext-0-foo sha256:${"0".repeat(64)}\noid `), true],
    ["with CRLF", POINTER.replaceAll("\n", "\r\n"), true],
    ["with blank lines around it", `\n \n${POINTER}\n`, true],
    ["its older names", POINTER.replace("git-lfs.github.com", "hawser.github.com"), true],
    ["text about it", "see version https://git-lfs.github.com/spec/v1", false],
    ["without an id", "version https://git-lfs.github.com/spec/v1\nsize 1\n", false],
    ["a long text that begins like it", POINTER + "x".repeat(1_024), false],
    ["nothing", "", false],
  ])("%s", (_name, text, expected) => {
    expect(isLfsPointer(Buffer.from(text))).toBe(expected);
  });
});

test("rules that need the keys to be looked at", () => {
  expect(hasContentRules({ maxInline: 1 })).toBe(false);
  expect(hasContentRules({ maxInline: 1, forbidLfs: false, allowedPrefixes: undefined })).toBe(false);
  expect(hasContentRules({ maxInline: 1, allowedPrefixes: [] })).toBe(true);
  expect(hasContentRules({ maxInline: 1, maxTotal: 1 })).toBe(true);
  expect(hasContentRules({ maxInline: 1, forbidLfs: true })).toBe(true);
  expect(hasContentRules({ maxInline: 1, signer: { name: "x", prefixes: [] } })).toBe(true);
});
