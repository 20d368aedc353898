/**
 * One writer at a time: an exclusive transaction on `leader.db`, held for the life of the process. The kernel lets go of it when
 * the process dies, however it dies, so there is nothing to clean up and nothing to expire.
 *
 * Who holds it stands in `leader.json` beside it, for people; the lock itself is what counts.
 */

import { Database } from "bun:sqlite";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { KvError, toKvError } from "../errors.ts";
import { readFileIfThere } from "../gitwire/disk.ts";

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
  readonly #db: Database;

  private constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Takes the lock in `dir`, waiting for at most `wait` milliseconds. Throws LOCKED, naming the holder, where another process
   * has it.
   */
  static acquire(dir: string, role: string, now: number, wait = 0): LeaderLock {
    let db: Database | undefined;
    try {
      fs.mkdirSync(dir, { recursive: true, mode: 0o750 });
      db = new Database(path.join(dir, "leader.db"), { create: true });
      db.run(`PRAGMA busy_timeout = ${Math.floor(wait)}`);
      db.run("BEGIN EXCLUSIVE");
    } catch (error) {
      db?.close();
      if ((error as { code?: string }).code === "SQLITE_BUSY") throw heldBy(dir);
      if (error instanceof Error && error.name === "SQLiteError") {
        throw new KvError("STORAGE", `the leader lock in ${dir}: ${error.message}`, { cause: error });
      }
      throw toKvError(error);
    }
    const note: LeaderNote = { pid: process.pid, host: os.hostname(), since: new Date(now).toISOString(), role };
    // The note may fail where the lock holds: it is only read by people.
    try {
      fs.writeFileSync(path.join(dir, "leader.json"), `${JSON.stringify(note)}\n`, { mode: 0o640 });
    } catch {}
    return new LeaderLock(db);
  }

  release(): void {
    this.#db.close();
  }
}

/** What the note in `dir` says; undefined where there is none that can be read. */
export function readLeaderNote(dir: string): LeaderNote | undefined {
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
