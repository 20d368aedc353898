/** What the build puts into a program, for src/build-id.ts. */

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

const ROOT = path.resolve(import.meta.dir, "..");

/** Constants of Bun.build's `define`; `commit`: what the program says of itself. */
export function definesOf(commit: string): Record<string, string> {
  return { GIT_KV_COMMIT: JSON.stringify(commit), GIT_KV_SOURCES: JSON.stringify(hashOfSources()) };
}

/** A hash of the sources below `root` and of the versions of the packages, as they are now: a commit says nothing of what was changed since. */
export function hashOfSources(root = ROOT): string {
  const files = fs.readdirSync(path.join(root, "src"), { recursive: true, withFileTypes: true });
  const names = files.filter((file) => file.isFile()).map((file) => path.join(file.parentPath, file.name));
  const hash = createHash("sha256");
  for (const name of [path.join(root, "bun.lock"), ...names.sort()]) {
    const bytes = fs.readFileSync(name);
    hash.update(`${path.relative(root, name)} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest("hex").slice(0, 16);
}
