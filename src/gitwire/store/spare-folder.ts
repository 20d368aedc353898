/** The folder of a push's quarantine that waits, empty, for the next push: making and removing it is a large part of a small one. */

import * as fs from "node:fs";
import * as path from "node:path";
import { errorCode, isMissing } from "../disk.ts";

const SPARE = ".kv-spare";

/** Gives the spare folder the name `dir`; false where there is none. */
export function takeSpare(objectsDir: string, dir: string): boolean {
  const spare = path.join(objectsDir, SPARE);
  try {
    // Whoever sweeps looks at when it was written to.
    const now = new Date();
    fs.utimesSync(path.join(spare, "pack"), now, now);
    fs.renameSync(spare, dir);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Empties `dir` and makes it the spare folder; false where there is one already. */
export function leaveSpare(objectsDir: string, dir: string): boolean {
  const packDir = path.join(dir, "pack");
  for (const name of fs.readdirSync(dir)) if (name !== "pack") remove(path.join(dir, name));
  for (const name of fs.readdirSync(packDir)) remove(path.join(packDir, name));
  try {
    fs.renameSync(dir, path.join(objectsDir, SPARE));
    return true;
  } catch (error) {
    if (errorCode(error) === "ENOTEMPTY" || errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

/** Removes the spare folder, where there is one. */
export function removeSpare(objectsDir: string): void {
  remove(path.join(objectsDir, SPARE));
}

function remove(file: string): void {
  fs.rmSync(file, { recursive: true, force: true });
}
