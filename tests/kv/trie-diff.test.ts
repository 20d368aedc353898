/**
 * The difference of two tries against the writer: whatever the newer trie is, either it is refused, or it is what updateTrie makes of
 * the older one and the difference found. Tries that a writer made are never refused.
 */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import type { ObjectSource } from "../../src/gitwire/object/object.ts";
import { type Oid, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { encodeTree, MODE, parseTree, sortEntries, type TreeEntry } from "../../src/gitwire/object/tree.ts";
import { KeyNames, keyDigits, keyName } from "../../src/kv/key.ts";
import { type TrieChange, trieDigits, updateTrie } from "../../src/kv/ledger-trie.ts";
import { NodeWriter } from "../../src/kv/node-writer.ts";
import { diffTries, type FileChange } from "../../src/kv/trie-diff.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { type Random, random } from "../support/random.ts";
import { withChanges } from "../support/with-changes.ts";

const LIMIT = 5_000;

/** A tree's bytes as a forger changes them. */
type Forgery = (data: Buffer, rng: Random, forger: Forger) => Buffer;

/** What a forger has at hand. */
interface Forger {
  readonly objects: MemoryObjects;
  tree(data: Buffer): Oid;
  encode(entries: readonly TreeEntry[]): Buffer;
}

const onEntries =
  (change: (entries: TreeEntry[], rng: Random, forger: Forger) => TreeEntry[]): Forgery =>
  (data, rng, forger) =>
    forger.encode(change(parseTree(forger.objects.format, data), rng, forger));

const FORGERIES: Readonly<Record<string, Forgery>> = {
  swap: onEntries((entries, rng) => {
    const [a, b] = [rng.int(entries.length), rng.int(entries.length)];
    [entries[a], entries[b]] = [entries[b]!, entries[a]!];
    return entries;
  }),
  twice: onEntries((entries, rng) => entries.toSpliced(rng.int(entries.length + 1), 0, rng.pick(entries))),
  drop: onEntries((entries, rng) => entries.toSpliced(rng.int(entries.length), 1)),
  oid: onEntries((entries, rng, { objects }) => {
    const at = rng.int(entries.length);
    const oid = objects.write("blob", rng.bytes(4));
    return entries.map((entry, i) => (i === at && entry.mode === MODE.file ? { ...entry, oid } : entry));
  }),
  mode: onEntries((entries, rng) => {
    const at = rng.int(entries.length);
    return entries.map((entry, i) => (i === at ? { ...entry, mode: rng.pick([0o100755, 0o120000, 0o100664]) } : entry));
  }),
  stranger: onEntries((entries, rng, { objects }) => {
    const name = rng.pick(["x", "~", "0", "k1", "a b", keyName(`k${rng.int(900)}`)]);
    return sortEntries([...entries, { mode: MODE.file, name, oid: objects.write("blob", rng.bytes(3)) }]);
  }),
  // Git reads a mode with leading zeros.
  padded: (data) => {
    const at = data.indexOf("40000 ");
    return at < 0 ? data : Buffer.concat([data.subarray(0, at), Buffer.from("0"), data.subarray(at)]);
  },
  empty: onEntries((entries, rng, { objects }) =>
    sortEntries([
      ...entries.filter(({ mode }) => mode === MODE.tree),
      { mode: MODE.tree, name: "0123456789abcdef"[rng.int(16)]!, oid: objects.format.emptyTree },
    ]),
  ),
  split: onEntries((entries, _rng, { tree, encode }) => {
    if (entries.some(({ mode }) => mode === MODE.tree)) return entries;
    return [..."0123456789abcdef"].flatMap((digit) => {
      const part = entries.filter(({ name }) => trieDigits("data", name)?.startsWith(digit));
      return part.length === 0 ? [] : [{ mode: MODE.tree, name: digit, oid: tree(encode(part)) }];
    });
  }),
  fold: onEntries((entries, _rng, { objects }) =>
    sortEntries(
      entries.flatMap((entry) =>
        entry.mode === MODE.tree ? parseTree(objects.format, objects.read(entry.oid)!.data) : [entry],
      ),
    ),
  ),
};

/** What is done to branches only. */
const OF_BRANCHES: ReadonlySet<Forgery | undefined> = new Set([FORGERIES.fold, FORGERIES.padded]);

/** Forges one directory of the trie `root`, chosen by chance. */
function forge(root: Oid, forgery: Forgery, rng: Random, forger: Forger): Oid {
  const { objects } = forger;
  const { format } = objects;
  const { data } = objects.read(root)!;
  const entries = parseTree(format, data);
  const below = entries.filter(({ mode }) => mode === MODE.tree);
  if (below.length === 0 || OF_BRANCHES.has(forgery) || rng.int(3) === 0)
    return forger.tree(forgery(data, rng, forger));
  const chosen = rng.pick(below);
  const oid = forge(chosen.oid, forgery, rng, forger);
  return forger.tree(forger.encode(entries.map((entry) => (entry === chosen ? { ...entry, oid } : entry))));
}

const sorted = (changes: readonly FileChange[]): string[] =>
  changes.map(({ fileName, before, after }) => `${fileName} ${before ?? "-"} ${after ?? "-"}`).sort();

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  const objects = new MemoryObjects(format);
  const forger: Forger = {
    objects,
    tree: (data) => objects.write("tree", data),
    encode: (entries) => encodeTree(format, entries),
  };
  const blob = (text: string): Oid => objects.write("blob", Buffer.from(text));
  const change = (key: string, oid: Oid | undefined): TrieChange => ({
    digits: keyDigits(key),
    name: keyName(key),
    oid,
  });
  const update = (root: Oid | undefined, changes: readonly TrieChange[]): Oid | undefined =>
    updateTrie(new NodeWriter(objects, objects), "data", root, changes);
  const asChanges = (found: readonly FileChange[]): TrieChange[] =>
    found.map(({ fileName, after }) => ({ digits: trieDigits("data", fileName)!, name: fileName, oid: after }));

  /** A trie of some keys and what some changes make of it, mostly near the counts at which directories split and fold. */
  function step(rng: Random): { before: Oid | undefined; after: Oid | undefined; expected: string[] } {
    const held = new Map<string, Oid>();
    const keys = rng.pick([0, 3, 250, 256, 257, 262, 700]);
    for (let i = 0; i < keys; i++) held.set(`k${i}`, blob(`${i}`));
    const before = update(
      undefined,
      [...held].map(([key, oid]) => change(key, oid)),
    );
    const changes = new Map<string, Oid | undefined>();
    for (let n = rng.pick([0, 1, 4, 12, 450]); n > 0; n--) {
      const key = `k${rng.int(keys + rng.pick([1, 10]))}`;
      changes.set(key, rng.int(2) === 0 && held.has(key) ? undefined : blob(`new ${rng.int(4)}`));
    }
    const after = update(
      before,
      [...changes].map(([key, oid]) => change(key, oid)),
    );
    const expected = [...changes]
      .filter(([key, oid]) => held.get(key) !== oid)
      .map(([key, oid]) => ({ fileName: keyName(key), before: held.get(key), after: oid }));
    return { before, after, expected: sorted(expected) };
  }

  /** The changes, or why there are none. */
  function outcome(source: ObjectSource, before: Oid | undefined, after: Oid): FileChange[] | string {
    try {
      return diffTries(source, "data", before, after, LIMIT);
    } catch (error) {
      if (error instanceof KvError) return `${error.code}: ${error.message}`;
      throw error;
    }
  }

  /** The objects as they arrive; a forgery that cannot be parsed is as it is. */
  function reduced(before: Oid | undefined, after: Oid): ObjectSource {
    try {
      return withChanges(objects, before, after);
    } catch (error) {
      if (error instanceof KvError && error.code === "BAD_OBJECT") return objects;
      throw error;
    }
  }

  test("what a writer makes is never refused, and its changes are found", () => {
    const rng = random("tries of a writer");
    let told = 0;
    for (let round = 0; round < 150; round++) {
      const { before, after, expected } = step(rng);
      const found = diffTries(objects, "data", before, after, LIMIT);
      expect(sorted(found)).toEqual(expected);
      const arrived = withChanges(objects, before, after);
      const named = diffTries(arrived, "data", before, after, LIMIT, new KeyNames());
      expect(named.map(({ known: _, ...change }) => change)).toEqual(found.map(({ known: _, ...change }) => change));
      for (const { fileName, known } of named) {
        if (known === undefined) continue;
        expect(known.digits).toBe(trieDigits("data", fileName)!);
        told++;
      }
      expect(update(before, asChanges(found))).toBe(after);
    }
    expect(told).toBeGreaterThan(100);
  });

  test.each(Object.entries(FORGERIES))(
    "forged by %s: refused, or what a writer makes of the difference",
    (name, forgery) => {
      const rng = random(`tries forged by ${name}`);
      let refused = 0;
      for (let round = 0; round < 60; round++) {
        const { before, after } = step(rng);
        if (after === undefined) continue;
        const forged = forge(after, forgery, rng, forger);
        const [found, asArrived] = [objects, reduced(before, forged)].map((source) => outcome(source, before, forged));
        expect(asArrived).toEqual(found!);
        if (typeof found === "string") {
          expect(found).toMatch(/^(KEY_INVALID|REPLAY_MISMATCH|BAD_OBJECT): /);
          // The writer's own trie is refused by nobody.
          expect(forged).not.toBe(after);
          refused++;
          continue;
        }
        expect(update(before, asChanges(found!))).toBe(forged);
      }
      // Another value, or one file less, is a change like any other.
      if (name !== "oid" && name !== "drop") expect(refused).toBeGreaterThan(0);
    },
  );
});
