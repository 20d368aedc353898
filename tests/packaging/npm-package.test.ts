/** The library as npm packs it, in a project of its own: it runs in Node.js and in Bun, and its types are there. */

import { beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { tempDir } from "../support/temp.ts";

const ROOT = path.join(import.meta.dir, "../..");
const MODULES = path.join(ROOT, "node_modules");

const PROGRAM = `
import { type KvOperation, KvError, openKv } from "git-kv";

const kv = openKv({ dir: "store" });
await kv.init();
await kv.set("cfg:theme", "dark", { labels: { team: "core" }, if: { absent: true } });
const operation: KvOperation = { op: "set", key: "big", value: new Uint8Array(3_000_000).fill(7) };
await kv.write([operation, { op: "check", key: "cfg:theme", if: { rev: 1 } }]);
const theme = await kv.get("cfg:theme");
const said: unknown[] = [theme?.text(), theme?.rev, theme?.bytes.length, kv.state().seq];
let size = 0;
await kv.read("big", (bytes: Uint8Array) => void (size += bytes.length));
for await (const { key, expires } of kv.list()) said.push(key, expires?.getTime() ?? null);
for await (const { rev, meta, transaction } of kv.history("cfg:theme")) said.push(rev, meta?.labels, transaction?.signature.state);
try {
  await kv.set("cfg:theme", "light", { if: { absent: true } });
} catch (error) {
  if (error instanceof KvError) said.push(error.code, error.exit);
}
kv.close();
console.log(JSON.stringify([size, ...said]));
`;

const SAID = [
  ...[3_000_000, "dark", 1, 4, 3, "big", null, "cfg:theme", null, 1, { team: "core" }, "unsigned", "CAS_CONFLICT", 2],
];

let project: string;

function run(command: string, args: readonly string[], cwd: string): string {
  // Nothing is asked of a registry, and what is set for the tests around is not what a project has.
  const env = { PATH: process.env.PATH, HOME: project, npm_config_update_notifier: "false" };
  const done = spawnSync(command, args, { cwd, encoding: "utf8", env });
  expect({ command, status: done.status, stdout: done.stdout, stderr: done.stderr }).toMatchObject({ status: 0 });
  return done.stdout;
}

function newStore(): void {
  fs.rmSync(path.join(project, "store"), { recursive: true, force: true });
  run("git", ["init", "-q", "store"], project);
}

beforeAll(() => {
  project = tempDir("npm-package");
  // --ignore-scripts: the bundle and the types are built, as for every test.
  run("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", project], ROOT);
  const archive = fs.readdirSync(project).find((name) => name.endsWith(".tgz"))!;
  const installed = path.join(project, "node_modules", "git-kv");
  fs.mkdirSync(installed, { recursive: true });
  run("tar", ["-xzf", path.join(project, archive), "--strip-components=1", "-C", installed], project);
  fs.writeFileSync(path.join(project, "package.json"), JSON.stringify({ type: "module" }));
  fs.writeFileSync(path.join(project, "program.ts"), PROGRAM);
});

test("holds what a program needs, and no tests", () => {
  const names = fs.readdirSync(path.join(project, "node_modules", "git-kv")).sort();
  expect(names).toEqual(["LICENSE", "README.md", "dist", "docs", "package.json"]);
  const text = fs.readFileSync(path.join(project, "node_modules", "git-kv", "package.json"), "utf8");
  expect(Object.keys(JSON.parse(text) as object)).not.toContain("dependencies");
});

test("what Node.js reads has no function that came after the version it asks for", () => {
  const text = fs.readFileSync(path.join(ROOT, "dist/node/open-kv-node.js"), "utf8");
  const { engines } = JSON.parse(fs.readFileSync(path.join(ROOT, "package.json"), "utf8")) as { engines: object };
  expect(engines).toEqual({ node: ">=20.16" });
  const young =
    /\b(?:Promise\.(?:withResolvers|try)|Array\.fromAsync|(?:Object|Map)\.groupBy|RegExp\.escape|Iterator\.from)\b|Symbol\.(?:async)?[dD]ispose/g;
  expect([...text.matchAll(young)].map(([name]) => name)).toEqual([]);
});

for (const module of ["nodenext", "preserve"]) {
  test(`a strict compiler takes a program with it, module ${module}`, () => {
    const flags = [
      "--ignoreConfig",
      "--strict",
      "--exactOptionalPropertyTypes",
      "--target",
      "esnext",
      "--module",
      module,
    ];
    run(path.join(MODULES, ".bin", "tsc"), [...flags, "--outDir", path.join(project, module), "program.ts"], project);
    newStore();
    fs.copyFileSync(path.join(project, module, "program.js"), path.join(project, "program.js"));
    expect(JSON.parse(run("node", ["program.js"], project))).toEqual(SAID);
  });
}

test("a strict compiler refuses what the library does not take", () => {
  const wrong = `import { openKv } from "git-kv";\nawait openKv().set("a", 1);\n`;
  fs.writeFileSync(path.join(project, "wrong.ts"), wrong);
  const flags = ["--ignoreConfig", "--strict", "--noEmit", "--target", "esnext", "--module", "nodenext"];
  const done = spawnSync(path.join(MODULES, ".bin", "tsc"), [...flags, "wrong.ts"], { cwd: project, encoding: "utf8" });
  expect(done.stdout).toContain("wrong.ts(2,25): error TS2345");
});

test("runs in Bun", () => {
  newStore();
  expect(JSON.parse(run(process.execPath, ["program.ts"], project))).toEqual(SAID);
});
