/**
 * The journal against the refs: what it says was accepted is in the ledger, at its place; the ledger holds nothing that it does not know
 * from its first row on; nothing waits to be finished; the packs it keeps are as they were accepted.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { readFileIfThere } from "../../gitwire/disk.ts";
import { readAs } from "../../gitwire/object/object.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import type { Ref } from "../../gitwire/refs/ref-snapshot.ts";
import type { Repository } from "../../gitwire/repo.ts";
import { parseLedgerCommit } from "../../kv/attestation.ts";
import { commitBefore } from "../../kv/ledger-line.ts";
import { classifyRef } from "../../kv/namespace.ts";
import type { Journal, JournalEntry } from "../journal.ts";
import { attempt, type Report } from "./fault.ts";

/** All rows of a namespace at once: 200 bytes each. */
const ALL = Number.MAX_SAFE_INTEGER;

/** Checks. `refs` were read after `rows`, so that whatever a row says has happened shows in them. */
export function checkJournal(
  repo: Repository,
  journal: Journal,
  rows: readonly JournalEntry[],
  refs: readonly Ref[],
  report: Report,
): void {
  for (const problem of journal.damage())
    report({ part: "journal", subject: "journal.db", code: "CORRUPT", message: problem });
  const byNamespace = Map.groupBy(
    rows.filter(({ kind }) => kind === "txn"),
    ({ ns }) => ns,
  );
  for (const { name, oid } of refs) {
    const is = classifyRef(name);
    if (is?.kind !== "ledger") continue;
    const rows = byNamespace.get(is.ns) ?? [];
    attempt("journal", name, report, () =>
      checkLedger(repo, journal, { ns: is.ns, rows, ref: name, tip: oid }, report),
    );
    byNamespace.delete(is.ns);
  }
  for (const [ns, left] of byNamespace) {
    const happened = left.find(({ done }) => done);
    if (happened === undefined) continue;
    const message = `transaction ${happened.txn} of '${ns}' was accepted, and there is no ledger`;
    report({ part: "journal", subject: `refs/kv/${ns}`, code: "CORRUPT", message });
  }
  for (const { name } of journal.keptPacks())
    attempt("journal", name, report, () => checkKept(repo, journal, name, report));
}

/** The rows that there are now, the oldest first. */
export function journalRows(journal: Journal): JournalEntry[] {
  return journal.accepted({ limit: ALL }).reverse();
}

/** Compares the commits of a ledger, from its tip back, with the rows. */
function checkLedger(
  repo: Repository,
  journal: Journal,
  { ns, rows, ref, tip }: { ns: string; rows: readonly JournalEntry[]; ref: string; tip: Oid },
  report: Report,
): void {
  const first = rows.reduce((least, { seq }) => Math.min(least, seq), Number.POSITIVE_INFINITY);
  const last = rows.reduce((most, { seq }) => Math.max(most, seq), 0);
  const unseen = new Map(rows.map((row) => [row.oid, row]));
  const { objects, format } = repo;
  for (let at: Oid | undefined = tip; at !== undefined; ) {
    const data: Buffer = readAs(objects, at, "commit");
    const { seq, txn } = parseLedgerCommit(format, at, data);
    if (seq < first) break;
    const row = unseen.get(at);
    unseen.delete(at);
    if (row === undefined && seq <= last && journal.earlier.find(ns, txn) !== at) {
      const message = `commit ${at} (#${seq}) is not in the journal: it did not come through the Stargate`;
      report({ part: "journal", subject: ref, code: "REF_FORBIDDEN", message });
    } else if (row !== undefined && (row.seq !== seq || row.txn !== txn)) {
      const message = `the journal has ${at} as transaction ${row.txn} (#${row.seq}), it is ${txn} (#${seq})`;
      report({ part: "journal", subject: ref, code: "CORRUPT", message });
    }
    at = commitBefore(format, at, data).oid;
  }
  for (const row of unseen.values()) {
    // A row that is taken back, or that a daemon is just working on.
    if (journal.find("txn", row.ns, row.txn) === undefined) continue;
    const { txn, seq, oid, done } = row;
    const what = done ? "was accepted and is not in the ledger" : "was written down and never finished";
    report({ part: "journal", subject: ref, code: "CORRUPT", message: `transaction ${txn} (#${seq}, ${oid}) ${what}` });
  }
}

/** A kept pack may have been combined with others; while its files are there they must be the journal's. */
function checkKept({ objectsDir }: Repository, journal: Journal, name: string, report: Report): void {
  const file = path.join(objectsDir, "pack", name);
  if (!fs.existsSync(`${file}.pack`) && !fs.existsSync(`${file}.idx`)) return;
  const kept = journal.keptPack(name);
  if (kept === undefined) return;
  for (const ending of ["pack", "idx"] as const) {
    if (readFileIfThere(`${file}.${ending}`)?.equals(kept[ending]) === true) continue;
    const message = `${name}.${ending} is not as it was accepted; start the Stargate once, which writes it again`;
    report({ part: "journal", subject: `${name}.${ending}`, code: "CORRUPT", message });
  }
}
