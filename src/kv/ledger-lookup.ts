/**
 * Finds transactions of a ledger by sequence number, KV-Txn, time, or the commit they were built on, without walking from the tip:
 * by the table of {@link TxnTable}, which is brought up to the tip first. What it names is believed only after a look at the commit.
 */

import * as path from "node:path";
import { KvError } from "../errors.ts";
import { parseIdent } from "../gitwire/object/commit.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Repository } from "../gitwire/repo.ts";
import { inSlices } from "../time-slice.ts";
import { trace, tracing } from "../trace.ts";
import { type LedgerCommit, parseLedgerCommit } from "./attestation.ts";
import { commitBefore } from "./ledger-line.ts";
import type { NamespaceState } from "./state.ts";
import { RowStack, type TxnRow, TxnTable } from "./txn-table.ts";
import type { Workspace } from "./workspace.ts";

/** What a lookup needs besides the ledger's newest commit. */
export interface LookupPlace {
  readonly objects: ObjectSource;
  /** The table's file. */
  readonly file: string;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: ((text: string) => void) | undefined;
}

/** Where a repository keeps the table of the namespace `ns`. */
export function tableFile(repo: Repository, ns: string): string {
  return path.join(repo.commonDir, "kv", `transactions-${ns}`);
}

/** A lookup in the ledger of a workspace's namespace that ends with `tip`. */
export function lookupIn({ repo, around, copy }: Workspace, { ns, ledger }: NamespaceState): Promise<LedgerLookup> {
  const { signal, progress } = around;
  const place = { objects: repo.objects, file: tableFile(repo, ns), signal, progress };
  const open = (): Promise<LedgerLookup> => LedgerLookup.open(place, ledger);
  return copy === undefined ? open() : copy.mended(open);
}

/** Rows that are walked to anew each time before they are put into the file. */
const TAIL = 32;
/** Commits between two looks at the clock. */
const STRIDE = 256;
/** Commits that are walked in silence. */
const SILENT = 20_000;

export class LedgerLookup {
  readonly #place: LookupPlace;
  readonly #objects: ObjectSource;
  readonly #tip: LedgerCommit;
  #table: TxnTable;
  /** Whether the table was made from the objects alone. */
  #isFresh = false;

  private constructor(place: LookupPlace, tip: LedgerCommit) {
    this.#place = place;
    this.#objects = place.objects;
    this.#tip = tip;
    this.#table = TxnTable.open(place.file, place.objects.format);
  }

  /** A lookup in the ledger that ends with `tip`. */
  static async open(place: LookupPlace, tip: LedgerCommit): Promise<LedgerLookup> {
    const lookup = new LedgerLookup(place, tip);
    await lookup.#bringUp();
    return lookup;
  }

  /** KV-Seq of the oldest transaction that is here. */
  get first(): number {
    return this.#table.first;
  }

  /** KV-Seq of the newest transaction. */
  get last(): number {
    return this.#tip.seq;
  }

