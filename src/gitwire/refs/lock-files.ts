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
  return ["config.lock", "packed-refs.lock", ...refLocks(commonDir).sort()].flatMap((name) => {
    const file = path.join(commonDir, name);
    const stat = fs.lstatSync(file, { throwIfNoEntry: false });
    return stat === undefined || stat.isDirectory() ? [] : { file, since: stat.mtimeMs };
  });
}

/** Names below `commonDir`. A link to a folder is not followed, as it is not for refs; it may lead to itself. */
function refLocks(commonDir: string): string[] {
  const names: string[] = [];
  const pending = ["refs"];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    for (const entry of fs.readdirSync(path.join(commonDir, at), { withFileTypes: true })) {
      const name = path.join(at, entry.name);
      if (entry.isDirectory()) pending.push(name);
      else if (name.endsWith(".lock")) names.push(name);
    }
  }
  return names;
}
