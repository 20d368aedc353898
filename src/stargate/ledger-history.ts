/** Whether a commit is already part of a namespace's ledger: a client whose connection broke asks by pushing again. */

import { KvError } from "../errors.ts";
import { readAs } from "../gitwire/object/object.ts";
import type { ObjectFormat, Oid } from "../gitwire/object/oid.ts";
import { parseChunkCommit, parseIndexCommit, parseLedgerCommit } from "../kv/attestation.ts";
import { commitBefore } from "../kv/ledger-line.ts";
import { namespaceRefs } from "../kv/namespace.ts";
import type { Gate } from "./gate.ts";

/** Commits that are looked at behind the tip where the journal does not know the answer (it was made anew, say). */
const MOST_COMMITS = 10_000;

/** The new commits of a push; `chunks` where it adds pieces. */
export interface PushedCommits {
  readonly ledger: Oid;
  readonly index: Oid;
  readonly chunks: Oid | undefined;
}

/** True where the commits are those of a transaction that the namespace's ledger holds already. */
export function isRepeated(gate: Gate, ns: string, { ledger, index, chunks }: PushedCommits): boolean {
  const { objects, format } = gate.repo;
  if (!isInLedger(gate, ns, ledger)) return false;
  const { txn, chunksTree } = parseLedgerCommit(format, ledger, readAs(objects, ledger, "commit"));
  if ((chunks === undefined) !== (chunksTree === undefined)) return false;
  if (readCommit(gate, index, parseIndexCommit)?.txn !== txn) return false;
  if (chunks === undefined) return true;
  const commit = readCommit(gate, chunks, parseChunkCommit);
  return commit?.txn === txn && commit.tree === chunksTree;
}

/** A commit that is here and well-formed; else undefined. */
function readCommit<T>(
  { repo }: Gate,
  oid: Oid,
  parse: (format: ObjectFormat, oid: Oid, data: Buffer) => T,
): T | undefined {
  const object = repo.objects.read(oid);
  if (object?.kind !== "commit") return undefined;
  try {
    return parse(repo.format, oid, object.data);
  } catch (error) {
    if (error instanceof KvError) return undefined;
    throw error;
  }
}

/** True where `oid` is the ledger's tip or behind it. */
function isInLedger(gate: Gate, ns: string, oid: Oid): boolean {
  const { objects, refs, format } = gate.repo;
  const tip = refs.resolve(namespaceRefs(ns).ledger);
  if (tip === undefined || tip === oid) return tip === oid;
  if (gate.journal.isAccepted(ns, oid)) return true;
  const object = objects.read(oid);
  if (object?.kind !== "commit") return false;
  let steps: number;
  try {
    const tipSeq = parseLedgerCommit(format, tip, readAs(objects, tip, "commit")).seq;
    steps = tipSeq - parseLedgerCommit(format, oid, object.data).seq;
  } catch (error) {
    if (error instanceof KvError) return false;
    throw error;
  }
  if (steps > MOST_COMMITS) return false;
  let at: Oid | undefined = tip;
  for (; steps > 0 && at !== undefined; steps--) at = commitBefore(format, at, readAs(objects, at, "commit")).oid;
  return at === oid;
}
