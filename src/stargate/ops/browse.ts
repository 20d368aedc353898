/**
 * What the status page shows of the store: a level of the key space, and the revisions of one key. Values are not shown. Reading
 * costs what is shown, not what is stored.
 */

import { utf8ToByteString } from "../../bytes.ts";
import { parseIdent } from "../../gitwire/object/commit.ts";
import type { ObjectSource } from "../../gitwire/object/object.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import type { Repository } from "../../gitwire/repo.ts";
import type { LedgerCommit } from "../../kv/attestation.ts";
import { revisionsOf } from "../../kv/history.ts";
import { listIndex } from "../../kv/index-list.ts";
import { type Key, keyText, parseKey } from "../../kv/key.ts";
import { LedgerLookup, tableFile } from "../../kv/ledger-lookup.ts";
import type { Metadata } from "../../kv/record.ts";
import type { NamespaceState } from "../../kv/state.ts";

/** Rows of one answer. */
const MOST_ROWS = 200;
/** Keys that are passed over to fill it: deleted ones, mostly. */
const MOST_STEPS = 20_000;
const MOST_REVISIONS = 50;
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
export interface RevisionRow {
  readonly kind: "set" | "deleted";
  readonly rev: number;
  /** Of its transaction; absent where that is not here. */
  readonly seq?: number;
  /** Unix seconds. */
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
export async function revisions(repo: Repository, tip: NamespaceState, text: string): Promise<RevisionRow[]> {
  const key = parseKey(text);
  const rows: RevisionRow[] = [];
  const lookup = await LedgerLookup.open({ objects: repo.objects, file: tableFile(repo, tip.ns) }, tip.ledger);
  try {
    for await (const { rev, meta, made } of revisionsOf(repo.objects, tip, key, lookup)) {
      const row = meta === undefined ? ({ kind: "deleted", rev } as const) : { ...fromMetadata(meta), rev };
      rows.push({ ...row, ...(made !== undefined && describe(made)) });
      if (rows.length === MOST_REVISIONS) break;
    }
  } finally {
    lookup.close();
  }
  return rows;
}

function fromMetadata({ size, ctype, type, etag, expires }: Metadata): Omit<RevisionRow, "rev"> {
  return { kind: "set", size, ctype, type, etag, ...(expires !== undefined && { expires }) };
}

function describe({ oid, txn, seq, commit }: LedgerCommit): Omit<RevisionRow, "kind" | "rev"> {
  const { name, email, seconds } = parseIdent(commit.author);
  const subject = commit.message.split("\n", 1)[0] ?? "";
  return { oid, txn, seq, at: seconds, author: `${name} <${email}>`, subject };
}
