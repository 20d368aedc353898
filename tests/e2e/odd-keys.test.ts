/** Keys and values that are hard on shells, files and git, through every command that takes or shows them. */

import { beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable, type Run, runProgram } from "../support/executable.ts";
import { fsck, git } from "../support/git.ts";
import { ENV } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";

const KEYS = [
  " ",
  "a key",
  "\"quoted\" and 'quoted'",
  "$(rm -rf .) `x` ; & | > \\",
  "emoji 😀 日本",
  "--flag",
  "-x",
  "-1",
  ".",
  "..",
  "../../etc/passwd",
  "a//b",
  "/absolute",
  "trailing/",
  ".git",
  ".git/config",
  "Case",
  "case",
  "e\u0301",
  "\u00e9",
  "\u202eright to left",
  "\ufeffmark",
  "\u009b31m",
  "line\u2028end",
  "%2e%2e",
  "100%",
  "*?[a]",
  "CON",
  "name.json",
  "key.m",
  "@{-1}",
  "refs/heads/main.lock",
  "x".repeat(1_024),
  "é".repeat(512),
].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

/** Every byte there is, text that is none, and nothing. */
const bytesOf = (key: string): Buffer =>
  key === "-x"
    ? Buffer.alloc(0)
    : Buffer.concat([Buffer.from([0, 0xff, 0xc3, 0x28, 10]), Buffer.from(key), Buffer.from("\r\n\0")]);

let dir: string;
const kv = (...args: string[]): Run => runProgram(executable("git-kv"), args, { cwd: dir, env: ENV });
const ok = (...args: string[]): string => {
  const run = kv(...args);
  if (run.status !== 0) throw new Error(`${args.join(" ")}: exit ${run.status}: ${run.stderr}`);
  return run.stdout;
};
const lines = (text: string): string[] => text.split("\n").slice(0, -1);
const records = (text: string): Record<string, unknown>[] => lines(text).map((line) => JSON.parse(line));

beforeAll(() => {
  dir = tempDir("odd");
  ok("init");
  const batch = KEYS.map((key) => JSON.stringify({ op: "set", key, value_b64: bytesOf(key).toString("base64") }));
  fs.writeFileSync(path.join(dir, "batch.jsonl"), batch.join("\n"));
  ok("mset", "--file", "batch.jsonl");
});

test("they are listed in the order of their bytes, and each is told apart", () => {
  expect(ok("list", "-0").split("\0").slice(0, -1)).toEqual(KEYS);
  expect(records(ok("list", "--json")).map(({ key }) => key)).toEqual(KEYS);
  const values = records(ok("get", "--json", "--", ...KEYS)).map(({ key, value, value_b64 }) => [
    key,
    value ?? value_b64,
  ]);
  expect(values).toEqual(KEYS.map((key) => [key, key === "-x" ? "" : bytesOf(key).toString("base64")]));
  expect(records(ok("watch", "--since", "0", "--json")).map(({ key }) => key)).toEqual(KEYS);
  expect(records(ok("diff", "1", "--json")).map(({ key }) => key)).toEqual(KEYS);
  expect(records(ok("log", "--keys", "--limit", "1", "--json"))[0]!.keys).toEqual(
    KEYS.map((key) => ({ op: "set", key, rev: 1 })),
  );
  expect(ok("verify")).toContain("no findings");
  expect(fsck(dir)).toBe("notice: HEAD points to an unborn branch (main)");
});

test("values come out byte for byte", () => {
  for (const key of ["..", "a key", "-x", "x".repeat(1_024)]) {
    const raw = runProgram("bash", ["-c", '"$0" get -- "$1" | od -An -v -tx1', executable("git-kv"), key], {
      cwd: dir,
      env: ENV,
    });
    expect(raw.stdout.replace(/\s/g, "")).toBe(bytesOf(key).toString("hex"));
    ok("get", "-o", "value", "--", key);
    expect(fs.readFileSync(path.join(dir, "value")).equals(bytesOf(key))).toBe(true);
  }
});

