/**
 * What the status page shows of the store: a level of the key space, and the revisions of one key. Values are not shown. Reading
 * costs what is shown, not what is stored.
 */

import { utf8ToByteString } from "../../bytes.ts";
import { parseIdent } from "../../gitwire/object/commit.ts";
import { type ObjectSource, readAs } from "../../gitwire/object/object.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import { type LedgerCommit, parseLedgerCommit } from "../../kv/attestation.ts";
import { findInIndex, listIndex } from "../../kv/index-list.ts";
import { type Key, keyDigits, keyName, keyText, parseKey } from "../../kv/key.ts";
import { findInTrie, trieFileName } from "../../kv/ledger-trie.ts";
import { type Metadata, parseIndexRecord, parseMetadata } from "../../kv/record.ts";
import { type NamespaceState, stateAt } from "../../kv/state.ts";

/** Rows of one answer. */
const MOST_ROWS = 200;
/** Keys that are passed over to fill it: deleted ones, mostly. */
const MOST_STEPS = 20_000;
const MOST_REVISIONS = 50;
/** Commits that are read to find the transactions of the revisions. */
const MOST_COMMITS = 2_000;
/** What ends a level of the key space. */
const DELIMITERS = /[:/]/g;

/** One row of a level: a key, or all keys that begin with a prefix. */
export type BrowseRow =
  | { readonly kind: "prefix"; readonly prefix: string }
  | { readonly kind: "key"; readonly key: string; readonly expires?: number };

export interface BrowsePage {
  readonly rows: readonly BrowseRow[];
  /** Where the next page begins: to be given back as it is; absent where this is the last. */
  readonly after?: string;
}

/** The keys of `state` that begin with `prefix`, those with a further `:` or `/` gathered up to it. */
export function browse(objects: ObjectSource, state: NamespaceState, prefix: string, after: string): BrowsePage {
  const start = utf8ToByteString(prefix);
  const rows: BrowseRow[] = [];
  const { indexTree } = state.ledger;
  let last = Buffer.from(after, "base64url").toString("latin1");
  for (let steps = 0; ; ) {
    let jumped = false;
    for (const { key, state: found } of listIndex(objects, indexTree, { prefix: start, after: last })) {
      if (rows.length === MOST_ROWS || steps++ === MOST_STEPS) return { rows, after: cursor(last) };
      last = key;
      if (found.kind === "deleted") continue;
      const group = groupOf(key, start.length);
      if (group === undefined) {
        rows.push({ kind: "key", key: keyText(key), ...(found.expires !== undefined && { expires: found.expires }) });
        continue;
      }
      rows.push({ kind: "prefix", prefix: keyText(group) });
      // No key holds this byte, so what comes next is the first key behind the group.
      last = `${group}\xff`;
      jumped = true;
      break;
    }
    if (!jumped) return { rows };
  }
}

/** It may stand between two keys, so it is no text. */
function cursor(last: string): string {
  return Buffer.from(last, "latin1").toString("base64url");
}

function groupOf(key: Key, from: number): string | undefined {
  DELIMITERS.lastIndex = from;
  const found = DELIMITERS.exec(key);
  return found === null || found.index === key.length - 1 ? undefined : key.slice(0, found.index + 1);
}

/** One revision of a key. */
export interface Revision {
  readonly kind: "set" | "deleted";
  readonly rev: number;
  readonly seq: number;
  /** Unix seconds, author and subject of its transaction; absent where that is too far back to look for. */
  readonly at?: number;
  readonly author?: string;
  readonly subject?: string;
  readonly txn?: string;
  readonly oid?: Oid;
  readonly size?: number;
  readonly ctype?: string;
  readonly type?: string;
  readonly etag?: string;
  readonly expires?: number;
}

/** The newest revisions of `text`, newest first. Throws KEY_INVALID. */
export function revisionsOf(objects: ObjectSource, tip: NamespaceState, text: string): Revision[] {
  const key = parseKey(text);
  const revisions: Revision[] = [];
  const budget = { commits: MOST_COMMITS };
  for (let state: NamespaceState | undefined = tip; state !== undefined && revisions.length < MOST_REVISIONS; ) {
    const found = recordAt(objects, state, key);
    if (found === undefined) break;
    const { base, revision } = found;
    const made = transactionOn(objects, state.ledger, base, budget);
    const before: NamespaceState | undefined = base === undefined ? undefined : stateAt(objects, base);
    revisions.push({ ...revision, seq: (before?.ledger.seq ?? 0) + 1, ...(made !== undefined && describe(made)) });
    state = before;
  }
  return revisions;
}

type Found = { readonly base: Oid | undefined; readonly revision: Omit<Revision, "seq"> };

function recordAt(objects: ObjectSource, state: NamespaceState, key: Key): Found | undefined {
  const file = findInIndex(objects, state.ledger.indexTree, key);
  if (file === undefined) return undefined;
  if (file.state.kind === "deleted") {
    const record = parseIndexRecord(readAs(objects, file.oid, "blob"));
    return { base: "base" in record ? record.base : undefined, revision: { kind: "deleted", rev: record.rev } };
  }
  const digits = keyDigits(key);
  const name = trieFileName("meta", keyName(key, digits));
  const meta = state.meta === undefined ? undefined : findInTrie(objects, state.meta, digits, [name]);
  if (meta === undefined) return undefined;
  return fromMetadata(parseMetadata(readAs(objects, meta.oid, "blob")));
}

function fromMetadata({ rev, base, size, ctype, type, etag, expires }: Metadata): Found {
  return {
    base,
    revision: { kind: "set", rev, size, ctype, type, etag, ...(expires !== undefined && { expires }) },
  };
}

/** The transaction at or behind `from` that was built on `base`, where it is near enough. */
function transactionOn(
  objects: ObjectSource,
  from: LedgerCommit,
  base: Oid | undefined,
  budget: { commits: number },
): LedgerCommit | undefined {
  for (let at = from; ; ) {
    if (at.parent === base) return at;
    if (at.parent === undefined || budget.commits-- <= 0) return undefined;
    at = parseLedgerCommit(objects.format, at.parent, readAs(objects, at.parent, "commit"));
  }
}

function describe({ oid, txn, commit }: LedgerCommit): Pick<Revision, "at" | "author" | "subject" | "txn" | "oid"> {
  const { name, email, seconds } = parseIdent(commit.author);
  return { oid, txn, at: seconds, author: `${name} <${email}>`, subject: commit.message.split("\n", 1)[0] ?? "" };
}
