/** Temporary folders, all below one that goes away when the tests of this process have ended. */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

let root: string | undefined;

/** A new empty folder. */
export function tempDir(label = "test"): string {
  root ??= fs.mkdtempSync(path.join(os.tmpdir(), "git-kv-"));
  return fs.mkdtempSync(path.join(root, `${label}-`));
}

/** Removes them all. `bun test` runs no exit handlers: the preload file calls this after the last test. */
export function removeTempDirs(): void {
  if (root !== undefined) fs.rmSync(root, { recursive: true, force: true });
  root = undefined;
}
