/**
 * Compiles the executables into dist/: `bun build.ts [git-kv|git-kv-stargate]...`, all without arguments.
 * Why it is built this way, with measurements: docs/design/ (the page on start-up).
 */

import { spawnSync } from "node:child_process";
import * as path from "node:path";

const ROOT = import.meta.dir;
const PROGRAMS = ["git-kv", "git-kv-stargate"];

/** The commit of the sources, `-dirty` where they differ from it; "unknown" outside a repository. */
function sourceCommit(): string {
  const git = (...args: string[]) => spawnSync("git", args, { cwd: ROOT, encoding: "utf8" });
  const head = git("rev-parse", "--short=12", "HEAD");
  if (head.status !== 0) return "unknown";
  const changes = git("status", "--porcelain", "--", "src", "bin", "package.json", "bun.lock", "build.ts");
  return head.stdout.trim() + (changes.stdout === "" ? "" : "-dirty");
}

async function build(program: string, commit: string): Promise<void> {
  const result = await Bun.build({
    entrypoints: [path.join(ROOT, "bin", `${program}.ts`)],
    target: "bun",
    format: "esm",
    splitting: true,
    bytecode: true,
    // Short identifiers have broken compiled programs, and save nothing once there is bytecode.
    minify: { syntax: true, whitespace: true, identifiers: false },
    define: { GIT_KV_COMMIT: JSON.stringify(commit) },
    compile: {
      outfile: path.join(ROOT, "dist", program),
      // The `.env` or `bunfig.toml` of a repository must not steer a git tool.
      autoloadDotenv: false,
      autoloadBunfig: false,
    },
    throw: false,
  });
  if (!result.success) {
    for (const log of result.logs) console.error(log);
    process.exit(1);
  }
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !PROGRAMS.includes(name));
if (unknown.length > 0) {
  console.error(`unknown program ${unknown.join(", ")}; there is ${PROGRAMS.join(", ")}`);
  process.exit(64);
}
const commit = sourceCommit();
for (const program of wanted.length > 0 ? wanted : PROGRAMS) await build(program, commit);