test("files named after them stay in their folder", () => {
  const before = fs.readdirSync(dir).sort();
  ok("get", "--output-dir", "out", "--", ...KEYS);
  ok("snapshot", "--export", "all.jsonl");
  expect(fs.readdirSync(dir).sort()).toEqual([...before, "all.jsonl", "out"].sort());
  const files = fs
    .readdirSync(path.join(dir, "out"), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile());
  expect(files.length).toBe(KEYS.length);
  const copy = tempDir("copy");
  const there = (...args: string[]): Run => runProgram(executable("git-kv"), args, { cwd: copy, env: ENV });
  expect(there("init", "-q").status).toBe(0);
  expect(there("import", path.join(dir, "all.jsonl")).status).toBe(0);
  // The same keys with the same values: the same tree of values.
  const data = (at: string): string => git(at, "rev-parse", "refs/kv/main:data");
  expect(data(copy)).toBe(data(dir));
});

test("commands that take one key take each of these, behind -- where it begins with a dash", () => {
  for (const key of ["--flag", "$(rm -rf .) `x` ; & | > \\", ".git/config", "e\u0301", "é".repeat(512)]) {
    ok("set", "--", key, "second");
    expect(ok("get", "--", key)).toBe("second");
    const tree = git(dir, "rev-parse", "refs/kv/main^{tree}");
    const blob = String(records(ok("get", "--json", "--", key))[0]!.oid);
    ok("cas", "set", "--expect-tree", tree, "--expect-blob", blob, "--", key, "third");
    const [newest, ...older] = records(ok("history", "--json", "--", key));
    expect([newest!.key, newest!.rev, older.length]).toEqual([key, 3, 2]);
    expect(lines(ok("list", `--prefix=${key}`))).toContain(key);
    expect(ok("complete-keys", "--", `git kv get -- '${key.slice(0, 4)}`).split("\n")).toContain(key);
    ok("del", "--", key);
    expect(kv("get", "--", key).status).toBe(6);
    ok("revert", git(dir, "rev-parse", "refs/kv/main"));
    expect(ok("get", "--", key)).toBe("third");
  }
});

test("what is no key is refused by every command that takes one, and nothing is written", () => {
  const before = git(dir, "rev-parse", "refs/kv/main");
  const commands = [
    "get KEY",
    "set KEY v",
    "del KEY",
    `cas set KEY v --expect-blob 0 --expect-tree ${"0".repeat(before.length)}`,
    "history KEY",
    "list --after KEY",
  ];
  const bad = ["x".repeat(1_025), "é".repeat(513), "new\nline", "tab\t", "\x7f", "\x1b[31m"];
  for (const command of commands) {
    for (const key of command.startsWith("list") ? bad : ["", ...bad]) {
      const run = kv(...command.split(" ").map((word) => (word === "KEY" ? key : word)));
      expect([command, key, run.status, run.stdout]).toEqual([command, key, 4, ""]);
      // The terminal gets no control character, and the error stays one line.
      expect(run.stderr).toMatch(/^error: the key [^\x00-\x09\x0b-\x1f\x7f-\x9f\n]*\nhint: [^\n]*\n$/);
    }
  }
  const batch = ["a\\u0000b", "a\\nb", "", "x".repeat(1_025), "\\ud800"].map(
    (key) => `{"op":"set","key":"${key}","value":1}`,
  );
  const run = runProgram(executable("git-kv"), ["mset", "--file", "-"], {
    cwd: dir,
    env: ENV,
    input: batch.join("\n"),
  });
  expect([run.status, [...run.stderr.matchAll(/^line (\d+): /gm)].map(([, line]) => line)]).toEqual([
    4,
    ["1", "2", "3", "4", "5"],
  ]);
  expect(git(dir, "rev-parse", "refs/kv/main")).toBe(before);
});
