/**
 * A lock on a file for the life of a process: an exclusive transaction of SQLite. The kernel lets go of it when the process dies, however
 * it dies, so there is nothing to clean up and nothing to expire.
 */

import { Database } from "bun:sqlite";

export class FileLock {
  readonly #db: Database;

  private constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Locks `file`, which is made where it is missing, waiting for at most `wait` milliseconds; undefined where somebody else has it. Throws
   * the errors of SQLite.
   */
  static take(file: string, wait = 0): FileLock | undefined {
    let db: Database | undefined;
    try {
      db = new Database(file, { create: true });
      db.run(`PRAGMA busy_timeout = ${Math.floor(wait)}`);
      // Nothing is ever written: no file of a transaction beside it.
      db.run("PRAGMA journal_mode = MEMORY");
      db.run("BEGIN EXCLUSIVE");
      return new FileLock(db);
    } catch (error) {
      db?.close();
      if ((error as { code?: string }).code === "SQLITE_BUSY") return undefined;
      throw error;
    }
  }

  release(): void {
    this.#db.close();
  }
}
