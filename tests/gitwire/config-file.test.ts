/** The syntax of config files: what we read from a file is what `git config --list` reads from it. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../src/errors.ts";
import { type FileEntry, parseConfigEntries, parseConfigFile } from "../../src/gitwire/config/config-file.ts";
import { tryGit } from "../support/git.ts";
import { type Random, random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";

const dir = tempDir("config-file");

function read(content: string | Buffer): readonly FileEntry[] {
  return parseConfigEntries(Buffer.from(content as string).latin1Slice(), "f");
}

function values(content: string): [string, string | undefined][] {
  return read(content).map(({ name, value }) => [name, value]);
}

/** What git reads, in our shape; undefined where it refuses the file. */
function oracle(content: Buffer): [string, string | undefined][] | undefined {
  const file = path.join(dir, "oracle");
  fs.writeFileSync(file, content);
  const run = tryGit(dir, ["config", "--file", file, "--no-includes", "--list", "-z"]);
  if (run.status !== 0) return undefined;
  return run.stdout
    .toString()
    .split("\0")
    .slice(0, -1)
    .map((record) => {
      const end = record.indexOf("\n");
      return end < 0 ? [record, undefined] : [record.slice(0, end), record.slice(end + 1)];
    });
}

function ours(content: Buffer): [string, string | undefined][] | undefined {
  try {
    return read(content).map(({ name, value }) => [name, value]);
  } catch (error) {
    expect(error).toBeInstanceOf(KvError);
    expect((error as KvError).code).toBe("CONFIG");
    return undefined;
  }
}

/** Before 2.45 git turned tabs inside unquoted values into spaces; its manual always said they are kept. */
function tabsAsSpaces(list: [string, string | undefined][] | undefined) {
  return list?.map(([name, value]) => [name, value?.replace(/[\t\r]/g, " ")]);
}

const PIECES = [
  "[core]",
  "[core]\n",
  '[Remote "Ori.gin"]\n',
  "[a.B.c]\n",
  '[x "q\\"\\\\\\z"]',
  "[-9]\n",
  "[]\n",
  '[a "b]\n',
  "[a b]\n",
  "[a\n]",
  '[a  ""]\n',
  "[é]\n",
  "key",
  "Key-2",
  "k",
  "9k",
  "_k",
  " = ",
  "=",
  " =\t",
  "value",
  "two  words",
  '"quo ted"',
  '"',
  "\\",
  "\\n",
  "\\t",
  "\\b",
  "\\\\",
  '\\"',
  "\\x",
  "\\\n",
  "\\\r\n",
  "# note",
  "; note",
  "#",
  " ",
  "\t",
  "\n",
  "\r\n",
  "\r",
  "\n\n",
  "é",
  "\xff",
  "\ufeff",
  "[c]k=v\n",
  "k = v # c\n",
  'k = " v " ; c\n',
  "true\n",
  "]",
  "[core] key = a\n key = b\n",
];

const VALUE_PIECES = [
  "a",
  " ",
  "  ",
  "\t",
  '"x ; y"',
  '""',
  "\\n",
  "\\\\",
  '\\"',
  "\\\n ",
  "\\\r\n",
  "é",
  " # c",
  "; c",
  "=",
  "[z]",
  "#",
  "\\b",
  '" # "',
];

/** A sound line: a section, a comment or a variable with a value of odd pieces. */
function soundLine(rng: Random): string {
  const kind = rng.int(8);
  if (kind === 0) return rng.pick(["[a]", '[b "C \\" d"]', "[E.F]", '[a "x"]; c', "[a] k", "  [ab]\t# c"]);
  if (kind === 1) return rng.pick(["# c", " ; c", "", "\t"]);
  const name = rng.pick(["k", "Key-2", "\tname", "  z9"]);
  if (kind === 2) return name;
  return `${name}${rng.pick(["=", " = ", "\t="])}${Array.from({ length: rng.int(7) }, () => rng.pick(VALUE_PIECES)).join("")}`;
}

function nastyFile(rng: Random): Buffer {
  if (rng.int(2) === 0) {
    const lines = Array.from({ length: rng.int(10) }, () => soundLine(rng));
    return Buffer.from(rng.pick(["", "\ufeff"]) + lines.join(rng.pick(["\n", "\r\n"])));
  }
  const parts = [Buffer.from(rng.pick(["", "[core]\n"]))];
  for (let n = rng.int(12); n >= 0; n--) {
    const piece = rng.pick(PIECES);
    parts.push(piece === "\xff" ? Buffer.from([0xc3]) : Buffer.from(piece));
  }
  return Buffer.concat(parts);
}

test("a nasty file reads as git reads it", () => {
  const rng = random("config-file");
  let accepted = 0;
  for (let i = 0; i < 400; i++) {
    const content = nastyFile(rng);
    const expected = oracle(content);
    if (expected !== undefined && expected.length > 0) accepted++;
    expect({ content: content.toString(), read: tabsAsSpaces(ours(content)) }).toEqual({
      content: content.toString(),
      read: tabsAsSpaces(expected),
    });
  }
  expect(accepted).toBeGreaterThan(80);
});

test("tabs inside a value are kept, space around it is not", () => {
  expect(values("[a]\nk = \t x\ty  \t# c\n")).toEqual([["a.k", "x\ty"]]);
});

test("quotes, escapes, joined lines and comments", () => {
  const text = '[a "S\\"b"]\n\tK1 = " x ; y"tail # c\n\tk2=a\\\n  b\n\tk3\n\tk4 =\n[A.S2]\n\tk5 = \\t\\n\\b\\\\\\"';
  expect(values(text)).toEqual([
    ['a.S"b.k1', " x ; ytail"],
    ['a.S"b.k2', "a  b"],
    ['a.S"b.k3', undefined],
    ['a.S"b.k4', ""],
    ["a.s2.k5", '\t\n\b\\"'],
  ]);
});

test.each([
  ["[a]\nk = v\nb@d\n", 3],
  ['[a]\n\nk = "v\n', 3],
  ["[a\n", 1],
  ["[a]\n9 = v\n", 2],
  ["[a]\nk = v\\\nw\nk = \\q\n", 4],
])("a syntax error in %j is told with line %i", (text, line) => {
  try {
    read(text);
    expect.unreachable();
  } catch (error) {
    expect((error as KvError).code).toBe("CONFIG");
    expect((error as KvError).message).toBe(`bad config line ${line} in f`);
    expect((error as KvError).data).toEqual({ file: "f", line });
  }
});

test("the pieces of a file cover it without gaps, whatever is cut off", () => {
  const text = '\ufeff# c\r\n[a "b"] ; c\r\n\tk = "v"\\\n w\r\n\n[c]k\n';
  const bytes = Buffer.from(text).latin1Slice();
  for (let length = 0; length <= bytes.length; length++) {
    const cut = bytes.slice(0, length);
    let at = cut.startsWith("\xef\xbb\xbf") ? 3 : 0;
    try {
      for (const part of parseConfigFile(cut, "f")) {
        expect(part.begin).toBe(at);
        expect(part.end).toBeGreaterThan(part.begin);
        at = part.end;
      }
      expect(at).toBe(cut.length);
    } catch (error) {
      expect((error as KvError).code).toBe("CONFIG");
    }
  }
});

test("lines are counted from 1, joined ones too", () => {
  expect(read("[a]\n\nk = 1\\\n2\nl = 3\n").map((entry) => entry.line)).toEqual([3, 5]);
});
