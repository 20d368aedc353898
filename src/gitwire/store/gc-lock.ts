/**
 * The lock that `git gc` holds while it works, `gc.pid` (git: builtin/gc.c, lock_repo_for_gc): one line, `<pid> SP <host>`. Who finds
 * it fresh, from another machine or from a process that lives, leaves the repository alone. Taken by us too, so that git and
 * we never tidy up at the same time.
 */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { errorCode, readFileIfThere } from "../disk.ts";

/** A lock older than this is nobody's (git's own figure, 12 hours in milliseconds). */
const STALE = 12 * 60 * 60_000;
/** The same for the file a lock is made as, one hour. */
const PENDING_STALE = 60 * 60_000;

export interface GcLock {
  release(): void;
}

/** Takes the lock of the repository whose common folder is `commonDir`; undefined where somebody has it. */
export function takeGcLock(commonDir: string, now: number = Date.now()): GcLock | undefined {
  const file = path.join(commonDir, "gc.pid");
  const pending = `${file}.lock`;
  const note = `${process.pid} ${os.hostname()}`;
  // It lives for microseconds, in git too; an old one is a crash's and would keep git from tidying up for ever.
  const pendingAge = ageOf(pending, now);
  if (pendingAge !== undefined && pendingAge > PENDING_STALE) fs.rmSync(pending, { force: true });
  let fd: number;
  try {
    fd = fs.openSync(pending, "wx", 0o666);
  } catch (error) {
    if (errorCode(error) === "EEXIST") return undefined;
    throw error;
  }
  try {
    try {
      fs.writeSync(fd, note);
    } finally {
      fs.closeSync(fd);
    }
    if (isHeld(file, now) || isMaintained(commonDir, now)) {
      fs.unlinkSync(pending);
      return undefined;
    }
    fs.renameSync(pending, file);
  } catch (error) {
    fs.rmSync(pending, { force: true });
    throw error;
  }
  return {
    release() {
      if (readFileIfThere(file)?.toString() === note) fs.rmSync(file, { force: true });
    },
  };
}

function isHeld(file: string, now: number): boolean {
  const age = ageOf(file, now);
  if (age === undefined || age > STALE) return false;
  const [, pid, host] = /^([0-9]+) (\S+)/.exec(readFileIfThere(file)?.toString() ?? "") ?? [];
  if (pid === undefined) return false;
  // Our own note is left from an earlier process with our number: we release what we take.
  if (host !== os.hostname()) return true;
  return Number(pid) !== process.pid && isAlive(Number(pid));
}

/** Whether `git maintenance` runs: it leaves its lock behind when it is killed, so an old one does not count. */
function isMaintained(commonDir: string, now: number): boolean {
  const age = ageOf(path.join(commonDir, "objects", "maintenance.lock"), now);
  return age !== undefined && age < STALE;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}

function ageOf(file: string, now: number): number | undefined {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  return stat === undefined ? undefined : now - stat.mtimeMs;
}
