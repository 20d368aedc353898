/**
 * One writer at a time: a lock on `leader.db`, held for the life of the process.
 *
 * Who holds it stands in `leader.json` beside it, for people; the lock itself is what counts.
 */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { KvError, toKvError } from "../errors.ts";
import { FileLock } from "../file-lock.ts";
import { isMissing, readFileIfThere } from "../gitwire/disk.ts";

/** Who leads, as the note says. */
export interface LeaderNote {
  readonly pid: number;
  readonly host: string;
  /** RFC 3339. */
  readonly since: string;
  /** What it does: `serve`, or a push that came without a daemon. */
  readonly role: string;
}

export class LeaderLock {
  readonly #lock: FileLock;
  readonly #file: string;
  /** The file that is locked, wherever it is by now. */
  readonly #inode: bigint;

  private constructor(lock: FileLock, file: string) {
    this.#lock = lock;
    this.#file = file;
    this.#inode = inodeOf(file) ?? 0n;
  }

  /**
   * Takes the lock in `dir`, waiting for at most `wait` milliseconds. Throws LOCKED, naming the holder, where another process
   * has it.
   */
  static acquire(dir: string, role: string, now: number, wait = 0): LeaderLock {
    let lock: FileLock | undefined;
    try {
      fs.mkdirSync(dir, { recursive: true, mode: 0o750 });
      lock = FileLock.take(path.join(dir, "leader.db"), wait);
    } catch (error) {
      if (error instanceof Error && error.name === "SQLiteError") {
        throw new KvError("STORAGE", `the leader lock ${path.join(dir, "leader.db")}: ${error.message}`, {
          hint: "it holds nothing: where the account may write there and no process serves the repository, remove it",
          cause: error,
        });
      }
      throw toKvError(error);
    }
    if (lock === undefined) throw heldBy(dir);
    const note: LeaderNote = { pid: process.pid, host: os.hostname(), since: new Date(now).toISOString(), role };
    // The note may fail where the lock holds: it is only read by people.
    try {
      fs.writeFileSync(path.join(dir, "leader.json"), `${JSON.stringify(note)}\n`, { mode: 0o640 });
    } catch {}
    return new LeaderLock(lock, path.join(dir, "leader.db"));
  }

  /**
   * Whether what is locked is what another process would have to lock: a repository that was moved away, or replaced, is led by nobody,
   * or by somebody else. Throws STORAGE where that cannot be found out.
   */
  isInPlace(): boolean {
    return inodeOf(this.#file) === this.#inode;
  }

  release(): void {
    this.#lock.release();
  }
}

function inodeOf(file: string): bigint | undefined {
  try {
    return fs.statSync(file, { bigint: true }).ino;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new KvError("STORAGE", `${file}: ${toKvError(error).message}`, { cause: error });
  }
}

/** What the note in `dir` says; undefined where there is none that can be read. */
function readLeaderNote(dir: string): LeaderNote | undefined {
  try {
    const text = readFileIfThere(path.join(dir, "leader.json"))?.toString("utf8");
    return text === undefined ? undefined : (JSON.parse(text) as LeaderNote);
  } catch {
    return undefined;
  }
}

function heldBy(dir: string): KvError {
  const note = readLeaderNote(dir);
  const leader =
    note === undefined ? "another process" : `process ${note.pid} on ${note.host} (${note.role}, since ${note.since})`;
  return new KvError("LOCKED", `${path.dirname(dir)} is served by ${leader}`, {
    hint: "one process serves a repository at a time; stop that one first",
    data: { leader },
  });
}
