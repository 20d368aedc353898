/**
 * Commit objects and the idents in them (git: gitformat "commit").
 *
 *   commit = "tree" SP oid LF *("parent" SP oid LF) "author" SP ident LF "committer" SP ident LF *header LF message
 *   header = name SP value LF, further lines of a value begin with one space (gpgsig, mergetag, encoding, ...)
 *   ident  = name SP "<" email ">" SP seconds SP ("+" / "-") hhmm
 *
 * The parser keeps every header in order, so that what it read can be judged and written again byte for byte.
 */

import { KvError } from "../../errors.ts";
import type { ObjectFormat, Oid } from "./oid.ts";
import { isOid } from "./oid.ts";

/** Who and when. */
export interface Ident {
  readonly name: string;
  readonly email: string;
  /** Seconds since 1970-01-01T00:00:00Z. */
  readonly seconds: number;
  /** Minutes east of UTC. */
  readonly offset: number;
}

/** One header line; a value of several lines has "\n" between them, the folding spaces removed. */
export interface CommitHeader {
  readonly name: string;
  readonly value: string;
}

/** A parsed commit. Text is UTF-8 with undecodable bytes replaced; `data` stays the truth. */
export interface Commit {
  readonly tree: Oid;
  readonly parents: readonly Oid[];
  readonly author: string;
  readonly committer: string;
  /** All headers in order, the four above included. */
  readonly headers: readonly CommitHeader[];
  readonly message: string;
}

/** What {@link encodeCommit} needs. */
export interface NewCommit {
  readonly tree: Oid;
  readonly parents: readonly Oid[];
  readonly author: Ident;
  readonly committer: Ident;
  /** Ends with a newline. */
  readonly message: string;
}

/** `name <email> seconds zone` as git writes it: characters that would break the line are dropped, as git does. */
export function formatIdent(ident: Ident): string {
  const sign = ident.offset < 0 ? "-" : "+";
  const minutes = Math.abs(Math.trunc(ident.offset));
  const zone = `${sign}${pad2(Math.floor(minutes / 60))}${pad2(minutes % 60)}`;
  return `${crudFree(ident.name)} <${crudFree(ident.email)}> ${Math.floor(ident.seconds)} ${zone}`;
}

const pad2 = (n: number): string => String(n).padStart(2, "0");

// git's ident.c: <, >, newline and NUL vanish everywhere; "crud" (spaces, punctuation) is trimmed at both ends.
function crudFree(text: string): string {
  return text.replace(/[<>\n\0]/g, "").replace(/^[\x00-\x20.,:;"\\']+|[\x00-\x20.,:;"\\']+$/g, "");
}

/** What follows the email of an ident: a number of seconds that fsck.ts lets pass, whoever made the commit. */
const WHEN = /^ (\d{1,18}) ([+-])(\d\d)(\d\d)$/;

/** The one that was read last: author and committer are the same, mostly. */
let lastIdent: { readonly text: string; readonly ident: Ident } | undefined;

/** The ident of an author or committer line. Throws BAD_OBJECT where it is malformed. */
export function parseIdent(text: string): Ident {
  if (lastIdent?.text === text) return lastIdent.ident;
  const open = text.indexOf("<");
  const close = text.indexOf(">");
  const when = open < 0 ? null : WHEN.exec(text.slice(close + 1));
  const email = text.slice(open + 1, close);
  if (when === null || close < open || email.includes("<") || text.includes("\n"))
    throw new KvError("BAD_OBJECT", "malformed commit: an ident is not 'name <email> time zone'");
  const name = text.slice(0, text[open - 1] === " " ? open - 1 : open);
  const offset = Number(when[3]) * 60 + Number(when[4]);
  const ident = { name, email, seconds: Number(when[1]), offset: when[2] === "-" && offset !== 0 ? -offset : offset };
  lastIdent = { text, ident };
  return ident;
}

/** The bytes of a commit without a signature. */
export function encodeCommit(commit: NewCommit): Buffer {
  const parents = commit.parents.map((oid) => `parent ${oid}\n`).join("");
  return Buffer.from(
    `tree ${commit.tree}\n${parents}author ${formatIdent(commit.author)}\ncommitter ${formatIdent(commit.committer)}\n\n${commit.message}`,
  );
}

/** Parses a commit. Throws BAD_OBJECT where the order of the first headers or an object id is wrong. */
export function parseCommit(format: ObjectFormat, data: Buffer): Commit {
  const end = data.indexOf("\n\n");
  const text = data.utf8Slice(0, end < 0 ? data.length : end);
  const headers = parseHeaders(text);
  const parents: Oid[] = [];
  let at = 0;
  const take = (name: string): string => {
    const header = headers[at];
    if (header?.name !== name) throw new KvError("BAD_OBJECT", `malformed commit: no ${name} line where it belongs`);
    at++;
    return header.value;
  };
  const takeOid = (name: string): Oid => {
    const oid = take(name);
    if (!isOid(format, oid)) throw new KvError("BAD_OBJECT", `malformed commit: bad ${name} id`);
    return oid;
  };
  const tree = takeOid("tree");
  while (headers[at]?.name === "parent") parents.push(takeOid("parent"));
  const author = take("author");
  const committer = take("committer");
  return { tree, parents, author, committer, headers, message: end < 0 ? "" : data.utf8Slice(end + 2) };
}

function parseHeaders(text: string): CommitHeader[] {
  if (text.startsWith(" ")) throw new KvError("BAD_OBJECT", "malformed commit: it begins with a folded line");
  const headers: CommitHeader[] = [];
  for (let from = 0; from <= text.length; ) {
    const firstEnd = lineEnd(text, from);
    let end = firstEnd;
    while (text[end + 1] === " ") end = lineEnd(text, end + 1);
    const space = text.indexOf(" ", from);
    const hasSpace = space >= 0 && space < firstEnd;
    const value = text.slice(hasSpace ? space + 1 : firstEnd, end);
    headers.push({
      name: text.slice(from, hasSpace ? space : firstEnd),
      value: end === firstEnd ? value : value.replaceAll("\n ", "\n"),
    });
    from = end + 1;
  }
  return headers;
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
}

/** Tree and parents only, for walks over many commits. Throws as {@link parseCommit}. */
export function commitLinks(
  format: ObjectFormat,
  data: Buffer,
): { readonly tree: Oid; readonly parents: readonly Oid[] } {
  const size = format.hexSize;
  // Slicing past the end throws, unlike a subarray: the commit may be cut short anywhere.
  const textAt = (at: number, length: number): string => data.subarray(at, at + length).latin1Slice();
  const oidAt = (label: string, at: number): Oid => {
    const oid = textAt(at + label.length, size);
    if (!isOid(format, oid) || data[at + label.length + size] !== 0x0a) {
      throw new KvError("BAD_OBJECT", `malformed commit: bad ${label.trim()} id`);
    }
    return oid;
  };
  if (textAt(0, 5) !== "tree ") throw new KvError("BAD_OBJECT", "malformed commit: no tree line where it belongs");
  const tree = oidAt("tree ", 0);
  const parents: Oid[] = [];
  let at = 5 + size + 1;
  while (textAt(at, 7) === "parent ") {
    parents.push(oidAt("parent ", at));
    at += 7 + size + 1;
  }
  return { tree, parents };
}
