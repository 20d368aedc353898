/** Words of a configured command, held against how the real git splits an alias. */

import { expect, test } from "bun:test";
import { splitCommand } from "../../src/gitwire/sign-program.ts";
import { tryGit } from "../support/git.ts";
import { tempDir } from "../support/temp.ts";

test("words are those of git", () => {
  const dir = tempDir();
  for (const words of [
    "a b  c",
    "'a b' c",
    `"a b" 'c"d' "e'f"`,
    String.raw`a\ b "c\"d" 'e\f'`,
    `x'y'"z"`,
    `"" ''`,
    `é "ü ß"`,
  ]) {
    // rev-parse --sq-quote prints each word it was given in quotes of its own.
    const { status, stdout } = tryGit(dir, ["-c", `alias.words=rev-parse --sq-quote ${words}`, "words"]);
    expect(status).toBe(0);
    const quoted = splitCommand(words)!.map((word) => ` '${word.replace(/['!]/g, "'\\$&'")}'`);
    expect(`${quoted.join("")}\n`).toBe(stdout.toString());
  }
});

test("a quote that is never closed is no command", () => {
  for (const words of ["'a", '"a', `a "b\\"`]) expect(splitCommand(words)).toBeUndefined();
  expect(splitCommand("")).toEqual([]);
});
