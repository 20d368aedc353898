/**
 * The small JSON records beside values: metadata, pointer and tombstone (docs/formats/data-format.md, sections 4 and 5).
 *
 * Canonical JSON: UTF-8, no spaces, fields in the order of the format, absent fields left out, labels sorted by name,
 * no trailing newline. Writers use the functions here only, so the same record always has the same bytes.
 */

import { byteStringToUtf8 } from "../bytes.ts";
import { KvError } from "../errors.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { LIMITS } from "../limits.ts";
import { type Key, keyText } from "./key.ts";
import { isMediaType } from "./media-type.ts";

/** How a value is stored. */
export type ValueType = "inline" | "chunked";

/** A small string map of the user's. */
export type Labels = Readonly<Record<string, string>>;

/** The metadata of a live key, stored beside its value. */
export interface Metadata {
  readonly key: string;
  readonly type: ValueType;
  /** Bytes of the whole value. */
  readonly size: number;
  /** `blake3:` and 64 hex digits. */
  readonly etag: string;
  readonly ctype: string;
  /** 1 for a key never set before, else one more than the last revision. */
  readonly rev: number;
  /** The ledger commit the transaction was built on; absent in the first commit. */
  readonly base?: Oid;
  /** Unix seconds; absent = never. */
  readonly expires?: number;
  readonly labels?: Labels;
}

/** What the kv-index holds of a live key. */
export interface Pointer {
  readonly kind: "live";
  readonly key: string;
  readonly type: ValueType;
  /** The data blob, or the manifest blob of a chunked value. */
  readonly oid: Oid;
  readonly size: number;
  readonly ctype: string;
  readonly rev: number;
}

/** What the kv-index holds of a deleted key. */
export interface Tombstone {
  readonly kind: "deleted";
  readonly key: string;
  readonly rev: number;
  readonly base?: Oid;
}

const MOST_LABELS = 64;
const LABEL_NAME = 255;
const LABEL_VALUE = 1024;

/** True where `value` is a map of at most 64 strings, names 1 to 255 UTF-16 units long, values at most 1,024. */
export function isLabels(value: unknown): value is Labels {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const entries = Object.entries(value);
  if (entries.length > MOST_LABELS) return false;
  return entries.every(
    ([name, text]) =>
      name.length > 0 && name.length <= LABEL_NAME && typeof text === "string" && text.length <= LABEL_VALUE,
  );
}

/** What is written as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** A string as JSON has it; of plain text in a quarter of the time of `JSON.stringify`. */
const quote = (text: string): string => (PLAIN.test(text) ? `"${text}"` : JSON.stringify(text));

/** A key as JSON has it. Two records of a key are made one after the other. */
function quoteKey(key: Key): string {
  if (key !== lastKey) {
    lastQuoted = PLAIN.test(key) ? `"${key}"` : JSON.stringify(keyText(key));
    lastKey = key;
  }
  return lastQuoted;
}

let [lastKey, lastQuoted] = ["", '""'];

// Written by hand: JSON.stringify would put names that look like integers first.
function quoteLabels(labels: Labels): string {
  const names = Object.keys(labels).sort();
  return `{${names.map((name) => `${quote(name)}:${quote(labels[name]!)}`).join(",")}}`;
}

/** The text of a record in pieces: what records of one kind share stands apart from what is a record's own. */
export type RecordParts = readonly string[];

/** What a metadata record says besides the key; undefined is absent. */
export type MetadataFields = Omit<Metadata, "key" | "base" | "expires" | "labels"> & {
  readonly base?: Oid | undefined;
  readonly expires?: number | undefined;
  readonly labels?: Labels | undefined;
};

/** A metadata record. @internal */
export function encodeMetadata(key: Key, meta: MetadataFields): RecordParts {
  const { type, size, etag, ctype, rev, base, expires, labels } = meta;
  const digits = etag.slice(ETAG_PREFIX.length);
  let tail = `","ctype":${quote(ctype)},"rev":${rev}`;
  if (base !== undefined) tail += `,"base":"${base}"`;
  if (expires !== undefined) tail += `,"expires":${expires}`;
  if (labels !== undefined) tail += `,"labels":${quoteLabels(labels)}`;
  const middle = `,"type":"${type}","size":`;
  return ['{"v":1,"key":', quoteKey(key), middle, String(size), `,"etag":"${ETAG_PREFIX}`, digits, `${tail}}`];
}

const ETAG_PREFIX = "blake3:";

/** What an etag looks like. */
export const ETAG = /^blake3:[0-9a-f]{64}$/;

/** A pointer record. @internal */
export function encodePointer(key: Key, pointer: Omit<Pointer, "key" | "kind">): RecordParts {
  const { type, oid, size, ctype, rev } = pointer;
  const tail = `,"ctype":${quote(ctype)},"rev":${rev}}`;
  return ['{"v":1,"key":', quoteKey(key), `,"type":"${type}","oid":"`, oid, '","size":', String(size), tail];
}

/** A tombstone. @internal */
export function encodeTombstone(key: Key, rev: number, base: Oid | undefined): RecordParts {
  const tail = base === undefined ? "}" : `,"base":"${base}"}`;
  return ['{"v":1,"key":', quoteKey(key), `,"type":"deleted","rev":${rev}${tail}`];
}

/** What nearly all records look like: nothing escaped, no labels. */
interface PlainForms {
  readonly metadata: RegExp;
  readonly pointer: RegExp;
}

/** Records after which a process reads the plain ones without the general parser, which takes twice as long. */
const FEW_RECORDS = 128;
let recordsRead = 0;
let forms: PlainForms | undefined;

