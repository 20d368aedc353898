/**
 * Compiles the executables and the library into dist/: `bun build.ts [git-kv|git-kv-stargate|library]...`, all without
 * arguments.
 */

import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { compileOptions } from "./scripts/compile.ts";
import { definesOf } from "./scripts/defines.ts";
import { makeTypes } from "./scripts/types.ts";

const ROOT = import.meta.dir;
const PROGRAMS = ["git-kv", "git-kv-stargate"];
const LIBRARY = "library";

/** The commit of the sources, `-dirty` where they differ from it; "unknown" outside a repository. */
function sourceCommit(): string {
  const git = (...args: string[]) => spawnSync("git", args, { cwd: ROOT, encoding: "utf8" });
  const head = git("rev-parse", "--short=12", "HEAD");
  if (head.status !== 0) return "unknown";
  const changes = git("status", "--porcelain", "--", "src", "bin", "package.json", "bun.lock", "build.ts");
  return head.stdout.trim() + (changes.stdout === "" ? "" : "-dirty");
}

async function build(program: string, commit: string): Promise<void> {
  const entry = path.join(ROOT, "bin", `${program}.ts`);
  await bundle(compileOptions(entry, path.join(ROOT, "dist", program), commit));
}

/** The library: for Node.js dist/node/open-kv-node.js and what it loads, for Bun dist/bun/open-kv.js, and its types, dist/types. */
async function buildLibrary(commit: string): Promise<void> {
  const target = (name: "node" | "bun", entry: string, splitting: boolean): Bun.BuildConfig => ({
    entrypoints: [path.join(ROOT, "src", "kv", entry)],
    outdir: path.join(ROOT, "dist", name),
    target: name,
    format: "esm",
    splitting,
    define: definesOf(commit),
    throw: false,
  });
  // Parts have other names when they change.
  for (const name of ["node", "bun"]) fs.rmSync(path.join(ROOT, "dist", name), { recursive: true, force: true });
  // One file, so that what stands in for Bun is there before anything else; the global of that name is left alone.
  const bun = { define: { Bun: "gitKvRuntime" }, banner: "const gitKvRuntime = globalThis.Bun ?? {};" };
  await bundle({ ...target("node", "open-kv-node.ts", false), ...bun });
  // Not the sources: what they compute while they are compiled (macros) is not computed below node_modules.
  await bundle(target("bun", "open-kv.ts", true));
  makeTypes(path.join(ROOT, "dist", "types"));
}

async function bundle(config: Bun.BuildConfig): Promise<void> {
  const result = await Bun.build(config);
  if (result.success) return;
  for (const log of result.logs) console.error(log);
  process.exit(1);
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => ![...PROGRAMS, LIBRARY].includes(name));
if (unknown.length > 0) {
  console.error(`unknown program ${unknown.join(", ")}; there is ${[...PROGRAMS, LIBRARY].join(", ")}`);
  process.exit(64);
}
const commit = sourceCommit();
for (const name of wanted.length > 0 ? wanted : [...PROGRAMS, LIBRARY]) {
  if (name === LIBRARY) await buildLibrary(commit);
  else await build(name, commit);
}
