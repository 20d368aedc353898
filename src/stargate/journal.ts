/**
 * The write-ahead journal: one row for every accepted transaction, written and on disk before any ref moves.
 *
 * It is what start-up finishes a broken transaction from (recovery.ts), the mirror's queue, the source of lag figures and the
 * audit log. A row that is marked done need not reach the disk at once: finishing a transaction twice does nothing. The marks
 * are therefore written with the next row, which saves every push a second fsync (0.25 ms each).
 *
 * Refused pushes are noted beside them, the newest {@link LIMITS.journalRejections}, without an fsync: they outlive the process,
 * and whoever sends nonsense as fast as they can does not keep the disk from those who do not.
 */

import { Database } from "bun:sqlite";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Code } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { SmallPack } from "../gitwire/pack/pack-install.ts";
import { LIMITS } from "../limits.ts";
import { type Count, JournalCounts } from "./journal-counts.ts";
import { EarlierTransactions } from "./journal-earlier.ts";
import { JournalPositions } from "./journal-positions.ts";
import { entryOf, insertRow, journalError, type JournalRow as Row } from "./journal-rows.ts";
import { prepareSchema } from "./journal-schema.ts";
import type { Door } from "./tokens.ts";

/** A ref as a transaction moves it; the zero id as `oldOid` where it is new. */
export interface JournalUpdate {
  readonly ref: string;
  readonly oldOid: Oid;
  readonly newOid: Oid;
}

/**
 * `txn`: a namespace's transaction. `policy`: refs/kv-policy/current. `branch`: a push of ordinary refs. `ref`: an ordinary ref that was
 * made here. `restore`: all of it was made from a backup. `foreign`: the mirror had what is not here. `fork`: somebody decided to go on beside
 * that. `force`: somebody had it overwritten. Of the last four no ref of ours moves.
 */
export type EntryKind = "txn" | "policy" | "branch" | "ref" | "restore" | "foreign" | "fork" | "force";

/** What is about to be done. */
export interface NewEntry {
  readonly kind: EntryKind;
  /** "" where the kind has none. */
  readonly ns: string;
  /** KV-Txn; for the other kinds any name that is not used twice. */
  readonly txn: string;
  /** KV-Seq, 0 for the other kinds. */
  readonly seq: number;
  /** The ledger commit, or the policy's. */
  readonly oid: Oid;
  readonly updates: readonly JournalUpdate[];
  /** Who pushed: the token's or the user's name. */
  readonly who: string;
  /** The way they came in; undefined for what the Stargate does by itself. */
  readonly door: Door | undefined;
  /** Fingerprint of the key that signed the ledger commit, or of the SSH key that pushed it; undefined where nobody did. */
  readonly signer: string | undefined;
  /** How many keys are set and deleted; 0 for the other kinds. */
  readonly keysSet: number;
  readonly keysDel: number;
  /** Milliseconds since 1970. */
  readonly acceptedAt: number;
  /** Folder where the objects wait, if any came. */
  readonly quarantine: string | undefined;
}

/** A row to be written, and packs that are to last as it does. */
export interface NewRow {
  readonly entry: NewEntry;
  readonly packs: readonly SmallPack[];
}

/** A row. */
export interface JournalEntry extends NewEntry {
  readonly id: number;
  readonly done: boolean;
  /** Milliseconds since 1970; undefined until the mirror has it. */
  readonly mirroredAt: number | undefined;
  /** From the commands of the push to its end; undefined where it is not known. */
  readonly ms: number | undefined;
}

/** A push that was refused; never anything of what was pushed. */
export interface Rejection {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** "" where it was no transaction. */
  readonly ns: string;
  readonly code: Code;
  readonly message: string;
  readonly who: string;
  readonly door: Door | undefined;
}

/** What became of a transaction when; null where it has not, or is not known. */
export interface Durations {
  readonly acceptedAt: number;
  readonly mirroredAt: number | null;
  readonly ms: number | null;
}

/** Which rows are wanted; each left out means all. */
export interface RowFilter {
  readonly ns?: string | undefined;
  /** Milliseconds since 1970. */
  readonly since?: number | undefined;
  readonly limit: number;
}

