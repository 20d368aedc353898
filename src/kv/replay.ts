/**
 * The replay check (docs/formats/data-format.md, section 7): finds out what a transaction changed by comparing its ledger tree
 * with the one before, applies just that to the old state with the writer's own code, and demands that it makes the same
 * kv-index and the same difference of the tries, whose form the comparison has seen to. Costs time proportional to the keys
 * changed.
 */

import { utf8ToByteString } from "../bytes.ts";
import { KvError } from "../errors.ts";
import type { ObjectSink, ObjectSource } from "../gitwire/object/object.ts";
import { readAs } from "../gitwire/object/object.ts";
import { hashObject, type Oid } from "../gitwire/object/oid.ts";
import { MODE, parseTree } from "../gitwire/object/tree.ts";
import { type Resolved, resolveOperations } from "./apply.ts";
import type { LedgerCommit } from "./attestation.ts";
import { type ContentRules, checkKey, checkManifest, checkTotal, checkValue } from "./content-rules.ts";
import type { EtagHasher } from "./etag.ts";
import { isKey, type Key, keyDigits, keyName, keyText, parseName } from "./key.ts";
import { findInTrie, trieFileName, trieKeyName } from "./ledger-trie.ts";
import { NodeWriter } from "./node-writer.ts";
import type { KeyChange, Operation } from "./operation.ts";
import { type Metadata, parseMetadata, type ValueType } from "./record.ts";
import { kvJson, ledgerTree } from "./state.ts";
import { type NewManifest, readManifest } from "./stored-manifest.ts";
import { diffTries, type FileChange } from "./trie-diff.ts";

/** What a replay needs to know of a state: a NamespaceState says more, and is more than another thread need be given. */
export interface ReplayState {
  readonly ns: string;
  readonly ledger: Pick<LedgerCommit, "oid" | "tree" | "indexTree" | "keysSet" | "keysDel">;
  readonly data: Oid | undefined;
  readonly meta: Oid | undefined;
}

/** What a replay is held to. */
export interface ReplayLimits extends ContentRules {
  /** Most keys a transaction may change. */
  readonly maxKeys: number;
}

/** One key's files that changed. */
export interface ChangedKey {
  data?: { fileName: string; after: Oid | undefined };
  meta?: { before: Oid | undefined; after: Oid | undefined };
}

/**
 * Replays the transaction that led from `base` to `next` and returns what it changed, in key order.
 * Throws KEY_INVALID, TXN_TOO_LARGE, REPLAY_MISMATCH, what the rules about keys and values throw (content-rules.ts), or what
 * reading a damaged object throws.
 */
export function replayTransaction(
  objects: ObjectSource,
  base: ReplayState | undefined,
  next: ReplayState,
  etagOf: EtagHasher,
  limits: ReplayLimits,
): readonly KeyChange[] {
  checkRoot(objects, next);
  const changed = changedKeys(objects, base, next, limits.maxKeys);
  const operations = [...changed.keys].map(([name, change]) =>
    new KeyReplay(objects, next, etagOf, limits, name, change).operation(),
  );
  const writer = new NodeWriter(objects, hashingSink(objects));
  const from = {
    data: base?.data,
    meta: base?.meta,
    index: base?.ledger.indexTree ?? objects.format.emptyTree,
    ledger: base?.ledger.oid,
  };
  const applied = resolveOperations(writer, objects, from, operations);
  const same = (what: string, is: Oid | number | undefined, says: Oid | number | undefined): void => {
    if (is !== says) throw mismatch(`${what} is ${says ?? "absent"}, replayed it is ${is ?? "absent"}`);
  };
  const sets = applied.changes.filter(({ kind }) => kind === "set").length;
  same("Keys-Set", sets, next.ledger.keysSet);
  same("Keys-Del", applied.changes.length - sets, next.ledger.keysDel);
  for (const kind of ["data", "meta"] as const) sameFiles(objects, kind, changed[kind], applied, next[kind]);
  same("the kv-index tree", applied.index, next.ledger.indexTree);
  same("the ledger tree", rootTree(objects, next), next.ledger.tree);
  return applied.changes;
}

/** What was `found` changed in a trie, now `root`, must be what the changes make: nothing less and nothing more. */
function sameFiles(
  objects: ObjectSource,
  kind: "data" | "meta",
  found: readonly FileChange[],
  made: Resolved,
  root: Oid | undefined,
): void {
  const left = new Map<string, Oid | undefined>();
  for (const { fileName, after } of found) left.set(fileName, after);
  made.eachFile(kind, (name, oid, key) => {
    const isChanged = left.has(name);
    const is = isChanged ? left.get(name) : root && findInTrie(objects, root, keyDigits(key), [name])?.oid;
    if (is !== oid) throw mismatch(`${kind}/ has ${is ?? "nothing"} at ${name}, replayed it has ${oid ?? "nothing"}`);
    if (isChanged) left.delete(name);
  });
  for (const name of left.keys()) throw mismatch(`${name} in ${kind}/ changed, replayed it does not`);
}

