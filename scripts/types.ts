/**
 * The library's types: one declaration file for each module that its public ones name, made by the compiler and without what is marked
 * @internal. A program that uses the library is so not asked to compile its sources (docs/design/279).
 */

import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

const ROOT = path.join(import.meta.dir, "..");
const ENTRY = path.join("kv", "open-kv.d.ts");

/** Writes them below `outDir`, which is made anew. Throws with what the compiler says. */
export function makeTypes(outDir: string): void {
  const all = fs.mkdtempSync(path.join(os.tmpdir(), "git-kv-types-"));
  try {
    const args = ["-p", path.join(ROOT, "tsconfig.types.json"), "--outDir", all];
    const run = spawnSync(path.join(ROOT, "node_modules", ".bin", "tsc"), args, { encoding: "utf8" });
    if (run.status !== 0) throw new Error(`tsc: ${run.stdout}${run.stderr}`);
    fs.rmSync(outDir, { recursive: true, force: true });
    for (const [file, text] of reachable(all)) {
      fs.mkdirSync(path.dirname(path.join(outDir, file)), { recursive: true });
      fs.writeFileSync(path.join(outDir, file), text);
    }
  } finally {
    fs.rmSync(all, { recursive: true });
  }
}

/** The declarations that those of the library lead to, by their path below `dir`. */
function reachable(dir: string): Map<string, string> {
  const found = new Map<string, string>();
  const waiting = [ENTRY];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (found.has(file)) continue;
    // Compilers before 5.0 and `node16` know modules by the name they have when they run.
    const text = fs.readFileSync(path.join(dir, file), "utf8").replace(/(["'])(\.{1,2}\/[^"']*)\.ts\1/g, '"$2.js"');
    found.set(file, text);
    for (const [, module] of text.matchAll(/"(\.{1,2}\/[^"]*)\.js"/g)) {
      waiting.push(path.join(path.dirname(file), `${module}.d.ts`));
    }
  }
  return found;
}
