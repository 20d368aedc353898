/** Whether a commit is already part of a namespace's ledger: a client whose connection broke asks by pushing again. */

import { KvError } from "../errors.ts";
import { commitLinks } from "../gitwire/object/commit.ts";
import { readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { parseIndexCommit, parseLedgerCommit } from "../kv/attestation.ts";
import { namespaceRefs } from "../kv/namespace.ts";
import type { Gate } from "./gate.ts";

/** Commits that are looked at behind the tip where the journal does not know the answer (it was made anew, say). */
const MOST_COMMITS = 10_000;

/** True where the two commits are those of a transaction that the namespace's ledger holds already. */
export function isRepeated(gate: Gate, ns: string, ledger: Oid, index: Oid): boolean {
  const { objects, format } = gate.repo;
  if (!isInLedger(gate, ns, ledger)) return false;
  const object = objects.read(index);
  if (object?.kind !== "commit") return false;
  const { txn } = parseLedgerCommit(format, ledger, readAs(objects, ledger, "commit"));
  try {
    return parseIndexCommit(format, index, object.data).txn === txn;
  } catch (error) {
    if (error instanceof KvError) return false;
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
  for (; steps > 0 && at !== undefined; steps--) at = commitLinks(format, readAs(objects, at, "commit")).parents[0];
  return at === oid;
}
