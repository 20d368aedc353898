/**
 * The commits of a transaction and what their trailers say (docs/formats/data-format.md, section 7).
 *
 * Reading is strict: exactly the headers git-kv writes, exactly the trailers of the kind of commit, in order, each once, and
 * no other line that begins with `KV-`. What a person reads in a ledger commit is therefore what a program judges.
 */

import { type Code, KvError } from "../errors.ts";
import { type Commit, parseCommit } from "../gitwire/object/commit.ts";
import { isOid, type ObjectFormat, type Oid } from "../gitwire/object/oid.ts";
import { formatTrailers, parseTrailers, type Trailer, wordTrailers } from "../gitwire/object/trailers.ts";
import { isUlid } from "./ulid.ts";

/** What a ledger commit attests. */
export interface LedgerTrailers {
  readonly ns: string;
  readonly txn: string;
  /** Parent's + 1; 1 in the first commit of the namespace. */
  readonly seq: number;
  readonly baseTree: Oid | undefined;
  readonly indexTree: Oid;
  readonly chunksTree: Oid | undefined;
  /** Commit at refs/kv-policy the transaction was made under; undefined where there is no policy. */
  readonly policy: Oid | undefined;
  readonly epoch: string;
  readonly keysSet: number;
  readonly keysDel: number;
  readonly parentEpoch?: { readonly label: string; readonly ledger: Oid };
}

/** What a kv-index commit attests. */
export interface IndexTrailers {
  readonly ns: string;
  readonly txn: string;
  readonly seq: number;
  readonly ledgerTree: Oid;
}

/** What a chunk commit attests. */
export interface ChunkTrailers {
  readonly ns: string;
  readonly txn: string;
  readonly epoch: string;
}

/** A ledger commit, read and found well-formed. */
export interface LedgerCommit extends LedgerTrailers {
  readonly oid: Oid;
  readonly tree: Oid;
  readonly parent: Oid | undefined;
  readonly commit: Commit;
}

/** A kv-index commit, read and found well-formed. */
export interface IndexCommit extends IndexTrailers {
  readonly oid: Oid;
  readonly tree: Oid;
  readonly parent: Oid | undefined;
}

/** A chunk commit, read and found well-formed. */
export interface ChunkCommit extends ChunkTrailers {
  readonly oid: Oid;
  readonly tree: Oid;
  readonly parent: Oid | undefined;
}

const orDash = (oid: Oid | undefined): string => oid ?? "-";

/** The trailer block of a ledger commit. */
export function formatLedgerTrailers(t: LedgerTrailers): string {
  const trailers: Trailer[] = [
    { key: "KV-NS", value: t.ns },
    { key: "KV-Txn", value: t.txn },
    { key: "KV-Seq", value: String(t.seq) },
    { key: "Base-Tree", value: orDash(t.baseTree) },
    { key: "KV-Index-Tree", value: t.indexTree },
    { key: "KV-Chunks-Tree", value: orDash(t.chunksTree) },
    { key: "KV-Policy", value: orDash(t.policy) },
    { key: "Epoch", value: t.epoch },
    { key: "Keys-Set", value: String(t.keysSet) },
    { key: "Keys-Del", value: String(t.keysDel) },
  ];
  if (t.parentEpoch !== undefined) {
    trailers.push({ key: "Parent-Epoch", value: `${t.parentEpoch.label} ${t.parentEpoch.ledger}` });
  }
  return formatTrailers(trailers);
}

/** The trailer block of a kv-index commit. */
export function formatIndexTrailers(t: IndexTrailers): string {
  return formatTrailers([
    { key: "KV-NS", value: t.ns },
    { key: "KV-Txn", value: t.txn },
    { key: "KV-Seq", value: String(t.seq) },
    { key: "KV-Ledger-Tree", value: t.ledgerTree },
  ]);
}

/** The trailer block of a chunk commit. */
export function formatChunkTrailers(t: ChunkTrailers): string {
  return formatTrailers([
    { key: "KV-NS", value: t.ns },
    { key: "KV-Txn", value: t.txn },
    { key: "Epoch", value: t.epoch },
  ]);
}

/**
 * A line that only a trailer block of ours may hold; git matches trailer keys whatever their case. Lines end where git ends
 * them: a key, and with it a subject, may hold U+2028.
 */
const RESERVED_LINE = /(?:^|[\r\n])[ \t]*(?:kv-[a-z0-9-]*|base-tree|epoch|parent-epoch|keys-set|keys-del)[ \t]*:/i;

