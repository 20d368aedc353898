/** Rows of the journal as SQLite has them, and what goes wrong with it. */

import type { Database } from "bun:sqlite";
import { KvError, toKvError } from "../errors.ts";
import type { EntryKind, JournalEntry, JournalUpdate, NewRow } from "./journal.ts";
import type { Door } from "./tokens.ts";

/** A row of the table `entry` (journal-schema.ts). */
export interface JournalRow {
  readonly id: number;
  readonly kind: EntryKind;
  readonly ns: string;
  readonly txn: string;
  readonly seq: number;
  readonly oid: string;
  readonly updates: string;
  readonly who: string;
  readonly accepted_at: number;
  readonly quarantine: string | null;
  readonly done: number;
  readonly mirrored_at: number | null;
  readonly door: Door | null;
  readonly signer: string | null;
  readonly keys_set: number;
  readonly keys_del: number;
  readonly ms: number | null;
}

/** Writes a row and the packs that come with it; returns its id. */
export function insertRow(db: Database, { entry, packs }: NewRow, done: boolean): number {
  const { lastInsertRowid } = db
    .query(
      `INSERT INTO entry (kind, ns, txn, seq, oid, updates, who, accepted_at, quarantine, door, signer, keys_set, keys_del, done)
       VALUES ($kind, $ns, $txn, $seq, $oid, $updates, $who, $acceptedAt, $quarantine, $door, $signer, $keysSet, $keysDel, $done)`,
    )
    .run({
      ...entry,
      updates: JSON.stringify(entry.updates),
      quarantine: entry.quarantine ?? null,
      door: entry.door ?? null,
      signer: entry.signer ?? null,
      done: done ? 1 : 0,
    });
  const keep = db.query("INSERT OR REPLACE INTO kept_pack (name, entry, pack, idx) VALUES (?, ?, ?, ?)");
  for (const { name, pack, idx } of packs) keep.run(name, lastInsertRowid, pack, idx);
  return Number(lastInsertRowid);
}

/** The entry of a row; `isFinished`: it is done, though not marked yet. */
export function entryOf(row: JournalRow, isFinished: boolean): JournalEntry {
  return {
    id: row.id,
    kind: row.kind,
    ns: row.ns,
    txn: row.txn,
    seq: row.seq,
    oid: row.oid,
    updates: JSON.parse(row.updates) as JournalUpdate[],
    who: row.who,
    acceptedAt: row.accepted_at,
    quarantine: row.quarantine ?? undefined,
    door: row.door ?? undefined,
    signer: row.signer ?? undefined,
    keysSet: row.keys_set,
    keysDel: row.keys_del,
    done: row.done === 1 || isFinished,
    mirroredAt: row.mirrored_at ?? undefined,
    ms: row.ms ?? undefined,
  };
}

const WRITABLE = "the account this runs as must be able to write that file and its folder, also to read it";
const MENDING =
  "the ledgers do not depend on it: docs/runbook.md, 'The journal is damaged', has the way out and what is lost";

/** What SQLite or the file system threw about the journal in `file`, as ours. */
export function journalError(error: unknown, file: string): KvError {
  const code = error instanceof Error && error.name === "SQLiteError" ? String((error as { code?: string }).code) : "";
  const message = `the journal ${file}: ${error instanceof Error ? error.message : String(error)}`;
  if (/^SQLITE_(?:READONLY|CANTOPEN)/.test(code))
    return new KvError("STORAGE", message, { hint: WRITABLE, cause: error });
  if (/^SQLITE_(?:FULL|IOERR)/.test(code)) return new KvError("STORAGE", message, { cause: error });
  if (/^SQLITE_(?:CORRUPT|NOTADB)/.test(code)) return new KvError("CORRUPT", message, { hint: MENDING, cause: error });
  return code === "" ? toKvError(error) : new KvError("IO", message, { cause: error });
}
