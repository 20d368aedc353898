/** The refs: each can be read, leads to an object that is here, and those of a namespace are of one transaction. */

import { KvError } from "../../errors.ts";
import { readAs } from "../../gitwire/object/object.ts";
import { listLooseRefs } from "../../gitwire/refs/loose-refs.ts";
import { isValidRefName } from "../../gitwire/refs/ref-name.ts";
import type { Ref } from "../../gitwire/refs/ref-snapshot.ts";
import type { Repository } from "../../gitwire/repo.ts";
import { parseIndexCommit, parseLedgerCommit } from "../../kv/attestation.ts";
import { classifyRef, namespaceRefs } from "../../kv/namespace.ts";
import { attempt, type Report } from "./fault.ts";

/** Checks; returns the refs that lead somewhere, as they were at one moment. */
export function checkRefs(repo: Repository, report: Report): Ref[] {
  // A list leaves out what is broken, as git's does: here that is the point.
  for (const name of listLooseRefs(repo.commonDir, "refs")) {
    if (isValidRefName(name)) attempt("refs", name, report, () => void repo.refs.readRaw(name));
  }
  let refs: Ref[] = [];
  attempt("refs", "packed-refs", report, () => {
    refs = repo.refs.snapshot();
  });
  const tips = new Map(refs.map(({ name, oid }) => [name, oid]));
  const sound = refs.filter(({ name, oid }) => {
    let isHere = false;
    attempt("refs", name, report, () => {
      isHere = repo.objects.has(oid);
      if (!isHere) throw new KvError("CORRUPT", `it points at ${oid}, which is not here`);
    });
    return isHere;
  });
  for (const { name } of sound) {
    const is = classifyRef(name);
    if (is?.kind === "ledger") attempt("refs", name, report, () => checkPair(repo, is.ns, tips));
  }
  return sound;
}

/** Throws where ledger and kv-index are not of one transaction. */
function checkPair({ objects, format }: Repository, ns: string, tips: ReadonlyMap<string, string>): void {
  const names = namespaceRefs(ns);
  const [ledgerTip, indexTip] = [tips.get(names.ledger)!, tips.get(names.index)];
  if (indexTip === undefined) throw new KvError("CORRUPT", `there is no ${names.index}`);
  const ledger = parseLedgerCommit(format, ledgerTip, readAs(objects, ledgerTip, "commit"));
  const index = parseIndexCommit(format, indexTip, readAs(objects, indexTip, "commit"));
  if (ledger.txn === index.txn && ledger.seq === index.seq) return;
  throw new KvError(
    "ATTESTATION_MISMATCH",
    `it is at transaction ${ledger.txn} (#${ledger.seq}), ${names.index} at ${index.txn} (#${index.seq})`,
  );
}
