/** The keys in which two states differ, found by comparing the ledger's trees by the ids of their subtrees: O(differences). */

import { compare, utf8ToByteString } from "../bytes.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { LIMITS } from "../limits.ts";
import { TimeSlice } from "../time-slice.ts";
import { type Key, parseName } from "./key.ts";
import { trieKeyName } from "./ledger-trie.ts";
import { type Metadata, parseMetadata } from "./record.ts";
import type { NamespaceState } from "./state.ts";
import { diffTries } from "./trie-diff.ts";
import type { Watch } from "./workspace.ts";

/** What one of two states has of a key. */
export interface KeySide {
  readonly meta: Metadata;
  /** The blob of its metadata: two states have the same revision of a key where this is the same. */
  readonly record: Oid;
}

/** A key whose last revision is not the same in both states; undefined: it is not there. */
export interface KeyDifference {
  readonly key: Key;
  readonly before: KeySide | undefined;
  readonly after: KeySide | undefined;
}

/** Blobs of a key's metadata in two states; undefined: it is not there. */
export interface RecordChange {
  readonly before: Oid | undefined;
  readonly after: Oid | undefined;
}

/**
 * The keys whose metadata is known to differ, as {@link diffStates} has them. Throws CORRUPT where it is none.
 */
export function readDifferences(
  objects: ObjectSource,
  changes: Iterable<RecordChange>,
  prefix: string,
): KeyDifference[] {
  const found: KeyDifference[] = [];
  const all = [...changes];
  // What is of one age is together, as a rule in a pack: a lookup begins with the one that had the object before.
  const afters = all.map(({ after }) => sideOf(objects, after));
  const befores = all.map(({ before }) => sideOf(objects, before));
  for (const [i, after] of afters.entries()) {
    const before = befores[i];
    const key = utf8ToByteString((after ?? before)!.meta.key);
    if (key.startsWith(prefix)) found.push({ key, before, after });
  }
  return inOrder(found);
}

function sideOf(objects: ObjectSource, record: Oid | undefined): KeySide | undefined {
  return record === undefined ? undefined : { record, meta: parseMetadata(readAs(objects, record, "blob")) };
}

const inOrder = (found: KeyDifference[]): KeyDifference[] => found.sort((a, b) => compare(a.key, b.key));

/**
 * The keys that begin with `prefix` (bytes) and have another revision in `after` than in `before` (undefined: nothing was there),
 * in byte order. Throws KEY_INVALID, CORRUPT and so on where a tree is not one of ours, and what `signal` is aborted with. `progress` is
 * told how many have been found.
 */
export async function diffStates(
  objects: ObjectSource,
  before: Pick<NamespaceState, "meta"> | undefined,
  after: Pick<NamespaceState, "meta">,
  prefix = "",
  { signal, progress }: Watch = {},
): Promise<KeyDifference[]> {
  const found: KeyDifference[] = [];
  const slice = new TimeSlice();
  for (const change of diffTries(objects, "meta", before?.meta, after.meta, LIMITS.packObjects)) {
    if (slice.isOver()) {
      progress?.(`comparing: ${found.length} keys differ`);
      await slice.pause(signal);
    }
    const name = trieKeyName("meta", change.fileName);
    const parsed = name === undefined ? undefined : parseName(name);
    // A key that its name tells need not be read to be left out.
    if (parsed?.kind === "key" && !parsed.key.startsWith(prefix)) continue;
    const [old, now] = [sideOf(objects, change.before), sideOf(objects, change.after)];
    const key = parsed?.kind === "key" ? parsed.key : utf8ToByteString((now ?? old)!.meta.key);
    if (key.startsWith(prefix)) found.push({ key, before: old, after: now });
  }
  progress?.("");
  return inOrder(found);
}

/** Whether a reader sees a difference: not where a key was set and set back. */
export function isVisible({ before, after }: KeyDifference): boolean {
  if (before === undefined || after === undefined) return before !== after;
  const [a, b] = [before.meta, after.meta];
  if (a.etag !== b.etag || a.ctype !== b.ctype || a.expires !== b.expires) return true;
  const [own, other] = [Object.entries(a.labels ?? {}), b.labels ?? {}];
  return own.length !== Object.keys(other).length || own.some(([name, text]) => other[name] !== text);
}