/** A line that begins as one of those, for a look that costs less: the expression above takes longest to compile. */
const LIKE_RESERVED = /(?:^|[\r\n])[ \t]*[bekp]/i;

/** Whether `text` has a line that only a trailer block of ours may hold. */
export function hasReservedLine(text: string): boolean {
  return LIKE_RESERVED.test(text) && RESERVED_LINE.test(text);
}

/** What the subject of a kv-index commit begins with; git takes no trailer from a subject. */
export const INDEX_SUBJECT = "kv-index: ";

/** What the subject of a chunk commit begins with. */
export const CHUNK_SUBJECT = "kv-chunks: ";

const LEDGER_KEYS = [
  "KV-NS",
  "KV-Txn",
  "KV-Seq",
  "Base-Tree",
  "KV-Index-Tree",
  "KV-Chunks-Tree",
  "KV-Policy",
  "Epoch",
  "Keys-Set",
  "Keys-Del",
];
const INDEX_KEYS = ["KV-NS", "KV-Txn", "KV-Seq", "KV-Ledger-Tree"];
const CHUNK_KEYS = ["KV-NS", "KV-Txn", "Epoch"];
const SUBJECTS: ReadonlyMap<readonly string[], string> = new Map([
  [INDEX_KEYS, INDEX_SUBJECT],
  [CHUNK_KEYS, CHUNK_SUBJECT],
]);
const COUNT = /^(?:0|[1-9]\d{0,14})$/;

/** What is wrong with what stands before a trailer block, which begins with `subject`; undefined where nothing is. */
function textFault(text: string, subject: string): string | undefined {
  // git ends a message at a NUL and takes a first paragraph that is blank for none: people would not see the trailers.
  if (text.startsWith("\n") || text.includes("\0")) return "has no subject, or a NUL byte in its message";
  const rest = text.startsWith(subject) ? text.slice(subject.length) : text;
  return hasReservedLine(rest) ? "has a trailer outside its trailer block" : undefined;
}

/** Reads one commit's trailers by name, judging as it goes. */
class TrailerReader {
  readonly #what: string;
  readonly #format: ObjectFormat;
  readonly #values: ReadonlyMap<string, string>;

  constructor(what: string, format: ObjectFormat, commit: Commit, keys: readonly string[], optional?: string) {
    this.#what = what;
    this.#format = format;
    const { text, values } = wordTrailers(commit.message, keys) ?? this.#anyTrailers(commit.message, keys, optional);
    const fault = textFault(text, SUBJECTS.get(keys) ?? "");
    if (fault !== undefined) throw this.#mismatch(fault);
    this.#values = values;
  }

  /** The trailers of a message where they are not all words, or not what they should be. */
  #anyTrailers(
    message: string,
    keys: readonly string[],
    optional: string | undefined,
  ): { readonly text: string; readonly values: Map<string, string> } {
    const found = parseTrailers(message);
    const values = new Map<string, string>();
    let present = "";
    let isOurs = false;
    for (const { key, value } of found?.trailers ?? []) {
      isOurs ||= key.startsWith("KV-");
      present += present === "" ? key : ` ${key}`;
      values.set(key, value);
    }
    if (found === undefined || !isOurs) {
      throw new KvError("ATTESTATION_MISSING", `the ${this.#what} commit has no trailer block`);
    }
    const expected = keys.join(" ");
    if (present !== expected && (optional === undefined || present !== `${expected} ${optional}`)) {
      const fault = textFault(found.text, SUBJECTS.get(keys) ?? "");
      throw this.#mismatch(fault ?? `has the trailers '${present}', not '${expected}'`);
    }
    return { text: found.text, values };
  }

  text(key: string): string {
    return this.#values.get(key)!;
  }

  optional(key: string): string | undefined {
    return this.#values.get(key);
  }

  count(key: string): number {
    const text = this.text(key);
    return COUNT.test(text) ? Number(text) : this.#wrong(key);
  }

  oid(key: string): Oid {
    const text = this.text(key);
    return isOid(this.#format, text) ? text : this.#wrong(key);
  }

  oidOrDash(key: string): Oid | undefined {
    const text = this.text(key);
    return text === "-" ? undefined : isOid(this.#format, text) ? text : this.#wrong(key);
  }

  txn(): string {
    const text = this.text("KV-Txn");
    return isUlid(text) ? text : this.#wrong("KV-Txn");
  }

  #wrong(key: string): never {
    throw this.#mismatch(`has a malformed ${key}`);
  }

  #mismatch(text: string): KvError {
    return new KvError("ATTESTATION_MISMATCH", `the ${this.#what} commit ${text}`);
  }
}

