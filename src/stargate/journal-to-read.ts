/**
 * The journal of a repository on a file system that is read-only. SQLite makes files beside a journal also to read it, so it is copied and
 * the copy read: nobody writes to what is copied.
 */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { Journal } from "./journal.ts";

/** The database, and what it had not taken in yet when a process was killed. */
const FILES = ["journal.db", "journal.db-wal"];

export class JournalCopy extends Journal {
  readonly folder: string;

  /** Copies the journal in `dir`. Throws as a Journal does. */
  constructor(dir: string) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "git-kv-journal-"));
    try {
      for (const name of FILES) {
        const file = path.join(dir, name);
        if (fs.existsSync(file)) fs.copyFileSync(file, path.join(folder, name), fs.constants.COPYFILE_FICLONE);
      }
      super(folder);
    } catch (error) {
      fs.rmSync(folder, { recursive: true });
      throw error;
    }
    this.folder = folder;
  }

  override close(): void {
    try {
      super.close();
    } finally {
      fs.rmSync(this.folder, { recursive: true, force: true });
    }
  }
}

/** Opens the journal in `dir` to read it. Throws as a Journal does. */
export function journalToRead(dir: string): Journal {
  return isReadOnly(dir) ? new JournalCopy(dir) : new Journal(dir);
}

/** Whether the file system of `dir` takes no writes at all. */
export function isReadOnly(dir: string): boolean {
  try {
    fs.accessSync(dir, fs.constants.W_OK);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EROFS";
  }
}