export class Journal {
  /** How far those who are told of transactions have got. */
  readonly positions: JournalPositions;
  /** What ledgers hold from before there was this journal. */
  readonly earlier: EarlierTransactions;
  readonly #db: Database;
  readonly #counts: JournalCounts;
  /** Rows that are done but not marked yet, and the milliseconds they took. */
  readonly #finished = new Map<number, number | undefined>();

  /** Opens the journal in `dir`, making both where they are missing. Throws STORAGE, IO, CORRUPT. */
  constructor(dir: string) {
    try {
      fs.mkdirSync(dir, { recursive: true, mode: 0o750 });
      this.#db = new Database(path.join(dir, "journal.db"), { create: true, strict: true });
    } catch (error) {
      throw journalError(error, path.join(dir, "journal.db"));
    }
    this.#run(() => this.#prepare());
    this.#counts = new JournalCounts(this.#db);
    const relaxed = (action: () => void): void => this.#relaxed(action);
    this.positions = new JournalPositions(this.#db, (action) => this.#run(action), relaxed);
    this.earlier = new EarlierTransactions(this.#db, (action) => this.#run(action));
  }

  /**
   * Writes the row of a transaction, and with it `packs` that are to last as it does; they are on disk when this returns. Returns
   * the row's id. Throws STORAGE, IO, CORRUPT.
   */
  append(entry: NewEntry, packs: readonly SmallPack[] = []): number {
    return this.appendAll([{ entry, packs }])[0]!;
  }

  /** As {@link append}, for several transactions: all rows are on disk when this returns, or none is there. */
  appendAll(rows: readonly NewRow[]): readonly number[] {
    return this.#insert(rows, false);
  }

  /** Writes the row of what has happened already: refs that moved by somebody else's decision. Throws STORAGE, IO, CORRUPT. */
  record(entry: Omit<NewEntry, "quarantine">): void {
    this.#insert([{ entry: { ...entry, quarantine: undefined }, packs: [] }], true);
  }

  #insert(rows: readonly NewRow[], done: boolean): readonly number[] {
    return this.#run(() =>
      this.#db.transaction(() => {
        this.#writeMarks();
        return rows.map((row) => insertRow(this.#db, row, done));
      })(),
    );
  }

  /**
   * Notes that all of the entry has happened, and how many milliseconds after the commands of the push. The mark is written later;
   * see the head of this file.
   */
  finish(id: number, ms?: number): void {
    this.#finished.set(id, ms);
  }

