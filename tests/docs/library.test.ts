/** The examples of docs/library.md, compiled and run as they are printed, in Node.js and in Bun; and that no command is left out there. */

import { beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { PROGRAM } from "../../src/commands/table.ts";
import { noise } from "../support/noise.ts";
import { tempDir } from "../support/temp.ts";

const ROOT = path.join(import.meta.dir, "../..");
const DOC = fs.readFileSync(path.join(ROOT, "docs/library.md"), "utf8");
const EXAMPLES = [...DOC.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, text]) => text!);

/** What each of them prints. */
const PRINTED = ["light 1\n", "3\n", "3000000 16\n", "2 5\n", "10 set cfg:theme\n", "grey\ncfg:theme 4\n"];

let project: string;

function run(command: string, args: readonly string[]): string {
  const env = { PATH: process.env.PATH, HOME: project, GIT_CONFIG_NOSYSTEM: "1" };
  const done = spawnSync(command, args, { cwd: project, encoding: "utf8", env });
  expect({ args, status: done.status, stderr: done.stderr, stdout: done.status === 0 ? "" : done.stdout }).toEqual({
    ...{ args, status: 0, stderr: "", stdout: "" },
  });
  return done.stdout;
}

function newStore(): void {
  fs.rmSync(path.join(project, "store"), { recursive: true, force: true });
  run("git", ["init", "-q", "store"]);
  const program = 'import { openKv } from "git-kv"; await openKv({ dir: "store" }).init();';
  run(process.execPath, ["-e", program]);
}

beforeAll(() => {
  project = tempDir("library-examples");
  const modules = path.join(project, "node_modules");
  fs.mkdirSync(path.join(modules, "git-kv"), { recursive: true });
  for (const name of ["dist", "package.json"])
    fs.symlinkSync(path.join(ROOT, name), path.join(modules, "git-kv", name));
  for (const name of ["@types", "undici-types"])
    fs.symlinkSync(path.join(ROOT, "node_modules", name), path.join(modules, name));
  fs.writeFileSync(path.join(project, "package.json"), '{"type":"module"}');
  fs.writeFileSync(path.join(project, "weights.bin"), noise("weights", 3_000_000));
  fs.writeFileSync(path.join(project, "settings.yaml"), "theme: dark\nsize: 12\n");
  const config = `[user]\n\tname = Me\n\temail = me@example.com\n[url "${project}/store"]\n\tinsteadOf = https://kv.example.com/app.git\n`;
  fs.writeFileSync(path.join(project, ".gitconfig"), config);
  for (const [i, text] of EXAMPLES.entries()) fs.writeFileSync(path.join(project, `example${i}.ts`), text);
});

test("a strict compiler takes them, and they run in Node.js as it makes them", () => {
  const files = EXAMPLES.map((_, i) => `example${i}.ts`);
  const flags = ["--ignoreConfig", "--strict", "--target", "esnext", "--module", "nodenext", "--types", "node"];
  run(path.join(ROOT, "node_modules/.bin/tsc"), [...flags, "--preserveSymlinks", ...files]);
  newStore();
  expect(EXAMPLES.map((_, i) => run("node", [`example${i}.js`]))).toEqual(PRINTED);
  expect(fs.readFileSync(path.join(project, "copy.bin"))).toEqual(fs.readFileSync(path.join(project, "weights.bin")));
}, 60_000);

test("they run in Bun", () => {
  for (let i = 0; i < EXAMPLES.length; i++) fs.rmSync(path.join(project, `example${i}.js`), { force: true });
  newStore();
  expect(EXAMPLES.map((_, i) => run(process.execPath, [`example${i}.ts`]))).toEqual(PRINTED);
}, 60_000);

test("every command has its method there, or is said to have none", () => {
  const named = new Set([...DOC.matchAll(/`([a-z]+(?: [a-z]+)?)`/g)].map(([, name]) => name));
  const missing = PROGRAM.commands.filter(({ name, hidden }) => !hidden && !named.has(name)).map(({ name }) => name);
  expect(missing).toEqual([]);
});