/** Undefined while few records have been read: compiling the expressions would take longer than they save. */
function plainForms(): PlainForms | undefined {
  if (forms === undefined && recordsRead++ >= FEW_RECORDS) forms = makeForms();
  return forms;
}

function makeForms(): PlainForms {
  const text = '"([ !#-[\\]-~]*)"';
  const count = "(0|[1-9][0-9]{0,14})";
  const [head, type] = [`\\{"v":1,"key":${text}`, '"type":"(inline|chunked)"'];
  const tail = `"ctype":${text},"rev":${count}`;
  const optional = `(?:,"base":${text})?(?:,"expires":${count})?`;
  return {
    metadata: new RegExp(`^${head},${type},"size":${count},"etag":${text},${tail}${optional}\\}$`),
    pointer: new RegExp(`^${head},${type},"oid":${text},"size":${count},${tail}\\}$`),
  };
}

type Fields = Readonly<Record<string, unknown>>;

function parseFields(data: Buffer, what: string): Fields {
  try {
    const bytes = data.latin1Slice();
    const fields: unknown = JSON.parse(byteStringToUtf8(bytes) ?? "");
    if (typeof fields === "object" && fields !== null && (fields as Fields).v === 1) return fields as Fields;
  } catch {
    // falls through to the one error below
  }
  throw new KvError("CORRUPT", `a ${what} record is not version 1 JSON`);
}

class FieldReader {
  readonly #fields: Fields;
  readonly #what: string;

  constructor(data: Buffer, what: string) {
    this.#fields = parseFields(data, what);
    this.#what = what;
  }

  string(name: string): string {
    const value = this.#fields[name];
    if (typeof value !== "string") throw this.#wrong(name);
    return value;
  }

  count(name: string): number {
    const value = this.#fields[name];
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw this.#wrong(name);
    return value as number;
  }

  optional<T>(name: string, read: (name: string) => T): T | undefined {
    return this.#fields[name] === undefined ? undefined : read.call(this, name);
  }

  type(): ValueType {
    const type = this.string("type");
    if (type !== "inline" && type !== "chunked") throw this.#wrong("type");
    return type;
  }

  labels(name: string): Labels {
    const value = this.#fields[name];
    if (!isLabels(value)) throw this.#wrong(name);
    return value;
  }

  ctype(): string {
    const ctype = this.string("ctype");
    if (!isMediaType(ctype)) throw this.#wrong("ctype");
    return ctype;
  }

  expires(name: string): number {
    const expires = this.count(name);
    if (expires > LIMITS.latestTime) throw this.#wrong(name);
    return expires;
  }

  isTombstone(): boolean {
    return this.#fields.type === "deleted";
  }

  #wrong(name: string): KvError {
    return new KvError("CORRUPT", `a ${this.#what} record has a wrong "${name}"`);
  }
}

/** Reads a metadata record. Throws CORRUPT where it is none. @internal */
export function parseMetadata(data: Buffer): Metadata {
  return plainMetadata(data) ?? parseAnyMetadata(data);
}

/** The record where it has the usual form and nothing is wrong with it; else undefined. */
function plainMetadata(data: Buffer): Metadata | undefined {
  const match = plainForms()?.metadata.exec(data.latin1Slice()) ?? undefined;
  if (match === undefined) return undefined;
  const [, key, type, size, etag, ctype, rev, base, seconds] = match as unknown as string[];
  const expires = seconds === undefined ? undefined : Number(seconds);
  if (!isMediaType(ctype!) || (expires !== undefined && expires > LIMITS.latestTime)) return undefined;
  const record: { -readonly [field in keyof Metadata]: Metadata[field] } = {
    key: key!,
    type: type as ValueType,
    size: Number(size),
    etag: etag!,
    ctype: ctype!,
    rev: Number(rev),
  };
  if (base !== undefined) record.base = base;
  if (expires !== undefined) record.expires = expires;
  return record;
}

function parseAnyMetadata(data: Buffer): Metadata {
  const fields = new FieldReader(data, "metadata");
  const base = fields.optional("base", fields.string);
  const expires = fields.optional("expires", fields.expires);
  const labels = fields.optional("labels", fields.labels);
  return {
    key: fields.string("key"),
    type: fields.type(),
    size: fields.count("size"),
    etag: fields.string("etag"),
    ctype: fields.ctype(),
    rev: fields.count("rev"),
    ...(base !== undefined && { base }),
    ...(expires !== undefined && { expires }),
    ...(labels !== undefined && { labels }),
  };
}

/** Reads what a kv-index file holds. Throws CORRUPT where it is neither pointer nor tombstone. @internal */
export function parseIndexRecord(data: Buffer): Pointer | Tombstone {
  const plain = plainForms()?.pointer.exec(data.latin1Slice()) ?? undefined;
  if (plain !== undefined) {
    const [, key, type, oid, size, ctype, rev] = plain as unknown as [string, string, ValueType, ...string[]];
    return { kind: "live", key, type, oid: oid!, size: Number(size), ctype: ctype!, rev: Number(rev) };
  }
  const fields = new FieldReader(data, "kv-index");
  const key = fields.string("key");
  const rev = fields.count("rev");
  if (fields.isTombstone()) {
    const base = fields.optional("base", fields.string);
    return { kind: "deleted", key, rev, ...(base !== undefined && { base }) };
  }
  const size = fields.count("size");
  return {
    kind: "live",
    key,
    type: fields.type(),
    oid: fields.string("oid"),
    size,
    ctype: fields.string("ctype"),
    rev,
  };
}
