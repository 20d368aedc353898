/** `make install`: what a person then finds, with the real man, git and shells. */

import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { tempDir } from "../support/temp.ts";

const ROOT = path.join(import.meta.dir, "../..");

function run(command: string, args: readonly string[], env: Record<string, string> = {}): string {
  const done = spawnSync(command, args, { cwd: ROOT, encoding: "utf8", env: { ...process.env, ...env } });
  expect({ command: [command, ...args], status: done.status, stderr: done.stderr }).toMatchObject({ status: 0 });
  return done.stdout;
}

function filesBelow(dir: string): string[] {
  return fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(dir, path.join(entry.parentPath, entry.name)))
    .sort();
}

test("puts executables, manual pages and completions in place, and takes them away again", () => {
  const root = tempDir("install");
  // The executables are there; that they are newer than the sources is not what is tested.
  const make = (target: string) => run("make", ["-s", "-o", "build", target, `DESTDIR=${root}`, "PREFIX=/usr"]);
  make("install");
  const bin = path.join(root, "usr/bin");
  const env = {
    PATH: `${bin}:${process.env.PATH}`,
    MANPATH: path.join(root, "usr/share/man"),
    MANWIDTH: "78",
    LC_ALL: "C",
  };
  expect(run("git", ["kv", "version"], env)).toStartWith("git-kv ");
  expect(run("git", ["help", "kv"], env)).toContain("key-value store with Git as its database");
  expect(run("git", ["kv", "--help"], env)).toContain("git kv remote setup");
  expect(run("man", ["git-kv-set"], env)).toContain("git kv set KEY [VALUE] [flags]");
  expect(run("man", ["git-kv-stargate-serve"], env)).toContain("--listen");
  // Of two commands of one name both are shown.
  const both = run("man", ["git-kv-stargate-status"], env);
  for (const usage of ["git kv stargate status\n", "git-kv-stargate status [flags]"]) expect(both).toContain(usage);
  expect(run("git-kv", ["help", "--man", "set"], env)).toBe(
    fs.readFileSync(path.join(root, "usr/share/man/man1/git-kv-set.1"), "utf8"),
  );
  for (const [shell, file] of [
    ["bash", "bash-completion/completions/git-kv"],
    ["zsh", "zsh/site-functions/_git-kv"],
    ["fish", "fish/vendor_completions.d/git-kv.fish"],
  ] as const) {
    expect(fs.readFileSync(path.join(root, "usr/share", file), "utf8")).toBe(run("git-kv", ["completion", shell], env));
  }
  make("uninstall");
  expect(filesBelow(root)).toEqual([]);
});
