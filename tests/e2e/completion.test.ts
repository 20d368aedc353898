/** Keys offered by real shells, from a store made by the compiled program. */

import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { executable } from "../support/executable.ts";
import { tempDir } from "../support/temp.ts";
import { type TypedLine, typeInto } from "../support/typed-shell.ts";

const KV = executable("git-kv");
const PATH = `${path.dirname(KV)}:${process.env.PATH}`;
const STORE = makeStore();

function makeStore(): string {
  const dir = tempDir("keys");
  const keys = ["cfg:theme", "cfg:lang", "cfg:lang:de", "plain", "my key", "it's=$x", "日本", 'qu"$(id)`x', "gone"];
  const batch = keys.map((key) => `${JSON.stringify({ op: "set", key, value: "v" })}\n`).join("");
  for (const [args, input] of [
    [["init"], ""],
    [["mset", "--file", "-"], batch],
    [["del", "gone"], ""],
    [["init", "--ns", "other"], ""],
    [["set", "--ns", "other", "only-here", "v"], ""],
  ] as const) {
    const run = spawnSync(KV, args, { cwd: dir, input, encoding: "utf8" });
    if (run.status !== 0) throw new Error(run.stderr);
  }
  for (const shell of ["bash", "zsh", "fish"]) {
    fs.writeFileSync(path.join(dir, `${shell}.completion`), spawnSync(KV, ["completion", shell]).stdout);
  }
  return dir;
}

const awaited = (lines: readonly TypedLine[]): string[] => lines.map(([, text]) => text);

test("in bash", () => {
  const lines: TypedLine[] = [
    ["git-kv get cfg:t", "cfg:theme "],
    ["git-kv get pl", "git-kv get plain "],
    ["git-kv get cfg:lang:", "cfg:lang:de "],
    ["git-kv set p", "git-kv set plain "],
    ["git-kv list --prefix=cfg:th", "--prefix=cfg:theme "],
    ["git-kv list --prefix my", "--prefix my\\ key "],
    ["git-kv get 'my", "get 'my key' "],
    ["git-kv get 'my k", "get 'my key' "],
    // What is in quotes stays there, whatever a key is made of.
    ["git-kv get 'it", "get 'it'\\''s=$x' "],
    ['git-kv get "qu', 'get "qu\\"\\$(id)\\`x" '],
    ["git-kv get it", "get it\\'s=\\$x "],
    ["git-kv get --ns other o", "get --ns other only-here "],
    [`git-kv -C ${path.dirname(STORE)} -C ${path.basename(STORE)} get 日`, "日本 "],
  ];
  const setUp = `export PATH=${PATH}; bind 'set enable-bracketed-paste off'; source ${STORE}/bash.completion`;
  expect(typeInto("bash --norc -i", setUp, lines, STORE)).toEqual(awaited(lines));
});

test("in zsh", () => {
  const lines: TypedLine[] = [
    ["git-kv get cfg:t", "git-kv get cfg:theme "],
    ["git-kv set p", "git-kv set plain "],
    ["git-kv list --prefix=cfg:th", "cfg:theme "],
    ["git-kv list --prefix my", "my\\ key "],
    ["git-kv get 'my", "'my key' "],
    ["git-kv get 'my k", "'my key' "],
    ['git-kv get "my k', '"my key" '],
    ["git-kv get --ns other o", "only-here "],
  ];
  const setUp = `export PATH=${PATH}; autoload -U compinit; compinit -u -d ${STORE}/dump; source ${STORE}/zsh.completion`;
  expect(typeInto("zsh -f -i", setUp, lines, STORE)).toEqual(awaited(lines));
});

test("in fish", () => {
  const offers = (line: string): string[] => {
    const script = `source fish.completion; complete -C ${JSON.stringify(line)}`;
    const env = { ...process.env, PATH, HOME: STORE };
    const run = spawnSync("fish", ["--no-config", "-c", script], { cwd: STORE, env, encoding: "utf8" });
    expect(run.stderr).toBe("");
    return run.stdout
      .split("\n")
      .filter((each) => each !== "")
      .map((each) => each.split("\t")[0]!);
  };
  expect(offers("git-kv get cfg:")).toEqual(["cfg:lang", "cfg:lang:de", "cfg:theme"]);
  expect(offers("git-kv get 'my ")).toEqual(["my key"]);
  expect(offers("git kv set 日")).toEqual(["日本"]);
  expect(offers("git-kv list --prefix pl")).toEqual(["plain"]);
  expect(offers("git-kv get --ns other o")).toEqual(["only-here"]);
  expect(offers("git-kv get g")).toEqual([]);
});

test("where there is no store nothing is offered and nothing said", () => {
  const run = spawnSync(KV, ["complete-keys", "--", "git kv get "], { cwd: tempDir("none"), encoding: "utf8" });
  expect({ ...run, status: run.status }).toMatchObject({ status: 0, stdout: "", stderr: "" });
});
