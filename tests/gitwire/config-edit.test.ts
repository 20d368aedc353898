/** Editing config files: our edit leaves byte for byte what `git config` leaves. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../src/errors.ts";
import { addConfig, replaceConfig, setConfig, unsetConfig } from "../../src/gitwire/config/config-edit.ts";
import { parseConfigEntries } from "../../src/gitwire/config/config-file.ts";
import { systemDisk } from "../../src/gitwire/disk.ts";
import { tryGit } from "../support/git.ts";
import { type Random, random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";

const dir = tempDir("config-edit");
const MINE = path.join(dir, "mine");
const GITS = path.join(dir, "gits");

const LINES = [
  "[core]",
  "[core] bare = true",
  '[remote "Origin"]',
  '[remote "origin"] # here',
  "[Core]",
  "[kv]",
  "[remote.origin]",
  "",
  "\turl = x",
  "\tbare = false",
  "  bare",
  '\tName = "a b" ; why',
  "# a comment",
  "; another",
  "\turl = y\\",
  "\tz = 1 # t",
  "\tfetch = +refs/*:refs/*",
  "   ",
];
const NAMES = [
  "core.bare",
  "Core.Bare",
  "core.name",
  "kv.namespace",
  "remote.origin.url",
  "remote.Origin.url",
  "remote.origin.fetch",
  "new.thing",
  'new.Sub"x\\y.Thing',
  "kv.a.b.c.z",
];
const VALUES = [
  "v",
  "",
  " lead",
  "trail ",
  "a;b",
  "a#b",
  'qu"ote',
  "back\\slash",
  "tab\tin",
  "line\nend",
  "é",
  "\ttab",
  "true",
  "+refs/*:refs/*",
];

function file(rng: Random): string {
  const lines = Array.from({ length: rng.int(12) }, () => rng.pick(LINES));
  const end = rng.pick(["\n", "\n", "\r\n", "\n\n"]);
  return lines.join(end) + (rng.int(3) > 0 ? end : "");
}

function isValid(text: string): boolean {
  try {
    parseConfigEntries(text, "f");
    return true;
  } catch {
    return false;
  }
}

/** Runs one edit by git and by us on the same text; returns both results (undefined: refused). */
function both(
  text: string,
  args: string[],
  ours: () => unknown,
): { git: string | undefined; mine: string | undefined } {
  fs.writeFileSync(MINE, text);
  fs.writeFileSync(GITS, text);
  fs.rmSync(`${GITS}.lock`, { force: true });
  const run = tryGit(dir, ["config", "--file", GITS, ...args]);
  // git 2.39 crashes where --fixed-value meets a variable without "=".
  if (run.status === -1) return { git: undefined, mine: undefined };
  if (![0, 5].includes(run.status))
    throw new Error(`git ${args} on ${JSON.stringify(text)}: ${run.status} ${run.stderr}`);
  const git = run.status === 0 ? fs.readFileSync(GITS, "utf8") : undefined;
  try {
    const result = ours();
    return { git, mine: result === 0 ? undefined : fs.readFileSync(MINE, "utf8") };
  } catch (error) {
    expect((error as KvError).code).toBe("CONFIG");
    return { git, mine: undefined };
  }
}

test("random edits of random files leave what git leaves", () => {
  const rng = random("config-edit");
  let changed = 0;
  for (let i = 0; i < 500; i++) {
    const text = file(rng);
    // git's own editor trips over a variable on its section's line without space between them; our files have space.
    if (!isValid(text)) continue;
    const name = rng.pick(NAMES);
    const value = rng.pick(VALUES);
    const [args, ours] = rng.pick<[string[], () => unknown]>([
      [[name, value], () => setConfig(MINE, name, value)],
      [["--add", name, value], () => addConfig(MINE, name, value)],
      [["--replace-all", name, value], () => replaceConfig(MINE, name, value)],
      [["--unset-all", name], () => unsetConfig(MINE, name)],
      [["--unset-all", "--fixed-value", name, "x"], () => unsetConfig(MINE, name, { match: (v) => v === "x" })],
      [
        ["--replace-all", "--fixed-value", name, value, "x"],
        () => replaceConfig(MINE, name, value, { match: (v) => v === "x" }),
      ],
    ]);
    const result = both(text, args, ours);
    if (result.git !== undefined) changed++;
    expect({ text, args, result: result.mine }).toEqual({ text, args, result: result.git });
  }
  expect(changed).toBeGreaterThan(50);
});

