import { expect, test } from "bun:test";
import type { KvError } from "../../../src/errors.ts";
import {
  checkRefFormat,
  checkRefName,
  compareRefNames,
  isPerWorktree,
  isValidRefName,
} from "../../../src/gitwire/refs/ref-name.ts";
import { tryGit } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";

const PIECES = [
  "refs",
  "heads",
  "a",
  "B",
  "/",
  "/",
  "/",
  ".",
  "..",
  ".lock",
  "lock",
  "@",
  "@{",
  "{",
  "}",
  "~",
  "^",
  ":",
  "?",
  "*",
  "[",
  "]",
  "\\",
  " ",
  "\t",
  "\x7f",
  "\x01",
  "é",
  "-",
  "_",
  "%",
  "~",
  "main",
  "🙂",
  "//",
  '"',
  "'",
  "\n",
];

test("names are judged as git check-ref-format judges them", () => {
  const rng = random("ref-name");
  const dir = tempDir("ref-name");
  let valid = 0;
  for (let i = 0; i < 350; i++) {
    const middle = Array.from({ length: 1 + rng.int(4) }, () => rng.pick(PIECES)).join("");
    const name = rng.pick(["refs/heads/", "refs/kv/", "", ""]) + middle;
    if (name.startsWith("-")) continue; // git would take it for an option
    const flags = rng.pick([
      [],
      ["--allow-onelevel"],
      ["--refspec-pattern"],
      ["--allow-onelevel", "--refspec-pattern"],
    ]);
    const expected = tryGit(dir, ["check-ref-format", ...flags, name]).status === 0;
    if (expected) valid++;
    const options = { oneLevel: flags.includes("--allow-onelevel"), pattern: flags.includes("--refspec-pattern") };
    expect({ name, flags, valid: checkRefFormat(name, options) }).toEqual({ name, flags, valid: expected });
  }
  expect(valid).toBeGreaterThan(30);
});

test.each(["HEAD", "FETCH_HEAD", "refs/kv/main", "refs/heads/ü", "worktrees/w/HEAD", "main-worktree/refs/bisect/bad"])(
  "%s is a name refs are stored under",
  (name) => expect(checkRefName(name)).toBe(name),
);

test.each([
  "",
  "head",
  "config",
  "refs",
  "refs/",
  "../HEAD",
  "refs/../config",
  "refs/heads/../../config",
  "/refs/heads/a",
  "refs//a",
  "HEAD.lock",
  "refs/heads/a.lock",
  "worktrees/../HEAD",
  "objects/pack",
  "refs/heads/a\0b",
  `refs/heads/${"a".repeat(1024)}`,
  "main-worktree/config",
])("%j never becomes a path", (name) => {
  expect(isValidRefName(name)).toBe(false);
  try {
    checkRefName(name);
    expect.unreachable();
  } catch (error) {
    expect((error as KvError).code).toBe("REF_INVALID");
    expect((error as KvError).message).not.toMatch(/[\x00-\x1f]/);
  }
});

test("which refs a worktree has of its own", () => {
  expect(["HEAD", "ORIG_HEAD", "refs/bisect/bad", "refs/worktree/x", "refs/rewritten/y"].every(isPerWorktree)).toBe(
    true,
  );
  expect(["refs/heads/main", "refs/worktreex/a", "refs/kv/main", "refs/bisect"].some(isPerWorktree)).toBe(false);
});

test("names sort by their bytes, not by UTF-16 units", () => {
  const names = ["refs/\u{1f642}", "refs/\uff5e", "refs/a-b", "refs/a/b", "refs/a"];
  expect(names.sort(compareRefNames)).toEqual(["refs/a", "refs/a-b", "refs/a/b", "refs/\uff5e", "refs/\u{1f642}"]);
});
