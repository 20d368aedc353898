/** Command lines as far as they are typed. */

import { describe, expect, test } from "bun:test";
import { readLine, splitWords } from "../../../src/cli/completion/line.ts";
import { PROGRAM } from "../../../src/commands/table.ts";
import { runIn } from "../../support/shell-words.ts";

/** What is looked up, and the beginning that is typed. */
function wanted(line: string): string | undefined {
  const word = readLine(PROGRAM, line);
  return word === undefined ? undefined : `${word.wants ?? "-"} ${word.text}`;
}

describe("the last word", () => {
  test.each([
    ["git-kv get cfg:t", "key cfg:t"],
    ["git kv get ", "key "],
    ["/usr/bin/git-kv get a b", "key b"],
    ["git kv get --raw a", "key a"],
    ["git kv get -o out a", "key a"],
    ["git kv get -o out", "file out"],
    ["git kv get --output=ou", "file ou"],
    ["git kv get --range 1-2 a", "key a"],
    ["git kv get --re", "- --re"],
    ["git kv get -- --odd", "key --odd"],
    ["git kv set k", "key k"],
    ["git kv set k v", "- v"],
    ["git kv cas set k", "key k"],
    ["git kv list k", "- k"],
    ["git kv list --prefix k", "key k"],
    ["git kv list --prefix=k", "key k"],
    ["git kv list --unknown k", "- k"],
    ["git kv --json --ns staging get k", "key k"],
    ["git kv get 'my k", "key my k"],
    ['git kv get "my k', "key my k"],
    ["git kv get my\\ k", "key my k"],
    ["git kv remote setup k", "- k"],
  ])("%s", (line, expected) => expect(wanted(line)).toBe(expected));

  test.each(["", "git", "git kv", "git kv ge", "git log get k", "other get k", "git kv frob k"])(
    "is nothing to look up: %p",
    (line) => expect(wanted(line)).toBeUndefined(),
  );

  test("global flags and folders before it", () => {
    const word = readLine(PROGRAM, "git -C a kv -C b --ns=x --ns y get --repo ../r -C c k")!;
    expect([...word.globals]).toEqual([
      ["ns", "y"],
      ["repo", "../r"],
    ]);
    expect(word.folders).toEqual(["a", "b", "c"]);
  });
});

test("words are split as a shell does", () => {
  const lines = ["a b", "  a\t b ", "'a b' c", `"a \\" \\$x" '\\n'`, "a\\ b", `it\\'s "a"'b'c`, `"" ''`];
  for (const line of lines) {
    // The last word is what is being typed, here nothing.
    expect(splitWords(`${line} `)).toEqual([...runIn("bash", line), ""]);
  }
  expect(splitWords("a 'b c")).toEqual(["a", "b c"]);
  expect(splitWords("")).toEqual([""]);
});
