/**
 * Files that get their name last: written under another, then renamed. Inside a quarantine and among loose objects those names
 * are git's `tmp_*`, which `git gc` sweeps after a crash. It does so at once where it is told to prune what is new, a writer at
 * work or not; so in the folder of packs they begin with {@link PACK_TEMP}, as those of `git repack` do, and we sweep them ourselves.
 */

import * as fs from "node:fs";
import * as path from "node:path";

/** How the names of packs and indexes begin that are being written. */
export const PACK_TEMP = ".tmp-kv-";

/** A file that is written and read at any place. */
export interface ByteFile {
  /** Writes all of `bytes` at the offset `at`. */
  write(bytes: Uint8Array, at: number): void;
  /** Reads from the offset `at` to the start of `into`; returns how many bytes, up to `length`: 0 at the end. */
  read(into: Buffer, length: number, at: number): number;
  truncate(length: number): void;
}

/** A file of a pack that has no name yet. */
export interface PackTemp extends ByteFile {
  /**
   * Gives the file its name, read only as git keeps its objects. `fsync`: its bytes are on disk before it has that name;
   * the folder is left to the caller ({@link fsyncDir}).
   */
  commit(target: string, options: { fsync: boolean }): void;
  /** Closes and removes the file; harmless after `commit`. */
  discard(): void;
}

export interface TempFile extends PackTemp {
  readonly fd: number;
  readonly path: string;
}

/** The open file `fd`. */
export function fileOf(fd: number): ByteFile {
  return {
    write: (bytes, at) => writeAll(fd, bytes, at),
    read: (into, length, at) => fs.readSync(fd, into, 0, length, at),
    truncate: (length) => fs.ftruncateSync(fd, length),
  };
}

/**
 * Makes a file `<prefix>XXXXXX` in `dir`. `anonymous`: it loses its name at once where the system lets it, so that not even
 * a kill leaves it behind.
 */
export function createTemp(dir: string, prefix: string, options: { anonymous?: boolean } = {}): TempFile {
  const { fd, name } = openNew(dir, prefix);
  let open = true;
  let named = !(options.anonymous === true && tryUnlink(name));
  const close = (): void => {
    if (open) fs.closeSync(fd);
    open = false;
  };
  return {
    ...fileOf(fd),
    fd,
    path: name,
    commit(target, { fsync }) {
      fs.fchmodSync(fd, 0o444);
      if (fsync) fs.fsyncSync(fd);
      close();
      fs.renameSync(name, target);
      named = false;
    },
    discard() {
      close();
      if (named) tryUnlink(name);
      named = false;
    },
  };
}

const LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789";

/** `length` random letters and digits. */
export function randomSuffix(length: number): string {
  let text = "";
  for (const byte of crypto.getRandomValues(new Uint8Array(length))) text += LETTERS[byte % LETTERS.length]!;
  return text;
}

function openNew(dir: string, prefix: string): { fd: number; name: string } {
  for (let tries = 0; ; tries++) {
    const name = path.join(dir, prefix + randomSuffix(6));
    try {
      return { fd: fs.openSync(name, "wx+", 0o600), name };
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST" && tries < 100) continue;
      if (code !== "ENOENT" || tries > 0) throw error;
      fs.mkdirSync(dir, { recursive: true });
    }
  }
}

function tryUnlink(name: string): boolean {
  try {
    fs.unlinkSync(name);
    return true;
  } catch {
    return false;
  }
}

/** Makes creations and renames in `dir` last. */
export function fsyncDir(dir: string): void {
  if (process.platform !== "win32") fsyncFile(dir);
}

/** Brings what is in the file to disk. */
export function fsyncFile(file: string): void {
  const fd = fs.openSync(file, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Writes all of `bytes` at the file's position. */
export function writeAll(fd: number, bytes: Uint8Array, at?: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += fs.writeSync(fd, bytes, done, bytes.length - done, at === undefined ? null : at + done);
  }
}

/** Buffers one call writes: the system takes 1,024. */
const PARTS = 512;

/** Writes all of `parts`, one behind the other, from `at` on. */
export function writeParts(fd: number, parts: readonly Uint8Array[], at: number): void {
  for (let next = 0, position = at; next < parts.length; next += PARTS) {
    const some = parts.slice(next, next + PARTS);
    const wrote = fs.writevSync(fd, some, position);
    const total = some.reduce((sum, part) => sum + part.length, 0);
    // A disk that is nearly full takes a part: the rest is tried by itself, and says what is wrong.
    if (wrote < total) writeAll(fd, Buffer.concat(some, total).subarray(wrote), position + wrote);
    position += total;
  }
}
