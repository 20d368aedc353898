/**
 * The lock that `git gc` holds while it works, `gc.pid` (git: builtin/gc.c, lock_repo_for_gc): one line, `<pid> SP <host>`. Who finds
 * it fresh, from another machine or from a process that lives, leaves the repository alone. Taken by us too, so that git and
 * we never tidy up at the same time.
 */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { isAlive } from "../../alive.ts";
import { errorCode, readFileIfThere } from "../disk.ts";

/** A lock older than this is nobody's (git's own figure, 12 hours in milliseconds). */
const STALE = 12 * 60 * 60_000;
/** The same for the file a lock is made as, which lives for microseconds, in git too: a minute. */
const PENDING_STALE = 60_000;

export interface GcLock {
  release(): void;
}

/** Takes the lock of the repository whose common folder is `commonDir`; undefined where somebody has it. */
export function takeGcLock(commonDir: string, now: number = Date.now()): GcLock | undefined {
  const file = path.join(commonDir, "gc.pid");
  const pending = `${file}.lock`;
  const note = `${process.pid} ${os.hostname()}`;
  clearPendingGcLock(commonDir, now);
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

/**
 * Removes the file a lock was being made as where a crash left it, which would keep git and us from tidying up for ever: whoever it names is
 * dead, or it is old.
 */
export function clearPendingGcLock(commonDir: string, now: number = Date.now()): void {
  const pending = path.join(commonDir, "gc.pid.lock");
  const age = ageOf(pending, now);
  if (age === undefined) return;
  if (age > PENDING_STALE || holderOf(pending) === "dead") fs.rmSync(pending, { force: true });
}

function isHeld(file: string, now: number): boolean {
  const age = ageOf(file, now);
  return age !== undefined && age <= STALE && holderOf(file) === "alive";
}

/** Whether who is named in a lock lives, or may, on another machine; undefined where it names nobody. */
function holderOf(file: string): "alive" | "dead" | undefined {
  const [, pid, host] = /^([0-9]+) (\S+)/.exec(readFileIfThere(file)?.toString() ?? "") ?? [];
  if (pid === undefined) return undefined;
  if (host !== os.hostname()) return "alive";
  // Our own note is left from an earlier process with our number: we release what we take.
  return Number(pid) !== process.pid && isAlive(Number(pid)) ? "alive" : "dead";
}

/** Whether `git maintenance` runs: it leaves its lock behind when it is killed, so an old one does not count. */
function isMaintained(commonDir: string, now: number): boolean {
  const age = ageOf(path.join(commonDir, "objects", "maintenance.lock"), now);
  return age !== undefined && age < STALE;
}

function ageOf(file: string, now: number): number | undefined {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  return stat === undefined ? undefined : now - stat.mtimeMs;
}
