/**
 * The check of a transaction under `verify: sample:N` (docs/policy.md): of all changed keys what costs little, of N of them,
 * chosen by chance, everything that can be said of one key.
 *
 * Of all: every changed path is a key's own in both tries, value and metadata come and go together, the counts the commit
 * attests are the real ones, and keys and values keep the policy's rules (replay-chunks.ts looks at pieces). Of the chosen ones: the value has the size and etag its
 * metadata says, the metadata record and the kv-index entry are byte for byte the ones a correct writer makes from the state
 * before, and both are found where a reader looks. Not at all: the shape of the trees elsewhere, and what the kv-index
 * says of keys that were not chosen.
 */

import { KvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { type ApplyBase, resolveKey } from "./apply.ts";
import type { EtagHasher } from "./etag.ts";
import { findInIndex } from "./index-list.ts";
import { type Key, keyDigits, keyName, keyText } from "./key.ts";
import { findInTrie, trieFileName } from "./ledger-trie.ts";
import { NodeWriter } from "./node-writer.ts";
import type { Operation } from "./operation.ts";
import {
  type ChangedKey,
  changedKeys,
  checkRoot,
  hashingSink,
  KeyReplay,
  mismatch,
  type ReplayLimits,
} from "./replay.ts";
import type { NamespaceState } from "./state.ts";
import type { NewManifest } from "./stored-manifest.ts";

/** A whole number from 0 to below `bound`, each as likely as the next, that nobody can foresee. */
export type Pick = (bound: number) => number;

/**
 * Checks the transaction from `base` to `next`, `count` of its keys closely.
 * Throws as replayTransaction.
 */
export function sampleTransaction(
  objects: ObjectSource,
  base: NamespaceState | undefined,
  next: NamespaceState,
  etagOf: EtagHasher,
  limits: ReplayLimits,
  sample: { readonly count: number; readonly pick: Pick },
): Sampled {
  checkRoot(objects, next);
  const changed = [...changedKeys(objects, base, next, limits.maxKeys).keys];
  const replayOf = ([name, change]: [string, ChangedKey]): KeyReplay =>
    new KeyReplay(objects, next, etagOf, limits, name, change);
  const contents = changed.map((each) => replayOf(each).content());
  const sets = contents.filter(({ kind }) => kind === "set").length;
  const count = (what: string, is: number, says: number): void => {
    if (is !== says) throw mismatch(`${what} is ${says}, counted it is ${is}`);
  };
  count("Keys-Set", sets, next.ledger.keysSet);
  count("Keys-Del", changed.length - sets, next.ledger.keysDel);
  const close = new CloseLook(objects, base, next);
  const chosen = new Set<Key>();
  for (const each of choose(changed, sample)) {
    const operation = replayOf(each).operation();
    close.check(operation, each[1]);
    chosen.add(operation.key);
  }
  const manifests = contents.flatMap(({ manifest }) => (manifest === undefined ? [] : [manifest]));
  return {
    keys: changed.length,
    manifests: manifests.map((manifest) => ({ ...manifest, isRead: chosen.has(manifest.key) })),
  };
}

/** What was looked at. */
export interface Sampled {
  /** How many keys changed. */
  readonly keys: number;
  /** The manifests that are new, those of the chosen keys to be read whole. */
  readonly manifests: readonly NewManifest[];
}

/** `count` of `items`, each set of them as likely as the next (Fisher and Yates, broken off). */
function choose<T>(items: T[], { count, pick }: { readonly count: number; readonly pick: Pick }): readonly T[] {
  const chosen = Math.min(count, items.length);
  for (let at = 0; at < chosen; at++) {
    const other = at + pick(items.length - at);
    [items[at], items[other]] = [items[other]!, items[at]!];
  }
  return items.slice(0, chosen);
}

/** Everything about one changed key. */
class CloseLook {
  readonly #objects: ObjectSource;
  readonly #base: ApplyBase;
  readonly #next: NamespaceState;
  readonly #writer: NodeWriter;

  constructor(objects: ObjectSource, base: NamespaceState | undefined, next: NamespaceState) {
    this.#objects = objects;
    this.#next = next;
    this.#base = {
      data: base?.data,
      meta: base?.meta,
      index: base?.ledger.indexTree ?? objects.format.emptyTree,
      ledger: base?.ledger.oid,
    };
    this.#writer = new NodeWriter(objects, hashingSink(objects));
  }

  check(operation: Operation, changed: ChangedKey): void {
    const { key } = operation;
    const text = JSON.stringify(keyText(key));
    const made = resolveKey(this.#writer, this.#objects, this.#base, operation);
    if (made === undefined) throw mismatch(`${text} has new metadata, and nothing of it changed`);
    const { file, change } = made;
    if (change.meta !== changed.meta?.after) throw mismatch(`the metadata of ${text} is not the one of this change`);
    const name = keyName(key);
    this.#inTrie(key, "meta", [trieFileName("meta", name)], change.meta);
    this.#inTrie(key, "data", [trieFileName("data", name), trieFileName("manifest", name)], change.value?.oid);
    const listed = this.#listed(key);
    if (listed?.fileName !== file.fileName || listed.oid !== file.oid)
      throw mismatch(`the kv-index holds ${listed?.fileName ?? "nothing"} of ${text}, not ${file.fileName}`);
  }

  #inTrie(key: Key, kind: "data" | "meta", names: readonly string[], expected: Oid | undefined): void {
    const root = this.#next[kind];
    const found = root === undefined ? undefined : findInTrie(this.#objects, root, keyDigits(key), names);
    if (found?.oid !== expected)
      throw mismatch(`${JSON.stringify(keyText(key))} is not where a reader looks in ${kind}/`);
  }

  /** The pushed kv-index comes from anybody: what cannot be read of it is the push's fault, not damage here. */
  #listed(key: Key): ReturnType<typeof findInIndex> {
    try {
      return findInIndex(this.#objects, this.#next.ledger.indexTree, key);
    } catch (cause) {
      if (!(cause instanceof KvError)) throw cause;
      throw new KvError("REPLAY_MISMATCH", `the kv-index cannot be read: ${cause.message}`, { cause });
    }
  }
}