/** The ledger tree, or the kv-index, is not what a correct writer makes of the changes. */
export const mismatch = (text: string): KvError => new KvError("REPLAY_MISMATCH", text);

/** A sink that only names objects. */
export function hashingSink(objects: ObjectSource): ObjectSink {
  const { format } = objects;
  return {
    format,
    namesOnly: true,
    write: (kind, data) => hashObject(format, kind, data),
    writeDelta: (kind, data) => hashObject(format, kind, data),
  };
}

/** The root as a writer makes it: an entry that is missing or there twice shows. */
function rootTree({ format }: ObjectSource, { ns, data, meta }: ReplayState): Oid {
  const root = { kvJson: hashObject(format, "blob", Buffer.from(kvJson(format, ns))), data, meta };
  return hashObject(format, "tree", ledgerTree(format, root));
}

/** The root holds kv.json as the format has it, data/ and meta/, nothing else. */
export function checkRoot(objects: ObjectSource, next: ReplayState): void {
  const { format } = objects;
  const expected = hashObject(format, "blob", Buffer.from(kvJson(format, next.ns)));
  for (const { name, mode, oid } of parseTree(format, readAs(objects, next.ledger.tree, "tree"))) {
    const trie = (name === "data" || name === "meta") && mode === MODE.tree;
    if (name === "kv.json" && mode === MODE.file && oid !== expected)
      throw mismatch("kv.json is not the one of this namespace");
    if (!trie && !(name === "kv.json" && mode === MODE.file)) {
      throw new KvError("KEY_INVALID", `${JSON.stringify(name)} is no key's own path`);
    }
  }
}

/** What changed in the tries, and that by the keys' names. */
export interface Changed {
  readonly data: readonly FileChange[];
  readonly meta: readonly FileChange[];
  readonly keys: ReadonlyMap<string, ChangedKey>;
}

/** What changed. Throws KEY_INVALID, TXN_TOO_LARGE, REPLAY_MISMATCH. */
export function changedKeys(
  objects: ObjectSource,
  base: ReplayState | undefined,
  next: ReplayState,
  maxKeys: number,
): Changed {
  const changed = new Map<string, ChangedKey>();
  const of = (name: string): ChangedKey => {
    const known = changed.get(name);
    if (known !== undefined) return known;
    const made: ChangedKey = {};
    changed.set(name, made);
    return made;
  };
  // An inline value that becomes a chunked one changes two files.
  const data = diffTries(objects, "data", base?.data, next.data, 2 * maxKeys);
  for (const { fileName, after } of data) {
    const key = of(trieKeyName("data", fileName)!);
    if (key.data === undefined || after !== undefined) key.data = { fileName, after };
  }
  const meta = diffTries(objects, "meta", base?.meta, next.meta, maxKeys);
  for (const { fileName, before, after } of meta) {
    const name = trieKeyName("meta", fileName);
    if (name === undefined) throw mismatch(`meta/ held ${JSON.stringify(fileName)}, which no key is called`);
    of(name).meta = { before, after };
  }
  if (changed.size > maxKeys)
    throw new KvError("TXN_TOO_LARGE", `the transaction changes ${changed.size} keys, at most ${maxKeys} are allowed`);
  return { data, meta, keys: changed };
}

/** Reads one key's change back into the operation that made it. */
export class KeyReplay {
  readonly #objects: ObjectSource;
  readonly #next: ReplayState;
  readonly #etagOf: EtagHasher;
  readonly #limits: ReplayLimits;
  readonly #name: string;
  readonly #change: ChangedKey;

  constructor(
    objects: ObjectSource,
    next: ReplayState,
    etagOf: EtagHasher,
    limits: ReplayLimits,
    name: string,
    change: ChangedKey,
  ) {
    this.#objects = objects;
    this.#next = next;
    this.#etagOf = etagOf;
    this.#limits = limits;
    this.#name = name;
    this.#change = change;
  }

