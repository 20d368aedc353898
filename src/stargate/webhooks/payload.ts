/** What a webhook is told: the transactions of one namespace that it has not been told of (docs/stargate.md, "Webhooks"). */

import type { ObjectSource } from "../../gitwire/object/object.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import { namespaceRefs } from "../../kv/namespace.ts";
import type { JournalEntry } from "../journal.ts";
import { changedPrefixes } from "./changed-prefixes.ts";

export interface ToldTransaction {
  readonly seq: number;
  readonly txn: string;
  readonly oid: Oid;
  readonly who: string;
  readonly signer: string | null;
  /** RFC 3339. */
  readonly accepted_at: string;
  readonly keys_set: number;
  readonly keys_del: number;
  /** null where there are too many to say. */
  readonly prefixes: readonly string[] | null;
}

export interface Payload {
  readonly v: 1;
  readonly type: "kv.transactions";
  readonly repo: string;
  readonly ns: string;
  readonly from_seq: number;
  readonly seq: number;
  readonly oid: Oid;
  /** Of all transactions together. */
  readonly prefixes: readonly string[] | null;
  readonly transactions: readonly ToldTransaction[];
}

/** The payload of `entries` (at least one), which follow each other in one namespace. */
export function payloadOf(objects: ObjectSource, repo: string, entries: readonly JournalEntry[]): Payload {
  const transactions = entries.map((entry) => told(objects, entry));
  const [first, last] = [transactions[0]!, transactions.at(-1)!];
  const all = transactions.flatMap(({ prefixes }) => prefixes ?? []);
  return {
    v: 1,
    type: "kv.transactions",
    repo,
    ns: entries[0]!.ns,
    from_seq: first.seq,
    seq: last.seq,
    oid: last.oid,
    prefixes: transactions.some(({ prefixes }) => prefixes === null) ? null : [...new Set(all)].sort(),
    transactions,
  };
}

/** The name of a delivery: the same each time it is tried. */
export function deliveryId({ repo, ns, from_seq, seq, oid }: Payload): string {
  return `${repo.replaceAll(/[^A-Za-z0-9-]/g, "-")}_${ns}_${from_seq}-${seq}_${oid.slice(0, 12)}`;
}

function told(objects: ObjectSource, entry: JournalEntry): ToldTransaction {
  const { ns, seq, txn, oid, who, signer, acceptedAt, keysSet, keysDel } = entry;
  const { oldOid } = entry.updates.find(({ ref }) => ref === namespaceRefs(ns).ledger)!;
  const before = /^0+$/.test(oldOid) ? undefined : oldOid;
  return {
    seq,
    txn,
    oid,
    who,
    signer: signer ?? null,
    accepted_at: new Date(acceptedAt).toISOString(),
    keys_set: keysSet,
    keys_del: keysDel,
    prefixes: changedPrefixes(objects, before, oid) ?? null,
  };
}