  /** The ledger commit that the table has for the transaction `seq`, without a look at it; undefined where {@link at} is, or its row is damaged. */
  oidAt(seq: number): Oid | undefined {
    if (seq > this.#tip.seq) return undefined;
    if (seq === this.#tip.seq) return this.#tip.oid;
    try {
      return this.#table.row(seq)?.oid;
    } catch (error) {
      if (isDamage(error)) return undefined;
      throw error;
    }
  }

  /** The transaction `seq`, or undefined where it is before what is here, or after the tip. */
  async at(seq: number): Promise<LedgerCommit | undefined> {
    if (seq > this.#tip.seq) return undefined;
    if (seq === this.#tip.seq) return this.#tip;
    const row = await this.#ask((table) => table.row(seq));
    if (row === undefined) return undefined;
    const commit = this.#read(row);
    if (commit?.seq === seq && commit.ns === this.#tip.ns) return commit;
    await this.#doubt();
    return this.at(seq);
  }

  /**
   * The transaction `seq` where it was built on `base`; the first one here where `seq` is undefined, as what a shallow history began behind
   * is not known.
   */
  async builtOn(base: Oid | undefined, seq: number | undefined): Promise<LedgerCommit | undefined> {
    if (seq === undefined) {
      const first = await this.at(this.first);
      return first?.parent === base ? first : undefined;
    }
    const commit = await this.at(seq);
    if (commit === undefined || commit.parent === base) return commit;
    if (this.#isFresh) return undefined;
    await this.#doubt();
    return this.builtOn(base, seq);
  }

  /** The transaction called `txn`, or undefined. */
  async named(txn: string): Promise<LedgerCommit | undefined> {
    const seq = await this.#ask((table) => table.seqOf(txn));
    if (seq === undefined || seq > this.#tip.seq) return undefined;
    const commit = await this.at(seq);
    if (commit?.txn === txn) return commit;
    await this.#doubt();
    return this.named(txn);
  }

  /** The newest transaction that says it was made at `time` (Unix seconds) or before. */
  async newestAt(time: number): Promise<LedgerCommit | undefined> {
    const seq = await this.#ask((table) => table.newestAt(time, this.#tip.seq));
    return seq === undefined ? undefined : this.at(seq);
  }

  /** Whether `commit` is part of this ledger. */
  async contains(commit: LedgerCommit): Promise<boolean> {
    return (await this.at(commit.seq))?.oid === commit.oid;
  }

  close(): void {
    this.#table.close();
  }

  /** What the table says; once it is made anew, where it is damaged. */
  async #ask<T>(question: (table: TxnTable) => T): Promise<T> {
    try {
      return question(this.#table);
    } catch (error) {
      if (!isDamage(error)) throw error;
      await this.#doubt();
      return question(this.#table);
    }
  }

  #read({ oid }: TxnRow): LedgerCommit | undefined {
    const object = this.#objects.read(oid);
    if (object?.kind !== "commit") return undefined;
    try {
      return parseLedgerCommit(this.#objects.format, oid, object.data);
    } catch (error) {
      if (error instanceof KvError) return undefined;
      throw error;
    }
  }

  /** The table says what the objects do not: it is made once more, from them. */
  async #doubt(): Promise<void> {
    if (this.#isFresh) throw new KvError("CORRUPT", `the ledger of '${this.#tip.ns}' does not count its transactions`);
    await this.#follow(this.#emptied());
  }

  /** An empty table in place of the one that was read. */
  #emptied(): TxnTable {
    this.#table.close();
    this.#table = TxnTable.empty(this.#place.file, this.#objects.format);
    return this.#table;
  }

  /** The table, or an empty one where history has come here (an archive, say) that is before its first row. */
  #reachable(): TxnTable {
    const first = this.#table.first === 1 ? undefined : this.#table.row(this.#table.first);
    const object = first === undefined ? undefined : this.#objects.read(first.oid);
    if (object?.kind !== "commit") return this.#table;
    const before = commitBefore(this.#objects.format, first!.oid, object.data).oid;
    if (before === undefined || !(this.#objects.hasAtHand?.(before) ?? this.#objects.has(before))) return this.#table;
    return this.#emptied();
  }

  async #bringUp(): Promise<void> {
    try {
      await this.#follow(this.#reachable());
    } catch (error) {
      if (!isDamage(error)) throw error;
      await this.#follow(this.#emptied());
    }
  }

  /** Walks from the tip back to a row of the table `known`, and puts what is between behind it. */
  async #follow(known: TxnTable): Promise<void> {
    const { signal, progress } = this.#place;
    if (known.row(this.#tip.seq)?.oid === this.#tip.oid) return;
    const rows = new RowStack(this.#objects.format);
    const walk = walkBack(this.#objects, this.#tip, known, rows);
    const joined = await inSlices(
      (function* () {
        for (let step = walk.next(); ; step = walk.next()) {
          if (step.done === true) return step.value;
          if (rows.length > SILENT) progress?.(`reading the ledger: ${rows.length} transactions`);
          yield;
        }
      })(),
      signal,
      1,
    );
    progress?.("");
    known.replaceAfter(joined ?? this.#tip.seq - rows.length, rows);
    this.#isFresh = joined === undefined;
    if (known.tail >= TAIL || this.#isFresh) this.#save();
  }

  #save(): void {
    try {
      this.#table.save();
    } catch (error) {
      // Nobody loses anything but time: this run has all rows.
      if (tracing("perf")) trace("perf", `${this.#place.file} cannot be written: ${String(error)}`);
    }
  }
}

/** Whether the table, or an object, is damaged. */
const isDamage = (error: unknown): boolean => error instanceof KvError && error.code === "CORRUPT";

/**
 * Pushes the transactions behind `tip`, it first, until one is a row of `known`: that one's KV-Seq is returned; undefined where the
 * ledger's beginning, or the end of what is here, was reached. Yields now and then.
 */
function* walkBack(
  objects: ObjectSource,
  tip: LedgerCommit,
  known: TxnTable,
  rows: RowStack,
): Generator<void, number | undefined> {
  const { format } = objects;
  let seq = tip.seq;
  for (let oid: Oid | undefined = tip.oid; oid !== undefined; seq--) {
    if (known.row(seq)?.oid === oid) return seq;
    const object = objects.read(oid);
    // A shallow clone ends somewhere.
    if (object === undefined && rows.length > 0) return undefined;
    const data: Buffer = object === undefined ? readAs(objects, oid, "commit") : object.data;
    rows.push(rowOf(oid, data));
    oid = commitBefore(format, oid, data).oid;
    if (rows.length % STRIDE === 0) yield;
  }
  return undefined;
}

/** What the table says of a commit. Read in haste: a hundred thousand of them are, and each one that is used is read again. */
function rowOf(oid: Oid, data: Buffer): TxnRow {
  const from = data.indexOf("\ncommitter ") + 11;
  const to = data.indexOf("\n", from);
  const at = data.lastIndexOf("\nKV-Txn: ") + 9;
  if (from < 11 || to < 0 || at < 9) throw new KvError("CORRUPT", `${oid} is no ledger commit`);
  return { oid, txn: data.latin1Slice(at, at + 26), time: parseIdent(data.utf8Slice(from, to)).seconds };
}
