/** How an entry point becomes an executable. The reasons, with measurements, are in docs/design/011-start-up.md. */

import * as path from "node:path";
import { definesOf } from "./defines.ts";

const ROOT = path.resolve(import.meta.dir, "..");

/** Threads that a program starts: each is an entry of its own, found by its path in the executable (src/kv/replay-pool.ts). */
const WORKERS: Readonly<Record<string, readonly string[]>> = {
  "git-kv.ts": ["src/kv/replay-worker.ts", "src/kv/meta-worker.ts"],
};

/** Options of Bun.build that compile `entry` to `outfile`. */
export function compileOptions(entry: string, outfile: string, commit: string): Bun.BuildConfig {
  const workers = (WORKERS[path.basename(entry)] ?? []).map((file) => path.join(ROOT, file));
  return {
    entrypoints: [entry, ...workers],
    ...(workers.length > 0 && { root: ROOT }),
    target: "bun",
    format: "esm",
    splitting: true,
    bytecode: true,
    // Short identifiers have broken compiled programs, and save nothing once there is bytecode.
    minify: { syntax: true, whitespace: true, identifiers: false },
    define: definesOf(commit),
    compile: {
      outfile,
      // The `.env` or `bunfig.toml` of a repository must not steer a git tool.
      autoloadDotenv: false,
      autoloadBunfig: false,
      // Code is compiled forty times later than usual: a brief verb is over before that pays. The others say so (cli/runner.ts).
      jitPolicy: 40,
    },
    throw: false,
  };
}
