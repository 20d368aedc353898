/**
 * The file-system calls that change something, in one place: refs and config write through a `Disk`, so that a test can
 * fail or "kill" any one of them. All are synchronous; all throw the system's own errors (`code` EEXIST, ENOENT, ENOSPC ...).
 */

import * as fs from "node:fs";
import * as path from "node:path";

export interface Disk {
  /** Creates `file` (it must not exist) holding `bytes`; with `sync` the content is on the disk when this returns. */
  create(file: string, bytes: Uint8Array, sync: boolean, mode?: number): void;
  /** Appends to `file`, making it where it is missing. */
  append(file: string, bytes: Uint8Array): void;
  /** A second name for `file`; EEXIST where `name` is taken. */
  link(file: string, name: string): void;
  rename(from: string, to: string): void;
  unlink(file: string): void;
  /** Makes the folder and the missing ones above it. */
  mkdir(dir: string): void;
  rmdir(dir: string): void;
  /** Waits until the names in `dir` are on the disk. */
  syncDir(dir: string): void;
}

function writeAll(fd: number, bytes: Uint8Array): void {
  let at = 0;
  while (at < bytes.length) at += fs.writeSync(fd, bytes, at, bytes.length - at);
}

export const systemDisk: Disk = {
  create(file, bytes, sync, mode = 0o666) {
    const fd = fs.openSync(file, "wx", mode);
    try {
      writeAll(fd, bytes);
      if (sync) fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  append(file, bytes) {
    const fd = fs.openSync(file, "a");
    try {
      writeAll(fd, bytes);
    } finally {
      fs.closeSync(fd);
    }
  },
  link: fs.linkSync,
  rename: fs.renameSync,
  unlink: fs.unlinkSync,
  mkdir: (dir) => {
    fs.mkdirSync(dir, { recursive: true });
  },
  rmdir: fs.rmdirSync,
  syncDir(dir) {
    const fd = fs.openSync(dir, "r");
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
};

/** The system's code of an error (ENOENT ...), or undefined for anything else. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

/** Content of `file`, or undefined where there is no such file (a folder in its place or on its path counts as none). */
export function readFileIfThere(file: string): Buffer | undefined {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * False where there is no such file: for one that mostly is not there, as an exception costs ten times as much as asking first. True where
 * that cannot be told: whoever reads it learns why.
 */
export function mayBeThere(file: string): boolean {
  try {
    return fs.statSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}

/** True for the errors that mean "no such file". */
export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR";
}

/** Removes `file`, for clean-up only: true when it is gone, false where it could not be removed. */
export function tryUnlink(disk: Disk, file: string): boolean {
  try {
    disk.unlink(file);
    return true;
  } catch (error) {
    return isMissing(error);
  }
}

/** Removes the empty folders from `dir` upwards, `stop` and everything above it excepted. */
export function removeEmptyParents(disk: Disk, dir: string, stop: string): void {
  for (let at = dir; at.length > stop.length && at.startsWith(stop); at = path.dirname(at)) {
    try {
      disk.rmdir(at);
    } catch {
      return;
    }
  }
}
