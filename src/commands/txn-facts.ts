/** What history and log say of a transaction: columns for people, fields for programs. */

import { parseIdent } from "../gitwire/object/commit.ts";
import type { LedgerCommit } from "../kv/attestation.ts";
import type { SignatureReport } from "../kv/signature-report.ts";
import { formatTime } from "../time.ts";

/** Digits of an object id that people are shown. */
export const SHORT_OID = 12;

const STATES = {
  unsigned: "unsigned",
  good: "good",
  stranger: "no writer",
  unknown: "unknown key",
  bad: "BAD",
} as const;

/** Text that would break a line or a column, or drive a terminal, with escapes. */
export function inColumn(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** How a value changed, under the line that says of which key, with an empty line behind it. */
export function patchText(patch: string): string {
  return `${patch.split("\n").map(inColumn).join("\n")}\n\n`;
}

function subjectOf({ commit }: LedgerCommit): string {
  return commit.message.split("\n", 1)[0] ?? "";
}

/** When the commit says it was made, Unix seconds. */
export function timeOf({ commit }: LedgerCommit): number {
  return parseIdent(commit.committer).seconds;
}

/** Short id, time, who, what is between (`columns`), state of the signature and subject, with tabs between. */
export function txnLine(made: LedgerCommit, signature: SignatureReport, columns: readonly (string | number)[]): string {
  const first = [made.oid.slice(0, SHORT_OID), formatTime(timeOf(made)), inColumn(whoOf(made, signature))];
  return [...first, ...columns, STATES[signature.state], inColumn(subjectOf(made))].join("\t");
}

/** The signer, and the author where that is somebody else; of a transaction that nobody is known to have signed, the author. */
function whoOf({ commit }: LedgerCommit, { signer, name }: SignatureReport): string {
  const { name: author, email } = parseIdent(commit.author);
  const full = author === "" ? `<${email}>` : `${author} <${email}>`;
  if (signer === undefined) return full;
  const known = name ?? signer;
  const isSame = [author, email, full].includes(known) || known.includes(`<${email}>`);
  return isSame ? known : `${known}, author ${full}`;
}

/** The transaction as JSON has it. */
export function txnFields(made: LedgerCommit, signature: SignatureReport): object {
  const { oid, txn, seq, tree, epoch, commit } = made;
  const { name, email } = parseIdent(commit.author);
  return {
    oid,
    txn,
    seq,
    tree,
    epoch,
    time: formatTime(timeOf(made)),
    author: { name, email },
    signature,
    subject: subjectOf(made),
  };
}
