/**
 * Applies operations to a state: the one function that makes data/, meta/ and the kv-index of the next state. Writers call it
 * to make a transaction, the Stargate and `verify` call it to replay one; the same operations on the same state always give
 * the same trees.
 */

import { compare } from "../bytes.ts";
import { KvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { collectGarbage, GarbageMeter } from "../memory.ts";
import { atOnce, type Steps } from "../time-slice.ts";
import { isExpired } from "./expiry.ts";
import { indexFileName } from "./index-file.ts";
import { findInIndex } from "./index-list.ts";
import type { IndexFile, IndexState } from "./index-node.ts";
import { type IndexOp, updateIndexInSteps } from "./index-tree.ts";
import { type Key, keyDigits, keyName, keyText } from "./key.ts";
import { type FileSort, findInTrie, type TrieChange, trieFileName, updateTrieInSteps } from "./ledger-trie.ts";
import type { MetaJob } from "./meta-helper.ts";
import type { NodeWriter } from "./node-writer.ts";
import type { Condition, DelOperation, KeyChange, Operation, SetOperation } from "./operation.ts";
import {
  encodeMetadata,
  encodePointer,
  encodeTombstone,
  type Labels,
  type MetadataFields,
  type Pointer,
  parseIndexRecord,
  parseMetadata,
  type Tombstone,
  type ValueType,
} from "./record.ts";

/** The state operations are applied to: nothing, in the first transaction of a namespace. */
export interface ApplyBase {
  readonly data: Oid | undefined;
  readonly meta: Oid | undefined;
  /** Root of the kv-index; the empty tree at first. */
  readonly index: Oid;
  /** The ledger commit; undefined in the first transaction. */
  readonly ledger: Oid | undefined;
}

/** The next state. */
export interface Applied {
  readonly data: Oid | undefined;
  readonly meta: Oid | undefined;
  readonly index: Oid;
  /** Keys that really changed, in key order. */
  readonly changes: readonly KeyChange[];
}

/** Keys of a replay between two collections: each leaves 25 texts, 3 KB, and what a replay holds lets the heap grow by as much again. */
const COLLECTED = 30_000;
/** Most keys an error names. */
const NAMED_KEYS = 10;

/**
 * Applies `operations` (distinct keys, any order).
 * `now` (Unix seconds) decides whether a key has expired for conditions; replay passes none.
 * Throws CAS_CONFLICT, KEY_NOT_FOUND (a deletion of keys that are not there), KEY_INVALID (a key twice).
 */
export function applyOperations(
  writer: NodeWriter,
  source: ObjectSource,
  base: ApplyBase,
  operations: readonly Operation[],
  now?: number,
): Applied {
  return atOnce(applyInSteps(writer, source, base, operations, now));
}

/** As {@link applyOperations}, yielding now and then so that others may run. */
export function* applyInSteps(
  writer: NodeWriter,
  source: ObjectSource,
  base: ApplyBase,
  operations: readonly Operation[],
  now?: number,
  metas?: MetaJob,
): Steps<Applied> {
  const { changes, eachFile, index } = yield* resolveInSteps(writer, source, base, operations, { now, metas });
  const elsewhere = metas?.finish(base.meta, writer);
  const digits = changes.map(({ key }) => keyDigits(key));
  yield;
  const update = function* (kind: "data" | "meta", root: Oid | undefined): Steps<Oid | undefined> {
    const files: TrieChange[] = [];
    eachFile(kind, (sort, name, oid, _key, place) => {
      files.push({ digits: digits[place]!, name: trieFileName(sort, name), oid });
    });
    const updated = yield* updateTrieInSteps(writer, kind, root, files);
    collectGarbage(operations.length, "little");
    return updated;
  };
  const data = yield* update("data", base.data);
  const meta = elsewhere === undefined ? yield* update("meta", base.meta) : yield* elsewhere;
  return { data, meta, index, changes };
}

/** What operations make of a state, short of the tries. */
export interface Resolved {
  readonly index: Oid;
  /** Keys that really changed, in key order. */
  readonly changes: readonly KeyChange[];
  /** The names of their keys. */
  readonly names: readonly string[];
  /** Tells what the changes do to each file of one of the tries. A file that already is what it is set to counts too. */
  eachFile(kind: "data" | "meta", told: ToldOfFile): void;
}

/** A file of `key`, which has this name, is set, or removed where `oid` is undefined; `place` is that of the key's change. */
export type ToldOfFile = (sort: FileSort, name: string, oid: Oid | undefined, key: Key, place: number) => void;

/** What resolving depends on. `claimed`: see {@link updateIndex}. */
interface ResolveOptions {
  readonly now?: number | undefined;
  readonly claimed?: Oid;
  /** Makes the metadata: changes have none then. */
  readonly metas?: MetaJob | undefined;
}

/** As {@link applyOperations}, for whoever makes or compares the tries by itself. */
export function resolveOperations(
  writer: NodeWriter,
  source: ObjectSource,
  base: ApplyBase,
  operations: readonly Operation[],
  options?: ResolveOptions,
): Resolved {
  return atOnce(resolveInSteps(writer, source, base, operations, options));
}

function* resolveInSteps(
  writer: NodeWriter,
  source: ObjectSource,
  base: ApplyBase,
  operations: readonly Operation[],
  { now, claimed, metas }: ResolveOptions = {},
): Steps<Resolved> {
  const sorted = sortByKey(operations);
  const resolver = new Resolver(writer, source, base, now, metas);
  const garbage = claimed === undefined ? undefined : new GarbageMeter(COLLECTED);
  const resolve = (named: Named, existing: IndexState | undefined): IndexFile | undefined => {
    garbage?.add(1);
    return resolver.resolve(named, existing);
  };
  const index = yield* updateIndexInSteps(writer, base.index, sorted, resolve, claimed);
  resolver.finish();
  collectGarbage(operations.length);
  const { changes, names } = resolver;
  return { index, changes, names, eachFile: (kind, told) => eachFile(kind, changes, names, told) };
}

/**
 * What one operation makes of its key alone: its file in the kv-index, and the change; undefined where nothing changes.
 * Throws as {@link applyOperations}.
 */
export function resolveKey(
  writer: NodeWriter,
  source: ObjectSource,
  base: ApplyBase,
  operation: Operation,
): { readonly file: IndexFile; readonly change: KeyChange } | undefined {
  const resolver = new Resolver(writer, source, base, undefined);
  const { key } = operation;
  const file = resolver.resolve({ ...operation, name: keyName(key) }, findInIndex(source, base.index, key));
  resolver.finish();
  const [change] = resolver.changes;
  return file === undefined || change === undefined ? undefined : { file, change };
}

/** An operation with its key's name, which several steps need. */
type Named = Operation & IndexOp;

const isNamed = (operation: Operation): operation is Named => operation.name !== undefined;

function sortByKey(operations: readonly Operation[]): readonly Named[] {
  const sorted = operations.map(
    (operation): Named => (isNamed(operation) ? operation : { ...operation, name: keyName(operation.key) }),
  );
  sorted.sort((a, b) => compare(a.key, b.key));
  for (let i = 1; i < sorted.length; i++) {
    if (sorted[i]!.key === sorted[i - 1]!.key) {
      throw new KvError("KEY_INVALID", `the key ${JSON.stringify(keyText(sorted[i]!.key))} is there twice`);
    }
  }
  return sorted;
}

/** What `changes` do to one of the tries; `names` are those of their keys. */
function eachFile(
  kind: "data" | "meta",
  changes: readonly KeyChange[],
  names: readonly string[],
  told: ToldOfFile,
): void {
  for (const [i, { key, value, before, meta }] of changes.entries()) {
    const name = names[i]!;
    if (kind === "meta") {
      told("meta", name, meta, key, i);
      continue;
    }
    if (before !== undefined && before !== value?.type) told(sortOf(before), name, undefined, key, i);
    if (value !== undefined) told(sortOf(value.type), name, value.oid, key, i);
  }
}

const sortOf = (type: ValueType): FileSort => (type === "inline" ? "data" : "manifest");

/** Decides each key's new revision from its old one. */
class Resolver {
  readonly changes: KeyChange[] = [];
  /** The names of their keys. */
  readonly names: string[] = [];
  readonly #writer: NodeWriter;
  readonly #source: ObjectSource;
  readonly #base: ApplyBase;
  readonly #now: number | undefined;
  readonly #metas: MetaJob | undefined;
  readonly #missing: string[] = [];

  constructor(writer: NodeWriter, source: ObjectSource, base: ApplyBase, now: number | undefined, metas?: MetaJob) {
    this.#metas = metas;
    this.#writer = writer;
    this.#source = source;
    this.#base = base;
    this.#now = now;
  }

  resolve(op: Named, existing: IndexState | undefined): IndexFile | undefined {
    const { name } = op;
    const record = existing && parseIndexRecord(existing.record ?? this.#writer.readBlob(existing.oid));
    if (op.condition !== undefined) this.#demand(op, op.condition, existing, record);
    if (op.kind === "check") return undefined;
    return op.kind === "set" ? this.#set(op, name, existing, record) : this.#del(op, name, record);
  }

  /** Throws where a deletion met a key that is not there. */
  finish(): void {
    if (this.#missing.length === 0) return;
    const named = this.#missing
      .slice(0, NAMED_KEYS)
      .map((key) => JSON.stringify(key))
      .join(", ");
    const more = this.#missing.length > NAMED_KEYS ? ` and ${this.#missing.length - NAMED_KEYS} more` : "";
    throw new KvError("KEY_NOT_FOUND", `not found: ${named}${more}`, { data: { keys: this.#missing.slice(0, 1000) } });
  }

  #set(
    op: SetOperation,
    name: string,
    existing: IndexState | undefined,
    record: Pointer | Tombstone | undefined,
  ): IndexFile | undefined {
    if (record?.kind === "live") {
      if (op.keep === true && !this.#hasExpired(existing!)) return undefined;
      if (this.#isSame(op, name, existing!, record)) return undefined;
    }
    const { value, expires, labels } = op;
    const { type, size, etag, ctype } = value;
    const rev = (record?.rev ?? 0) + 1;
    const { ledger } = this.#base;
    const named = labels !== undefined && Object.keys(labels).length > 0 ? labels : undefined;
    const fields = { type, size, etag, ctype, rev, base: ledger, expires, labels: named };
    const meta = this.#meta(op.key, fields);
    const oid = this.#writer.record("ref", encodePointer(op.key, { type, oid: value.oid, size, ctype, rev }));
    const before = record?.kind === "live" ? record.type : undefined;
    this.#changed(name, { key: op.key, kind: "set", rev, value, meta, before });
    return { fileName: indexFileName(name, { kind: "live", expires }), oid };
  }

  #del(op: DelOperation, name: string, record: Pointer | Tombstone | undefined): IndexFile | undefined {
    if (record?.kind !== "live") {
      if (!op.ignoreMissing) this.#missing.push(keyText(op.key));
      return undefined;
    }
    const rev = record.rev + 1;
    this.#metas?.add(op.key, undefined);
    const oid = this.#writer.record("del", encodeTombstone(op.key, rev, this.#base.ledger));
    this.#changed(name, { key: op.key, kind: "del", rev, value: undefined, meta: undefined, before: record.type });
    return { fileName: indexFileName(name, { kind: "deleted" }), oid };
  }

  #meta(key: Key, fields: MetadataFields): Oid | undefined {
    if (this.#metas === undefined) return this.#writer.record("meta", encodeMetadata(key, fields));
    this.#metas.add(key, fields);
    return undefined;
  }

  #changed(name: string, change: KeyChange): void {
    this.changes.push(change);
    this.names.push(name);
  }

  /** Whether a set would change nothing: then it makes no revision. */
  #isSame(op: SetOperation, name: string, existing: IndexState, record: Pointer): boolean {
    const { value } = op;
    const expires = existing.state.kind === "live" ? existing.state.expires : undefined;
    if (
      record.oid !== value.oid ||
      record.type !== value.type ||
      record.ctype !== value.ctype ||
      expires !== op.expires
    )
      return false;
    return sameLabels(this.#labels(op, name), op.labels);
  }

  #labels(op: SetOperation, name: string): Labels | undefined {
    const { meta } = this.#base;
    const names = [trieFileName("meta", name)];
    const file = meta === undefined ? undefined : findInTrie(this.#source, meta, keyDigits(op.key), names);
    return file === undefined ? undefined : parseMetadata(this.#writer.readBlob(file.oid)).labels;
  }

  #demand(
    op: Operation,
    condition: Condition,
    existing: IndexState | undefined,
    record: Pointer | Tombstone | undefined,
  ): void {
    const live = record?.kind === "live" && !this.#hasExpired(existing!) ? record : undefined;
    const actual = describe(live, record);
    const wrong = (wanted: string): never => {
      throw new KvError("CAS_CONFLICT", `key ${JSON.stringify(keyText(op.key))} ${actual}, expected ${wanted}`, {
        data: { key: keyText(op.key) },
      });
    };
    if (condition.kind === "absent" && live !== undefined) wrong("no value");
    if (condition.kind === "present" && live === undefined) wrong("a value");
    if (condition.kind === "blob" && live?.oid !== condition.oid) wrong(`blob ${condition.oid}`);
    if (condition.kind === "rev" && (record?.rev ?? 0) !== condition.rev) wrong(`revision ${condition.rev}`);
  }

  #hasExpired(existing: IndexState): boolean {
    const { state } = existing;
    return this.#now !== undefined && state.kind === "live" && isExpired(state.expires, this.#now);
  }
}

function describe(live: Pointer | undefined, record: Pointer | Tombstone | undefined): string {
  if (live !== undefined) return `is at blob ${live.oid}, revision ${live.rev}`;
  return record === undefined
    ? "was never set"
    : record.kind === "deleted"
      ? `is deleted, revision ${record.rev}`
      : "has expired";
}

function sameLabels(a: Labels = {}, b: Labels = {}): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