  operation(): Operation {
    const { meta, data } = this.#change;
    if (meta === undefined) throw this.#onlyValue();
    if (meta.after === undefined) return this.#deletion(meta.before!, data);
    const record = this.#record(meta.after);
    const key = this.#key(record);
    checkKey(this.#limits, key);
    const stored = this.#storedValue(key);
    if (stored === undefined) throw mismatch(`${keyText(key)} lost its value, not its metadata`);
    this.#checkValue(key, record, stored);
    const { size, etag, ctype, expires, labels } = record;
    return { kind: "set", key, value: { ...stored, size, etag, ctype }, expires, labels };
  }

  #deletion(meta: Oid, data: ChangedKey["data"]): Operation {
    const key = this.#namedKey(meta);
    checkKey(this.#limits, key);
    if (data === undefined || data.after !== undefined)
      throw mismatch(`${keyText(key)} lost its metadata, not its value`);
    return { kind: "del", key, ignoreMissing: false };
  }

  /**
   * What the policy's rules about keys and values need, and no more: the key is the one its name stands for, the value is there,
   * and both keep the rules. Returns the kind of change and, where it is new, the manifest.
   */
  content(): { readonly kind: "set" | "del"; readonly manifest?: NewManifest } {
    const { meta, data } = this.#change;
    if (meta === undefined) throw this.#onlyValue();
    const key = this.#namedKey((meta.after ?? meta.before)!);
    checkKey(this.#limits, key);
    const isSet = meta.after !== undefined;
    const isWhole = isSet
      ? data?.after !== undefined || (data === undefined && meta.before !== undefined)
      : data !== undefined && data.after === undefined;
    if (!isWhole) throw mismatch(`value and metadata of ${keyText(key)} do not come and go together`);
    if (data?.after === undefined) return { kind: isSet ? "set" : "del" };
    if (data.fileName === trieFileName("data", this.#name)) {
      checkValue(this.#limits, key, readAs(this.#objects, data.after, "blob"));
      return { kind: "set" };
    }
    checkManifest(this.#limits, key, readManifest(this.#objects, key, data.after));
    return { kind: "set", manifest: { key, oid: data.after } };
  }

  #onlyValue(): KvError {
    return mismatch(`the value of ${this.#name} changed, its metadata did not`);
  }

  /** The key that the name stands for; a long one's is told by its metadata, the blob `meta`, alone. */
  #namedKey(meta: Oid): Key {
    const named = parseName(this.#name);
    return named?.kind === "key" ? named.key : this.#key(this.#record(meta));
  }

  #record(oid: Oid): Metadata {
    try {
      return parseMetadata(readAs(this.#objects, oid, "blob"));
    } catch (error) {
      if (!(error instanceof KvError && error.code === "CORRUPT")) throw error;
      throw mismatch(`${trieFileName("meta", this.#name)}: ${error.message}`);
    }
  }

  /** The key, by its name and by its record: both must say the same. */
  #key(record: Metadata): Key {
    const named = parseName(this.#name);
    const isShort = named?.kind === "key";
    const key = isShort ? named.key : utf8ToByteString(record.key);
    if (!isShort && !isKey(key)) throw new KvError("KEY_INVALID", `${this.#name} is the name of no valid key`);
    if (keyText(key) !== record.key || (!isShort && keyName(key) !== this.#name)) {
      throw mismatch(`the metadata at ${this.#name} speaks of the key ${JSON.stringify(record.key)}`);
    }
    return key;
  }

  /** Where the value is, or the manifest of one that is in pieces. */
  #storedValue(key: Key): StoredFile | undefined {
    const { data: change } = this.#change;
    if (change !== undefined) return change.after === undefined ? undefined : this.#file(change.fileName, change.after);
    const { data } = this.#next;
    const names = [this.#name, trieFileName("manifest", this.#name)];
    const found = data === undefined ? undefined : findInTrie(this.#objects, data, keyDigits(key), names);
    return found === undefined ? undefined : this.#file(found.name, found.oid);
  }

  #file(fileName: string, oid: Oid): StoredFile {
    return { type: fileName === this.#name ? "inline" : "chunked", oid };
  }

  #checkValue(key: Key, record: Metadata, { type, oid }: StoredFile): void {
    const text = keyText(key);
    if (record.type !== type) throw mismatch(`${text} is stored ${type}, its metadata says ${record.type}`);
    if (type === "chunked") {
      this.#checkManifest(key, record, oid);
      return;
    }
    const value = readAs(this.#objects, oid, "blob");
    checkValue(this.#limits, key, value);
    if (record.size !== value.length)
      throw mismatch(`${text} has ${value.length} bytes, its metadata says ${record.size}`);
    if (record.etag !== this.#etagOf(value)) throw mismatch(`the etag of ${text} is not the one of its value`);
  }

  #checkManifest(key: Key, record: Metadata, oid: Oid): void {
    const manifest = readManifest(this.#objects, key, oid);
    // One that was here before was held to the rules of its day.
    if (this.#change.data === undefined) checkTotal(this.#limits, key, manifest.size);
    else checkManifest(this.#limits, key, manifest);
    const { size, etag } = manifest;
    if (record.size !== size || record.etag !== etag)
      throw mismatch(
        `the metadata of ${keyText(key)} says ${record.size} bytes, ${record.etag}; its manifest does not`,
      );
  }
}

/** A value's blob, or its manifest's. */
interface StoredFile {
  readonly type: ValueType;
  readonly oid: Oid;
}