/** Demands the headers git-kv writes and no others. Throws NOT_LINEAR for a second parent, else ATTESTATION_MISMATCH. */
function checkHeaders(what: string, format: ObjectFormat, commit: Commit, signed: boolean): void {
  const fail = (code: Code, text: string): never => {
    throw new KvError(code, `the ${what} commit ${text}`);
  };
  if (commit.parents.length > 1) fail("NOT_LINEAR", "has more than one parent");
  const signature = format.name === "sha1" ? "gpgsig" : "gpgsig-sha256";
  const expected = commit.parents.length === 0 ? "tree author committer" : "tree parent author committer";
  let names = "";
  let folded: string | undefined;
  let hasNul = false;
  for (const { name, value } of commit.headers) {
    names += names === "" ? name : ` ${name}`;
    // git reads a line that begins with a space as part of the header before it, and then ignores it.
    if (name !== signature && value.includes("\n")) folded ??= name;
    hasNul ||= value.includes("\0");
  }
  if (names !== expected && !(signed && names === `${expected} ${signature}`))
    fail("ATTESTATION_MISMATCH", `has the headers '${names}'`);
  if (folded !== undefined) fail("ATTESTATION_MISMATCH", `has a '${folded}' header of several lines`);
  if (hasNul) fail("ATTESTATION_MISMATCH", "has a NUL byte in its headers");
}

/** Reads a ledger commit. Throws ATTESTATION_MISSING, ATTESTATION_MISMATCH, NOT_LINEAR or BAD_OBJECT. */
export function parseLedgerCommit(format: ObjectFormat, oid: Oid, data: Buffer): LedgerCommit {
  const commit = parseCommit(format, data);
  checkHeaders("ledger", format, commit, true);
  const read = new TrailerReader("ledger", format, commit, LEDGER_KEYS, "Parent-Epoch");
  const parentEpoch = parseParentEpoch(format, read.optional("Parent-Epoch"));
  return {
    oid,
    tree: commit.tree,
    parent: commit.parents[0],
    commit,
    ns: read.text("KV-NS"),
    txn: read.txn(),
    seq: read.count("KV-Seq"),
    baseTree: read.oidOrDash("Base-Tree"),
    indexTree: read.oid("KV-Index-Tree"),
    chunksTree: read.oidOrDash("KV-Chunks-Tree"),
    policy: read.oidOrDash("KV-Policy"),
    epoch: read.text("Epoch"),
    keysSet: read.count("Keys-Set"),
    keysDel: read.count("Keys-Del"),
    ...(parentEpoch !== undefined && { parentEpoch }),
  };
}

function parseParentEpoch(format: ObjectFormat, value: string | undefined): LedgerTrailers["parentEpoch"] {
  if (value === undefined) return undefined;
  const [label, ledger, ...more] = value.split(" ");
  if (label === undefined || ledger === undefined || more.length > 0 || !isOid(format, ledger)) {
    throw new KvError("ATTESTATION_MISMATCH", "the ledger commit has a malformed Parent-Epoch");
  }
  return { label, ledger };
}

/** Reads a kv-index commit. Throws as {@link parseLedgerCommit}. */
export function parseIndexCommit(format: ObjectFormat, oid: Oid, data: Buffer): IndexCommit {
  const commit = parseCommit(format, data);
  checkHeaders("kv-index", format, commit, false);
  const read = new TrailerReader("kv-index", format, commit, INDEX_KEYS);
  return {
    oid,
    tree: commit.tree,
    parent: commit.parents[0],
    ns: read.text("KV-NS"),
    txn: read.txn(),
    seq: read.count("KV-Seq"),
    ledgerTree: read.oid("KV-Ledger-Tree"),
  };
}

/** Reads a chunk commit. Throws as {@link parseLedgerCommit}. */
export function parseChunkCommit(format: ObjectFormat, oid: Oid, data: Buffer): ChunkCommit {
  const commit = parseCommit(format, data);
  checkHeaders("chunk", format, commit, false);
  const read = new TrailerReader("chunk", format, commit, CHUNK_KEYS);
  const { tree, parents } = commit;
  return { oid, tree, parent: parents[0], ns: read.text("KV-NS"), txn: read.txn(), epoch: read.text("Epoch") };
}
