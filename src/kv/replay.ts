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
import { collectGarbage } from "../memory.ts";
import { type Resolved, resolveOperations } from "./apply.ts";
import type { LedgerCommit } from "./attestation.ts";
import { type ContentRules, checkKey, checkManifest, checkTotal, checkValue } from "./content-rules.ts";
import type { EtagHasher } from "./etag.ts";
import { isKey, type Key, KeyNames, keyDigits, keyName, keyText, type NamedKey, parseName } from "./key.ts";
import { type FileSort, findInTrie, trieFileName, trieKeyName } from "./ledger-trie.ts";
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
export type ChangedKey = { [sort in FileSort]?: Pick<FileChange, "before" | "after"> | undefined } & {
  /** What its name says of it, where that was read already. */
  readonly named?: NamedKey | undefined;
};

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
  collectGarbage(changed.keys.size);
  const operations = [...changed.keys].map(([name, change]) =>
    new KeyReplay(objects, next, etagOf, limits, name, change).operation(),
  );
  collectGarbage(operations.length);
  const writer = new NodeWriter(objects, hashingSink(objects));
  const from = {
    data: base?.data,
    meta: base?.meta,
    index: base?.ledger.indexTree ?? objects.format.emptyTree,
    ledger: base?.ledger.oid,
  };
  const applied = resolveOperations(writer, objects, from, operations, { claimed: next.ledger.indexTree });
  const same = (what: string, is: Oid | number | undefined, says: Oid | number | undefined): void => {
    if (is !== says) throw mismatch(`${what} is ${says ?? "absent"}, replayed it is ${is ?? "absent"}`);
  };
  const sets = applied.changes.filter(({ kind }) => kind === "set").length;
  same("Keys-Set", sets, next.ledger.keysSet);
  same("Keys-Del", applied.changes.length - sets, next.ledger.keysDel);
  const found = applied.names.map((name) => changed.keys.get(name));
  for (const kind of ["data", "meta"] as const) sameFiles(objects, kind, changed[kind], found, applied, next[kind]);
  same("the kv-index tree", applied.index, next.ledger.indexTree);
  same("the ledger tree", rootTree(objects, next), next.ledger.tree);
  return applied.changes;
}

