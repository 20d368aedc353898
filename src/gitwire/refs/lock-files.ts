/** Lock files of a repository's refs and settings: what a process that was killed may leave, so that nobody else can write. */

import * as fs from "node:fs";
import * as path from "node:path";

/** A lock and when it was made, in milliseconds since 1970. */
export interface FoundLock {
  readonly file: string;
  readonly since: number;
}

/** Those that are there below `commonDir`, held or left. */
export function findLocks(commonDir: string): FoundLock[] {
  const refs = fs
    .readdirSync(path.join(commonDir, "refs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".lock"))
    .map((name) => path.join("refs", name));
  return ["config.lock", "packed-refs.lock", ...refs.sort()].flatMap((name) => {
    const file = path.join(commonDir, name);
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    return stat?.isFile() === true ? { file, since: stat.mtimeMs } : [];
  });
}
