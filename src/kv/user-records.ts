/** Revisions, transactions and changes as programs are given them. */

import { parseIdent } from "../gitwire/object/commit.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { dateOf } from "../time.ts";
import type { LedgerCommit } from "./attestation.ts";
import type { Revision } from "./history.ts";
import type { Metadata } from "./record.ts";
import { type SignatureReport, SignatureReporter } from "./signature-report.ts";
import type { Workspace } from "./workspace.ts";

/** A transaction of the ledger. */
export interface KvTransaction {
  readonly oid: Oid;
  readonly txn: string;
  readonly seq: number;
  /** The ledger's tree: what `expectTree` of a write names. */
  readonly tree: Oid;
  readonly epoch: string;
  /** When the commit says it was made; the nearest time that a Date can hold where it says something else. */
  readonly time: Date;
  /** What the commit says, in Unix seconds. */
  readonly seconds: number;
  readonly author: { readonly name: string; readonly email: string };
  readonly signature: SignatureReport;
  readonly subject: string;
  /** How many keys it set and deleted. */
  readonly set: number;
  readonly del: number;
}

/** A revision of a key. */
export interface KvRevision {
  readonly op: "set" | "del";
  readonly rev: number;
  /** Undefined where its transaction is not here (an archive that was not fetched). */
  readonly transaction: KvTransaction | undefined;
  /** Of a set. */
  readonly meta: Metadata | undefined;
}

/** A key in which two states differ. */
export interface KvChange {
  readonly op: "add" | "change" | "del";
  readonly key: string;
  readonly before: Metadata | undefined;
  readonly after: Metadata | undefined;
}

/** A key that changed, and in which transaction. */
export interface KvEvent {
  readonly seq: number;
  /** The ledger commit. */
  readonly oid: Oid;
  readonly txn: string;
  readonly op: "set" | "del";
  readonly key: string;
  readonly rev: number;
  /** Of a set. */
  readonly meta: Metadata | undefined;
}

const REPORTERS = new WeakMap<Workspace, SignatureReporter>();

/** @internal */
export async function transactionOf(workspace: Workspace, ledger: LedgerCommit): Promise<KvTransaction> {
  let reporter = REPORTERS.get(workspace);
  if (reporter === undefined) {
    reporter = new SignatureReporter(workspace.repo);
    REPORTERS.set(workspace, reporter);
  }
  const { oid, txn, seq, tree, epoch, keysSet, keysDel, commit } = ledger;
  const { name, email } = parseIdent(commit.author);
  const { seconds } = parseIdent(commit.committer);
  return {
    oid,
    txn,
    seq,
    tree,
    epoch,
    time: dateOf(seconds),
    seconds,
    author: { name, email },
    signature: await reporter.of(ledger),
    subject: commit.message.split("\n", 1)[0] ?? "",
    set: keysSet,
    del: keysDel,
  };
}

/** @internal */
export async function revisionOf(workspace: Workspace, { rev, meta, made }: Revision): Promise<KvRevision> {
  const transaction = made === undefined ? undefined : await transactionOf(workspace, made);
  return { op: meta === undefined ? "del" : "set", rev, transaction, meta };
}