test("a section that becomes empty goes, one with a comment stays", () => {
  fs.writeFileSync(MINE, "[a]\n\tk = 1\n[b]\n\tk = 2\n[c]\n\t# why\n\tk = 3\n");
  expect(unsetConfig(MINE, "b.k")).toBe(1);
  expect(unsetConfig(MINE, "c.k")).toBe(1);
  expect(unsetConfig(MINE, "c.k")).toBe(0);
  expect(fs.readFileSync(MINE, "utf8")).toBe("[a]\n\tk = 1\n[c]\n\t# why\n");
});

test("what was set is read back, whatever it holds", () => {
  const rng = random("config-roundtrip");
  for (let i = 0; i < 300; i++) {
    fs.writeFileSync(MINE, "[other]\n\tx = 1");
    const chars = Array.from({ length: rng.int(8) }, () =>
      rng.pick([" ", "\t", "\n", "\r", "\\", '"', "#", ";", "a", "é", "\v", "\ufeff", "="]),
    );
    const value = chars.join("");
    const name = `kv.${rng.pick(["", 'S"u\\b.', "a.b .", "é."])}key`;
    setConfig(MINE, name, value);
    expect(parseConfigEntries(fs.readFileSync(MINE, "latin1"), MINE).map((e) => [e.name, e.value])).toEqual([
      ["other.x", "1"],
      [name, value],
    ]);
  }
});

test("the mode of the file is kept, a link stays a link, a missing folder is made", () => {
  fs.writeFileSync(MINE, "[a]\n");
  fs.chmodSync(MINE, 0o600);
  const link = path.join(dir, "link");
  fs.symlinkSync("mine", link);
  setConfig(link, "a.k", "v");
  expect(fs.lstatSync(link).isSymbolicLink()).toBe(true);
  expect(fs.statSync(MINE).mode & 0o777).toBe(0o600);
  expect(fs.readFileSync(MINE, "utf8")).toBe("[a]\n\tk = v\n");
  const deep = path.join(dir, "deep/er/config");
  setConfig(deep, "a.k", "v");
  expect(fs.readFileSync(deep, "utf8")).toBe("[a]\n\tk = v\n");
});

test("a held lock is told, and nothing is written", () => {
  fs.writeFileSync(MINE, "[a]\n");
  fs.writeFileSync(`${MINE}.lock`, "");
  expect(() => setConfig(MINE, "a.k", "v")).toThrow(/held by another git process/);
  expect(fs.readFileSync(MINE, "utf8")).toBe("[a]\n");
  expect(fs.existsSync(`${MINE}.lock`)).toBe(true);
  // What is there already wants no lock.
  fs.writeFileSync(MINE, "[a]\n\tk = v\n");
  setConfig(MINE, "a.k", "v");
  replaceConfig(MINE, "a.k", "v");
  fs.rmSync(`${MINE}.lock`);
});

test("a change by somebody else between reading and locking is not lost", () => {
  fs.writeFileSync(MINE, "[a]\n\tk = 1\n");
  let first = true;
  const disk = {
    ...systemDisk,
    mkdir(folder: string) {
      if (first) fs.writeFileSync(MINE, "[a]\n\tk = 1\n\tother = 2\n");
      first = false;
      systemDisk.mkdir(folder);
    },
  };
  setConfig(MINE, "a.k", "3", { disk });
  expect(fs.readFileSync(MINE, "utf8")).toBe("[a]\n\tk = 3\n\tother = 2\n");
});

test("an error of the disk leaves the file as it was, and no lock", () => {
  for (const failing of ["create", "rename"] as const) {
    fs.writeFileSync(MINE, "[a]\n");
    const disk = {
      ...systemDisk,
      [failing]: () => {
        throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
      },
    };
    try {
      setConfig(MINE, "a.k", "v", { disk });
      expect.unreachable();
    } catch (error) {
      expect((error as KvError).code).toBe("STORAGE");
    }
    expect(fs.readFileSync(MINE, "utf8")).toBe("[a]\n");
    expect(fs.existsSync(`${MINE}.lock`)).toBe(false);
  }
});

test.each(["nodot", ".x", "a.", "a.1x", "a b.c", "a.b\nc.d"])("the name %j is refused", (name) => {
  expect(() => setConfig(MINE, name, "v")).toThrow(KvError);
});
