/** Temporary folders that go away when the test process ends. */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

const made: string[] = [];

process.on("exit", () => {
  for (const dir of made) fs.rmSync(dir, { recursive: true, force: true });
});

/** A new empty folder. */
export function tempDir(label = "test"): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `git-kv-${label}-`));
  made.push(dir);
  return dir;
}
