/** The audit trail of a repository, read from its journal: what was accepted and what was refused, newest first. */

import type { RefSource } from "../kv/state.ts";
import { formatTime } from "../time.ts";
import type { Journal, JournalEntry, JournalUpdate, Rejection, RowFilter } from "./journal.ts";

/** One line of the trail, as `log --json` prints it. Times are RFC 3339. */
export type AuditRecord =
  | {
      /** `unfinished`: written down, and then the process died; the next start finishes or drops it. `noted`: no ref of ours moved. */
      readonly result: "accepted" | "unfinished" | "noted";
      readonly time: string;
      readonly kind: JournalEntry["kind"];
      readonly ns: string;
      readonly seq: number;
      readonly txn: string;
      readonly oid: string;
      readonly who: string;
      /** null: not known, or done by the Stargate itself. */
      readonly door: string | null;
      readonly signer: string | null;
      readonly keysSet: number;
      readonly keysDel: number;
      /** null: not yet, or there is no mirror. */
      readonly mirrored: string | null;
      /** The refs that moved, where they do not follow from the kind. */
      readonly refs?: readonly JournalUpdate[];
    }
  | {
      readonly result: "rejected";
      readonly time: string;
      readonly ns: string;
      readonly code: string;
      readonly message: string;
      readonly who: string;
      readonly door: string | null;
    };

/** What a row says that no ref of ours moved by. */
const NOTES: Partial<Record<JournalEntry["kind"], string>> = {
  restore: "restored from a backup",
  foreign: "the mirror had what is not here",
  fork: "writes go on beside what the mirror has",
  force: "what the mirror had is overwritten",
};

/** The trail. `refs` tell whether the newest rows, which are not marked yet, have happened. */
export function auditLog(
  journal: Journal,
  refs: RefSource,
  filter: RowFilter & { readonly rejectedOnly: boolean },
): AuditRecord[] {
  const accepted = filter.rejectedOnly ? [] : journal.accepted(filter);
  const rejected = journal.rejections(filter);
  const records: AuditRecord[] = [];
  // Each list keeps its own order: the clock may have been set back between two rows.
  for (let a = 0, r = 0; records.length < filter.limit && (a < accepted.length || r < rejected.length); ) {
    const [entry, refusal] = [accepted[a], rejected[r]];
    if (entry !== undefined && (refusal === undefined || entry.acceptedAt >= refusal.at)) {
      records.push(acceptedRecord(entry, hasHappened(entry, accepted.slice(0, a), refs)));
      a++;
    } else {
      records.push(rejectedRecord(refusal!));
      r++;
    }
  }
  return records;
}

/** Marks are written with the next row; until then the refs tell, or a newer row built on this one. */
function hasHappened(entry: JournalEntry, newer: readonly JournalEntry[], refs: RefSource): boolean {
  if (entry.done || entry.updates.every(({ ref, newOid }) => refs.resolve(ref) === newOid)) return true;
  return newer.some(({ kind, ns }) => kind === entry.kind && ns === entry.ns);
}

function acceptedRecord(entry: JournalEntry, happened: boolean): AuditRecord {
  const { kind, ns, seq, txn, oid, who, door, signer, keysSet, keysDel, acceptedAt, mirroredAt } = entry;
  return {
    result: NOTES[kind] !== undefined ? "noted" : happened ? "accepted" : "unfinished",
    time: time(acceptedAt),
    kind,
    ns,
    seq,
    txn,
    oid,
    who,
    door: door ?? null,
    signer: signer ?? null,
    keysSet,
    keysDel,
    mirrored: mirroredAt === undefined ? null : time(mirroredAt),
    ...(kind !== "txn" && kind !== "policy" && { refs: entry.updates }),
  };
}

function rejectedRecord({ at, ns, code, message, who, door }: Rejection): AuditRecord {
  return { result: "rejected", time: time(at), ns, code, message, who, door: door ?? null };
}

function time(ms: number): string {
  return ms % 1000 === 0 ? formatTime(ms / 1000) : new Date(ms).toISOString();
}

/** The record as a line for people. */
export function describeRecord(record: AuditRecord): string {
  const { result, who, door, ns } = record;
  const by = door === null ? who : `${who} (${door})`;
  const head = `${record.time}\t${result}\t${ns === "" ? "-" : ns}`;
  if (record.result === "rejected") return `${head}\t${by}\t${record.code}: ${record.message}`;
  const { kind, seq, keysSet, keysDel, oid, signer } = record;
  const signed = signer === null ? "" : `\t${signer}`;
  if (kind === "policy") return `${head}\t${by}\tpolicy ${oid}${signed}`;
  const note = NOTES[kind];
  if (note !== undefined) return `${head}\t${by}\t${[note, ...(record.refs ?? []).map(describeChange)].join(", ")}`;
  if (kind !== "txn") return `${head}\t${by}\t${(record.refs ?? []).map(describeUpdate).join(", ")}${signed}`;
  return `${head}\t${by}\t#${seq} ${keysSet} set, ${keysDel} del\t${oid}${signed}`;
}

function describeChange({ ref, oldOid, newOid }: JournalUpdate): string {
  return `${ref} ${oldOid} -> ${newOid}`;
}

function describeUpdate({ ref, oldOid, newOid }: JournalUpdate): string {
  if (/^0+$/.test(newOid)) return `${ref} deleted (was ${oldOid})`;
  return `${ref} ${newOid}`;
}
