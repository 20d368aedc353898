/**
 * Where the history of a repository ends although its commits go on (git: gitrepository-layout "shallow", gitformat "shallow"):
 * one commit id a line, of commits that are here without their parents.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { isMissing } from "../disk.ts";
import { isOid, type ObjectFormat, type Oid } from "../object/oid.ts";
import { fsyncDir } from "../pack/temp-file.ts";

/** Milliseconds between two looks at a lock that is held. */
const LOCK_POLL = 20;

/** The commits of the shallow file in `commonDir`, none where there is no file. Throws CORRUPT where a line is no object id. */
export function readShallow(commonDir: string, format: ObjectFormat): Oid[] {
  let text: string;
  try {
    text = fs.readFileSync(path.join(commonDir, "shallow"), "latin1");
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
  const oids = text.split("\n").filter((line) => line !== "");
  const bad = oids.find((line) => !isOid(format, line));
  if (bad !== undefined) throw new KvError("CORRUPT", `${path.join(commonDir, "shallow")}: a line is no object id`);
  return oids;
}

/**
 * Changes the shallow file to what `change` makes of it, under git's own lock (`shallow.lock`); a file without commits is
 * removed. Throws LOCKED where another process keeps the lock.
 */
export async function updateShallow(
  commonDir: string,
  format: ObjectFormat,
  change: (shallow: readonly Oid[]) => Iterable<Oid>,
): Promise<void> {
  const file = path.join(commonDir, "shallow");
  const lock = `${file}.lock`;
  const fd = await openLock(lock);
  let isOpen = true;
  try {
    const lines = [...new Set(change(readShallow(commonDir, format)))].sort();
    fs.writeFileSync(fd, lines.map((oid) => `${oid}\n`).join(""));
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    isOpen = false;
    if (lines.length > 0) fs.renameSync(lock, file);
    else {
      fs.rmSync(file, { force: true });
      fs.rmSync(lock);
    }
    fsyncDir(commonDir);
  } catch (error) {
    if (isOpen) fs.closeSync(fd);
    fs.rmSync(lock, { force: true });
    throw error;
  }
}

async function openLock(lock: string): Promise<number> {
  for (let waited = 0; ; waited += LOCK_POLL) {
    try {
      return fs.openSync(lock, "wx", 0o666);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      if (waited >= LIMITS.lockWait) throw new KvError("LOCKED", `'${lock}' is held by another process`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOCK_POLL));
  }
}
