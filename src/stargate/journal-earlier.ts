/**
 * The transactions of a ledger that did not come by its journal: it was taken over from a mirror, from its beginning or from where a backup
 * ended, or the journal was lost. They are looked up once and kept, so that a KV-Txn names one transaction for ever, whichever journal let it in.
 */

import type { Database } from "bun:sqlite";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { Repository } from "../gitwire/repo.ts";
import { parseLedgerCommit } from "../kv/attestation.ts";
import { commitBefore } from "../kv/ledger-line.ts";
import { classifyRef, namespaceRefs } from "../kv/namespace.ts";
import { TimeSlice } from "../time-slice.ts";

interface Transaction {
  readonly txn: string;
  readonly oid: Oid;
}

export class EarlierTransactions {
  readonly #db: Database;
  readonly #run: <T>(action: () => T) => T;

  /** In the journal `db`; `run` does what is to be done there, and turns its errors into ours. */
  constructor(db: Database, run: <T>(action: () => T) => T) {
    this.#db = db;
    this.#run = run;
  }

  /** The ledger commit of a transaction that is older than the journal, or undefined. */
  find(ns: string, txn: string): Oid | undefined {
    const query = "SELECT oid FROM earlier WHERE ns = ? AND txn = ?";
    return this.#run(() => this.#db.query<{ oid: Oid }, [string, string]>(query).get(ns, txn)?.oid);
  }

  /** Looks those of every ledger of `repo` up that were not looked up yet: once, in time proportional to their number. */
  learn({ refs, objects }: Repository): void {
    for (const { name, oid } of refs.snapshot(["refs/kv"])) {
      const is = classifyRef(name);
      if (is?.kind !== "ledger" || this.find(is.ns, LEARNED) !== undefined) continue;
      const first = this.#firstRow(is.ns);
      this.#keep(is.ns, transactionsBack(objects, first ?? oid, first !== undefined));
    }
  }

  /**
   * Keeps those that come past the journal, from the tip of the ledger of `ns` in `repo` back to the newest that is in it: they are taken
   * over from the mirror after a restore. Throws what `signal` is aborted with, and keeps nothing then.
   */
  async learnPassedBy(
    { refs, objects }: Pick<Repository, "refs" | "objects">,
    ns: string,
    isInJournal: (txn: string) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const tip = refs.resolve(namespaceRefs(ns).ledger);
    if (tip === undefined) return;
    const passed: Transaction[] = [];
    const slice = new TimeSlice();
    for (const transaction of transactionsBack(objects, tip, false)) {
      if (isInJournal(transaction.txn) || this.find(ns, transaction.txn) !== undefined) break;
      passed.push(transaction);
      if (slice.isOver()) await slice.pause(signal);
    }
    this.#keep(ns, passed);
  }

  /** The ledger commit of the oldest row. */
  #firstRow(ns: string): Oid | undefined {
    const query = "SELECT oid FROM entry WHERE kind = 'txn' AND ns = ? ORDER BY seq LIMIT 1";
    return this.#run(() => this.#db.query<{ oid: Oid }, [string]>(query).get(ns)?.oid);
  }

  #keep(ns: string, transactions: Iterable<Transaction>): void {
    this.#run(() =>
      this.#db.transaction(() => {
        const insert = this.#db.query("INSERT OR IGNORE INTO earlier (ns, txn, oid) VALUES (?, ?, ?)");
        for (const { txn, oid } of transactions) insert.run(ns, txn, oid);
        insert.run(ns, LEARNED, "");
      })(),
    );
  }
}

/** In the place of a KV-Txn: all of the namespace were looked up. */
const LEARNED = "";

/** The transactions from `tip` back, without that one where the journal has it, as far as they are here and can be read. */
function* transactionsBack(objects: Repository["objects"], tip: Oid, isKnown: boolean): Generator<Transaction> {
  let isFirst = isKnown;
  for (let at: Oid | undefined = tip; at !== undefined; isFirst = false) {
    const object = objects.read(at);
    if (object?.kind !== "commit") return;
    try {
      if (!isFirst) yield { txn: parseLedgerCommit(objects.format, at, object.data).txn, oid: at };
      at = commitBefore(objects.format, at, object.data).oid;
    } catch (error) {
      if (error instanceof KvError) return;
      throw error;
    }
  }
}
