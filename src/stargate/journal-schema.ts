/**
 * The tables of the journal, and how an older journal is brought to them: one step for each version, all steps in one transaction.
 * `PRAGMA user_version` says which version a file has. A journal newer than we know is refused.
 */

import type { Database } from "bun:sqlite";
import { KvError } from "../errors.ts";

/** Each makes the next version of the one before it; the first makes version 1 of an empty file. */
const STEPS: readonly string[] = [
  `CREATE TABLE entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    ns TEXT NOT NULL,
    txn TEXT NOT NULL,
    seq INTEGER NOT NULL,
    oid TEXT NOT NULL,
    updates TEXT NOT NULL,
    who TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    quarantine TEXT,
    done INTEGER NOT NULL DEFAULT 0,
    mirrored_at INTEGER,
    UNIQUE (kind, ns, txn)
  );
  CREATE INDEX entry_open ON entry (id) WHERE done = 0;
  CREATE INDEX entry_oid ON entry (oid);
  CREATE INDEX entry_unmirrored ON entry (kind, ns, seq) WHERE mirrored_at IS NULL;`,
  // Rows written before know neither door nor signer, nor how many keys; a program of version 1 can still write its rows.
  `ALTER TABLE entry ADD COLUMN door TEXT;
  ALTER TABLE entry ADD COLUMN signer TEXT;
  ALTER TABLE entry ADD COLUMN keys_set INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE entry ADD COLUMN keys_del INTEGER NOT NULL DEFAULT 0;
  CREATE TABLE rejection (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    ns TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    who TEXT NOT NULL,
    door TEXT
  );`,
  // Small packs that are not on disk yet themselves (kept-packs.ts).
  `CREATE TABLE kept_pack (
    name TEXT PRIMARY KEY,
    entry INTEGER NOT NULL,
    pack BLOB NOT NULL,
    idx BLOB NOT NULL
  );`,
  // How far those who are told of transactions have got: the id of the last row they took.
  `CREATE TABLE position (
    name TEXT PRIMARY KEY,
    entry INTEGER NOT NULL
  );`,
  // How long an accept took: with the rest of the row the past hour can be shown after a restart.
  "ALTER TABLE entry ADD COLUMN ms INTEGER;",
  // Transactions that are older than the journal (journal-earlier.ts).
  `CREATE TABLE earlier (
    ns TEXT NOT NULL,
    txn TEXT NOT NULL,
    oid TEXT NOT NULL,
    PRIMARY KEY (ns, txn)
  ) WITHOUT ROWID;`,
  // How often something happened in each ten minutes of the past day (journal-counts.ts).
  `CREATE TABLE tally (
    step INTEGER NOT NULL,
    name TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (step, name)
  ) WITHOUT ROWID;`,
];

/** The version this program writes. */
export const JOURNAL_VERSION = STEPS.length;

/** Brings the tables of `db` to {@link JOURNAL_VERSION}, or leaves them as they are. Throws UNSUPPORTED for a newer journal. */
export function prepareSchema(db: Database): void {
  const version = versionOf(db);
  if (version > JOURNAL_VERSION) {
    throw new KvError("UNSUPPORTED", `the journal is of version ${version}, this program knows ${JOURNAL_VERSION}`, {
      hint: "run the program that wrote it, or a newer one",
    });
  }
  if (version === JOURNAL_VERSION) return;
  db.transaction(() => {
    // Another process may have done it meanwhile.
    for (let at = versionOf(db); at < JOURNAL_VERSION; at++) db.run(STEPS[at]!);
    db.run(`PRAGMA user_version = ${JOURNAL_VERSION}`);
  }).immediate();
}

function versionOf(db: Database): number {
  return db.query<{ user_version: number }, []>("PRAGMA user_version").get()?.user_version ?? 0;
}