/** What was found `changed` in a trie, now `root`, must be what the changes make: nothing less and nothing more. `found`: of their keys. */
function sameFiles(
  objects: ObjectSource,
  kind: "data" | "meta",
  changed: readonly FileChange[],
  found: readonly (ChangedKey | undefined)[],
  made: Resolved,
  root: Oid | undefined,
): void {
  let met = 0;
  made.eachFile(kind, (sort, name, oid, key, place) => {
    const file = found[place]?.[sort];
    if (file !== undefined) met++;
    const is = file ? file.after : root && findInTrie(objects, root, keyDigits(key), [trieFileName(sort, name)])?.oid;
    if (is === oid) return;
    const at = trieFileName(sort, name);
    throw mismatch(`${kind}/ has ${is ?? "nothing"} at ${at}, replayed it has ${oid ?? "nothing"}`);
  });
  if (met === changed.length) return;
  const left = new Set(changed.map(({ fileName }) => fileName));
  made.eachFile(kind, (sort, name) => left.delete(trieFileName(sort, name)));
  for (const name of left) throw mismatch(`${name} in ${kind}/ changed, replayed it does not`);
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
  const names = new KeyNames<ChangedKey>();
  const of = (name: string, known = names.read(name)): ChangedKey => {
    const met = known === undefined ? changed.get(name) : known.of;
    if (met !== undefined) return met;
    const made: ChangedKey = { named: known?.key, data: undefined, manifest: undefined, meta: undefined };
    if (known !== undefined) known.of = made;
    changed.set(name, made);
    return made;
  };
  // An inline value that becomes a chunked one changes two files.
  const data = diffTries(objects, "data", base?.data, next.data, 2 * maxKeys, names);
  for (const file of data) {
    const name = trieKeyName("data", file.fileName)!;
    of(name, file.known)[name === file.fileName ? "data" : "manifest"] = file;
  }
  const meta = diffTries(objects, "meta", base?.meta, next.meta, maxKeys, names);
  for (const file of meta) {
    const name = trieKeyName("meta", file.fileName);
    if (name === undefined) throw mismatch(`meta/ held ${JSON.stringify(file.fileName)}, which no key is called`);
    of(name, file.known).meta = file;
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
    const { meta } = this.#change;
    if (meta === undefined) throw this.#onlyValue();
    if (meta.after === undefined) return this.#deletion(meta.before!);
    const record = this.#record(meta.after);
    const key = this.#key(record);
    checkKey(this.#limits, key);
    const stored = this.#storedValue(key);
    if (stored === undefined) throw mismatch(`${keyText(key)} lost its value, not its metadata`);
    this.#checkValue(key, record, stored);
    const { size, etag, ctype, expires, labels } = record;
    const value = { type: stored.type, oid: stored.oid, size, etag, ctype };
    return { kind: "set", key, name: this.#name, value, expires, labels };
  }

  #deletion(meta: Oid): Operation {
    const key = this.#namedKey(meta);
    checkKey(this.#limits, key);
    const value = this.#changedValue();
    if (value === undefined || value.after !== undefined)
      throw mismatch(`${keyText(key)} lost its metadata, not its value`);
    return { kind: "del", key, name: this.#name, ignoreMissing: false };
  }

  /** What became of the value's file: of two, the one that is there now. */
  #changedValue(): { readonly sort: FileSort; readonly after: Oid | undefined } | undefined {
    const { data, manifest } = this.#change;
    if (data === undefined && manifest === undefined) return undefined;
    const sort = manifest?.after !== undefined || data === undefined ? "manifest" : "data";
    return { sort, after: this.#change[sort]!.after };
  }

  /**
   * What the policy's rules about keys and values need, and no more: the key is the one its name stands for, the value is there,
   * and both keep the rules. Returns the kind of change and, where it is new, the manifest.
   */
  content(): { readonly kind: "set" | "del"; readonly manifest?: NewManifest } {
    const { meta } = this.#change;
    if (meta === undefined) throw this.#onlyValue();
    const value = this.#changedValue();
    const key = this.#namedKey((meta.after ?? meta.before)!);
    checkKey(this.#limits, key);
    const isSet = meta.after !== undefined;
    const isWhole = isSet
      ? value?.after !== undefined || (value === undefined && meta.before !== undefined)
      : value !== undefined && value.after === undefined;
    if (!isWhole) throw mismatch(`value and metadata of ${keyText(key)} do not come and go together`);
    if (value?.after === undefined) return { kind: isSet ? "set" : "del" };
    if (value.sort === "data") {
      checkValue(this.#limits, key, readAs(this.#objects, value.after, "blob"));
      return { kind: "set" };
    }
    checkManifest(this.#limits, key, readManifest(this.#objects, key, value.after));
    return { kind: "set", manifest: { key, oid: value.after } };
  }

  #onlyValue(): KvError {
    return mismatch(`the value of ${this.#name} changed, its metadata did not`);
  }

  /** The key that the name stands for; a long one's is told by its metadata, the blob `meta`, alone. */
  #namedKey(meta: Oid): Key {
    const named = this.#named();
    return named?.kind === "key" ? named.key : this.#key(this.#record(meta));
  }

  #named(): NamedKey | undefined {
    return this.#change.named ?? parseName(this.#name);
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
    const named = this.#named();
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
    const changed = this.#changedValue();
    if (changed?.after !== undefined)
      return { type: changed.sort === "data" ? "inline" : "chunked", oid: changed.after };
    const { data } = this.#next;
    if (changed !== undefined || data === undefined) return undefined;
    const names = [this.#name, trieFileName("manifest", this.#name)];
    const found = findInTrie(this.#objects, data, keyDigits(key), names);
    return found && { type: found.name === this.#name ? "inline" : "chunked", oid: found.oid };
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
    if (this.#changedValue() === undefined) checkTotal(this.#limits, key, manifest.size);
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
