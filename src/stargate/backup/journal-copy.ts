/** A copy of the journal that fits a snapshot of the refs, made beside a daemon that goes on writing. */

import { Database } from "bun:sqlite";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import type { Ref } from "../../gitwire/refs/ref-snapshot.ts";
import type { Repository } from "../../gitwire/repo.ts";
import { Journal, type JournalUpdate } from "../journal.ts";
import { isReadOnly, JournalCopy } from "../journal-to-read.ts";
import { stargateDir } from "../settings.ts";

/** Tries to find an instant between two transactions, and milliseconds between them. */
const TRIES = 500;
const PAUSE = 10;

/** Refs, and the copy at `to` that says what made them. Throws BUSY where writes leave no instant to read both. */
export async function copyJournal(repo: Repository, to: string): Promise<readonly Ref[]> {
  const dir = stargateDir(repo.gitDir);
  const still = isReadOnly(dir) ? new JournalCopy(dir) : undefined;
  let db: Database | undefined;
  try {
    // Makes the journal, or brings it up to date, where no daemon has.
    if (still === undefined) new Journal(dir).close();
    db = new Database(path.join(still?.folder ?? dir, "journal.db"), { readwrite: true });
    db.run("PRAGMA busy_timeout = 5000");
    const { refs, last } = await quietInstant(repo, db);
    db.query("VACUUM INTO ?").run(to);
    trim(to, last);
    return refs;
  } finally {
    db?.close();
    still?.close();
  }
}

/**
 * The refs at an instant at which every row of the journal had happened. A row is written before its refs move, so no row may come
 * between the two looks, and those nobody has marked yet must be what the refs say.
 */
async function quietInstant(repo: Repository, db: Database): Promise<{ refs: readonly Ref[]; last: number }> {
  for (let i = 0; i < TRIES; i++) {
    const before = rowsOf(db);
    const refs = repo.refs.snapshot();
    if (rowsOf(db).last === before.last && hasHappened(before.open, refs)) return { refs, last: before.last };
    await Bun.sleep(PAUSE);
  }
  throw new KvError("BUSY", "writes left no instant to read refs and journal together");
}

interface Rows {
  readonly last: number;
  readonly open: readonly JournalUpdate[];
}

function rowsOf(db: Database): Rows {
  return db.transaction(() => {
    const last = db.query<{ id: number | null }, []>("SELECT max(id) AS id FROM entry").get()?.id ?? 0;
    const open = db.query<{ updates: string }, []>("SELECT updates FROM entry WHERE done = 0 ORDER BY id").all();
    return { last, open: open.flatMap(({ updates }) => JSON.parse(updates) as JournalUpdate[]) };
  })();
}

function hasHappened(open: readonly JournalUpdate[], refs: readonly Ref[]): boolean {
  const at = new Map(refs.map(({ name, oid }) => [name, oid]));
  // Of several moves of one ref the last one shows.
  const wanted = new Map(open.map(({ ref, newOid }) => [ref, newOid]));
  return [...wanted].every(([ref, newOid]) => (at.get(ref) ?? newOid.replaceAll(/./g, "0")) === newOid);
}

/** Takes away what came after the instant, and what speaks of files that are not in the backup. */
function trim(file: string, last: number): void {
  const copy = new Database(file, { readwrite: true });
  try {
    copy.run("PRAGMA journal_mode = DELETE");
    copy.transaction(() => {
      copy.query("DELETE FROM entry WHERE id > ?").run(last);
      copy.run("UPDATE entry SET done = 1, quarantine = NULL WHERE done = 0 OR quarantine IS NOT NULL");
      copy.run("DELETE FROM kept_pack");
      copy.query("UPDATE position SET entry = ?1 WHERE entry > ?1").run(last);
    })();
    copy.run("VACUUM");
  } finally {
    copy.close();
  }
}