  /** Removes the rows of transactions that have not happened and will not. */
  drop(...ids: readonly number[]): void {
    this.#run(() =>
      this.#db.transaction(() => {
        for (const id of ids) {
          if (this.#db.query("DELETE FROM entry WHERE id = ? AND done = 0").run(id).changes > 0)
            this.#db.query("DELETE FROM kept_pack WHERE entry = ?").run(id);
        }
      })(),
    );
  }

  /** Names of the packs that are kept here, and the rows they came with. */
  keptPacks(): { readonly name: string; readonly entry: number }[] {
    return this.#run(() =>
      this.#db.query<{ name: string; entry: number }, []>("SELECT name, entry FROM kept_pack ORDER BY entry").all(),
    );
  }

  /** A pack that is kept here, or undefined. */
  keptPack(name: string): SmallPack | undefined {
    const query = "SELECT name, pack, idx FROM kept_pack WHERE name = ?";
    return this.#run(() => this.#db.query<SmallPack, [string]>(query).get(name) ?? undefined);
  }

  /** Keeps these packs no longer: their objects are on disk. Should this be lost in a power cut, they are kept longer. */
  releasePacks(names: readonly string[]): void {
    this.#relaxed(() => {
      const release = this.#db.query("DELETE FROM kept_pack WHERE name = ?");
      this.#db.transaction(() => {
        for (const name of names) release.run(name);
      })();
    });
  }

  /** Entries that nobody knows to be finished, oldest first. */
  unfinished(): JournalEntry[] {
    this.flush();
    return this.#entries("WHERE done = 0 ORDER BY id");
  }

  /** The entry of a transaction, or undefined. */
  find(kind: EntryKind, ns: string, txn: string): JournalEntry | undefined {
    return this.#entries("WHERE kind = ? AND ns = ? AND txn = ?", kind, ns, txn)[0];
  }

  /** True where the ledger commit `oid` was accepted in `ns`, and has moved the refs. */
  isAccepted(ns: string, oid: Oid): boolean {
    return this.#entries("WHERE oid = ? AND kind = 'txn' AND ns = ?", oid, ns).some(({ done }) => done);
  }

  /** The newest entries, newest first. */
  newest(limit: number): JournalEntry[] {
    return this.#entries("ORDER BY id DESC LIMIT ?", limit);
  }

  /** Rows of accepted pushes, newest first. */
  accepted({ ns, since, limit }: RowFilter): JournalEntry[] {
    const where = "WHERE (?1 IS NULL OR ns = ?1) AND (?2 IS NULL OR accepted_at >= ?2) ORDER BY id DESC LIMIT ?3";
    return this.#entries(where, ns ?? null, since ?? null, limit);
  }

  /** Notes that a push was refused. Does not wait for the disk. */
  reject(rejection: Rejection): void {
    this.#relaxed(() => {
      this.#counts.add(rejection.code, rejection.at);
      const { lastInsertRowid } = this.#db
        .query(
          "INSERT INTO rejection (at, ns, code, message, who, door) VALUES ($at, $ns, $code, $message, $who, $door)",
        )
        .run({
          ...rejection,
          message: rejection.message.slice(0, LIMITS.journalMessage),
          door: rejection.door ?? null,
        });
      const oldest = Number(lastInsertRowid) - LIMITS.journalRejections;
      if (oldest > 0) this.#db.query("DELETE FROM rejection WHERE id <= ?").run(oldest);
    });
  }

  /** Counts one more of `name` for the figures of a day. Does not wait for the disk. */
  count(name: string, at: number): void {
    this.#relaxed(() => this.#counts.add(name, at));
  }

  /** What was counted in the past day: refusals by their codes, and what else has a name. */
  counts(): Count[] {
    return this.#run(() => this.#counts.all());
  }

  /** Refused pushes, newest first. */
  rejections({ ns, since, limit }: RowFilter): Rejection[] {
    const where = "WHERE (?1 IS NULL OR ns = ?1) AND (?2 IS NULL OR at >= ?2) ORDER BY id DESC LIMIT ?3";
    return this.#run(() =>
      this.#db
        .query<Omit<Rejection, "door"> & { door: Door | null }, (string | number | null)[]>(
          `SELECT at, ns, code, message, who, door FROM rejection ${where}`,
        )
        .all(ns ?? null, since ?? null, limit)
        .map((row) => ({ ...row, door: row.door ?? undefined })),
    );
  }

  /** When transactions were accepted and mirrored since `since`, and what they took, newest first, among the newest `limit` rows. */
  durations(since: number, limit: number): Durations[] {
    return this.#run(() => {
      const query = `SELECT accepted_at AS acceptedAt, mirrored_at AS mirroredAt, ms FROM entry
        WHERE id > (SELECT max(id) FROM entry) - ?2 AND kind = 'txn' AND accepted_at >= ?1 ORDER BY id DESC`;
      return this.#db.query<Durations, [number, number]>(query).all(since, limit);
    });
  }

  /** Rows of a kind that are not settled with the mirror, oldest first: ordinary refs it has not got, what the fence (fence.ts) goes by. */
  unmirrored(kind: Exclude<EntryKind, "txn">): JournalEntry[] {
    return this.#entries("WHERE kind = ? AND mirrored_at IS NULL ORDER BY id", kind);
  }

  /**
   * Notes that the mirror has `ns` up to `seq`; returns the acceptance times of what it did not have before. Does not wait for the
   * disk: should a power cut take the note, the next look at the mirror makes it again.
   */
  markMirrored(kind: EntryKind, ns: string, seq: number, at: number): number[] {
    const where = "kind = ? AND ns = ? AND seq <= ? AND mirrored_at IS NULL";
    const query = `SELECT accepted_at FROM entry WHERE ${where}`;
    const rows = this.#run(() =>
      this.#db.query<{ accepted_at: number }, [string, string, number]>(query).all(kind, ns, seq),
    );
    const mark = `UPDATE entry SET mirrored_at = ? WHERE ${where}`;
    if (rows.length > 0) this.#relaxed(() => this.#db.query(mark).run(at, kind, ns, seq));
    return rows.map((row) => row.accepted_at);
  }

  /** Notes that the mirror has the one entry `id`. Does not wait for the disk. */
  markOneMirrored(id: number, at: number): void {
    this.#relaxed(() => this.#db.query("UPDATE entry SET mirrored_at = ? WHERE id = ?").run(at, id));
  }

  /** How many transactions of `ns` the mirror does not have, and when the oldest of them was accepted. */
  backlog(ns: string): { readonly count: number; readonly oldest: number | undefined } {
    const query = `SELECT count(*) AS count, min(accepted_at) AS oldest FROM entry
      WHERE kind = 'txn' AND ns = ? AND mirrored_at IS NULL`;
    const row = this.#run(() => this.#db.query<{ count: number; oldest: number | null }, [string]>(query).get(ns));
    return { count: row?.count ?? 0, oldest: row?.oldest ?? undefined };
  }

  /** When the oldest transactions that the mirror does not have were accepted, at most `limit` of them. */
  waiting(limit: number): number[] {
    const query = "SELECT accepted_at FROM entry WHERE kind = 'txn' AND mirrored_at IS NULL ORDER BY ns, seq LIMIT ?";
    const rows = this.#run(() => this.#db.query<{ accepted_at: number }, [number]>(query).all(limit));
    return rows.map(({ accepted_at }) => accepted_at);
  }

  /** Transactions whose rows follow the row `id`, oldest first, as far as all before them have happened. */
  transactionsAfter(id: number, limit: number): JournalEntry[] {
    const rows = this.#entries("WHERE id > ? AND kind = 'txn' ORDER BY id LIMIT ?", id, limit);
    const open = rows.findIndex(({ done }) => !done);
    return open < 0 ? rows : rows.slice(0, open);
  }

  /** Writes to the disk and changes nothing. Throws STORAGE, IO, CORRUPT where that cannot be done. */
  probe(): void {
    this.#run(() => {
      const version = this.#db.query<{ user_version: number }, []>("PRAGMA user_version").get()?.user_version ?? 0;
      this.#db.run(`PRAGMA user_version = ${version}`);
    });
  }

  /** What SQLite finds wrong with the file; nothing where it is sound. */
  damage(): string[] {
    const query = "PRAGMA integrity_check";
    const rows = this.#run(() => this.#db.query<{ integrity_check: string }, []>(query).all());
    return rows.map((row) => row.integrity_check).filter((text) => text !== "ok");
  }

  /** Writes the marks that wait. */
  flush(): void {
    if (this.#finished.size > 0) this.#run(() => this.#db.transaction(() => this.#writeMarks())());
  }

  close(): void {
    try {
      this.flush();
    } finally {
      this.#db.close();
    }
  }

  #prepare(): void {
    this.#db.run("PRAGMA journal_mode = WAL");
    this.#db.run("PRAGMA synchronous = FULL");
    this.#db.run("PRAGMA busy_timeout = 5000");
    prepareSchema(this.#db);
  }

  #writeMarks(): void {
    const mark = this.#db.query("UPDATE entry SET done = 1, ms = ? WHERE id = ?");
    for (const [id, ms] of this.#finished) mark.run(ms ?? null, id);
    this.#finished.clear();
  }

  #entries(where: string, ...values: (string | number | null)[]): JournalEntry[] {
    return this.#run(() =>
      this.#db
        .query<Row, (string | number | null)[]>(`SELECT * FROM entry ${where}`)
        .all(...values)
        .map((row) => entryOf(row, this.#finished.has(row.id))),
    );
  }

  /** What `action` writes outlives the process, but waits for no disk. */
  #relaxed(action: () => void): void {
    this.#run(() => {
      // In WAL mode this only leaves out the fsync of a commit; the file stays sound (sqlite.org/pragma.html#pragma_synchronous).
      this.#db.run("PRAGMA synchronous = NORMAL");
      try {
        action();
      } finally {
        this.#db.run("PRAGMA synchronous = FULL");
      }
    });
  }

  #run<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw journalError(error, this.#db.filename);
    }
  }
}
