/** The ledger's tries: finding, updating, and what damaged trees come to. */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import { type Oid, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { encodeTree, MODE, type TreeEntry } from "../../src/gitwire/object/tree.ts";
import { keyDigits, keyName } from "../../src/kv/key.ts";
import {
  dataFileNames,
  findInTrie,
  LEAF_FILES,
  type TrieChange,
  trieFileName,
  trieKeyName,
  updateTrie,
} from "../../src/kv/ledger-trie.ts";
import { NodeWriter } from "../../src/kv/node-writer.ts";
import { oracleTrie } from "../support/format-oracle.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { random } from "../support/random.ts";

const change = (key: string, oid: Oid | undefined): TrieChange => ({ digits: keyDigits(key), name: keyName(key), oid });

function codeOf(read: () => unknown): string {
  try {
    read();
    return "ok";
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
}

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  const objects = new MemoryObjects(format);
  const blob = (text: string): Oid => objects.write("blob", Buffer.from(text));
  const update = (root: Oid | undefined, changes: readonly TrieChange[]): Oid | undefined =>
    updateTrie(new NodeWriter(objects, objects), "data", root, changes);
  const expected = (keys: Iterable<string>): Oid | undefined =>
    oracleTrie(
      objects,
      [...keys].map((key) => ({ key, fileName: keyName(key), oid: blob(key) })),
    );

  test("splits at 257 files and folds at 256, key by key", () => {
    const keys = Array.from({ length: LEAF_FILES + 3 }, (_, i) => `k${i}`);
    let root: Oid | undefined;
    const there = new Set<string>();
    for (const key of keys) {
      root = update(root, [change(key, blob(key))]);
      there.add(key);
      if (there.size > LEAF_FILES - 2) expect(root).toBe(expected(there)!);
    }
    for (const key of keys) {
      root = update(root, [change(key, undefined)]);
      there.delete(key);
      if (there.size > LEAF_FILES - 3 || there.size < 3) expect(root).toBe(expected(there));
    }
    expect(root).toBeUndefined();
  });

  test("random changes in groups: each root is the one the format's text gives", () => {
    const rng = random("trie");
    const there = new Set<string>();
    let root: Oid | undefined;
    for (let round = 0; round < 30; round++) {
      const limit = rng.pick([300, 900, 3000]);
      const keys = new Set(Array.from({ length: rng.pick([1, 5, 200, 700]) }, () => `k${rng.int(limit)}`));
      const removes = rng.int(2) === 0;
      root = update(
        root,
        [...keys].map((key) => change(key, removes && rng.int(8) > 0 ? undefined : blob(key))),
      );
      for (const key of keys) there.delete(key);
      for (const key of keys) if (root !== undefined && find(root, key) !== undefined) there.add(key);
      expect(root).toBe(expected(there));
    }
  });

  const find = (root: Oid, key: string): Oid | undefined =>
    findInTrie(objects, root, keyDigits(key), dataFileNames(key, keyDigits(key)))?.oid;

  test("finds every key, in one tree a level, and no other", () => {
    const keys = Array.from({ length: 5000 }, (_, i) => `user:${i}`);
    const root = update(
      undefined,
      keys.map((key) => change(key, blob(key))),
    )!;
    for (const key of keys) expect(find(root, key)).toBe(blob(key));
    objects.reads.tree = 0;
    expect(find(root, "user:17")).toBe(blob("user:17"));
    expect(objects.reads.tree).toBe(3);
    for (const key of ["user:5000", "user:", "x", "user:17.manifest.json"]) expect(find(root, key)).toBeUndefined();
  });

  test("a one-key change of 5,000 rewrites one path, as deltas", () => {
    const keys = Array.from({ length: 5000 }, (_, i) => `user:${i}`);
    const root = update(
      undefined,
      keys.map((key) => change(key, blob(key))),
    )!;
    const before = objects.objects.size;
    objects.reads.tree = 0;
    objects.deltas = 0;
    const oid = blob("new");
    const after = update(root, [change("user:17", oid)])!;
    expect([objects.objects.size - before, objects.reads.tree, objects.deltas]).toEqual([4, 3, 3]);
    expect(find(after, "user:17")).toBe(oid);
    expect(update(after, [change("user:17", blob("user:17"))])).toBe(root);
    expect(update(root, [])).toBe(root);
    expect(update(root, [change("not there", undefined)])).toBe(root);
  });

  test("a manifest is found under its own name", () => {
    const key = "large";
    const [inline, manifest] = dataFileNames(key, keyDigits(key));
    expect([inline, manifest]).toEqual(["large", "large.manifest.json"]);
    const root = update(undefined, [{ digits: keyDigits(key), name: manifest, oid: blob("{}") }])!;
    expect(findInTrie(objects, root, keyDigits(key), [inline, manifest])).toEqual({ name: manifest, oid: blob("{}") });
    expect(findInTrie(objects, root, keyDigits(key), [inline])).toBeUndefined();
  });

  describe("trees that are no trie", () => {
    const tree = (entries: TreeEntry[]): Oid => objects.write("tree", encodeTree(format, entries));
    const leaf = tree([{ mode: MODE.file, name: "a", oid: blob("a") }]);
    const bad: [string, Oid][] = [
      ["a directory that is no digit", tree([{ mode: MODE.tree, name: "x", oid: leaf }])],
      ["two digits", tree([{ mode: MODE.tree, name: "00", oid: leaf }])],
      [
        "a file beside directories",
        tree([
          { mode: MODE.tree, name: "0", oid: leaf },
          { mode: MODE.file, name: "a", oid: blob("a") },
        ]),
      ],
    ];

    test("updating one is CORRUPT", () => {
      for (const [what, root] of bad) {
        expect([what, codeOf(() => update(root, [change("b", blob("b"))]))]).toEqual([what, "CORRUPT"]);
        expect([what, codeOf(() => update(root, [change("b", undefined)]))]).toEqual([what, "CORRUPT"]);
      }
      const many = (name: string, mode: number): Oid =>
        tree([
          ...Array.from(
            { length: 256 },
            (_, i): TreeEntry => ({ mode: MODE.file, name: `0${String(i).padStart(3, "0")}`, oid: blob("a") }),
          ),
          { mode, name, oid: blob("a") },
        ]);
      for (const root of [many("bad~name", MODE.file), many("k.meta", MODE.file), many("link", MODE.symlink)]) {
        expect(codeOf(() => update(root, [change("b", blob("b"))]))).toBe("CORRUPT");
      }
    });

    test("looking into one ends, with nothing or a typed error", () => {
      for (const [, root] of bad) expect(["ok", "BAD_OBJECT", "CORRUPT"]).toContain(codeOf(() => find(root, "a")));
      let deep = leaf;
      for (let i = 0; i < 100; i++)
        deep = tree([..."0123456789abcdef"].map((name) => ({ mode: MODE.tree, name, oid: deep })));
      expect(find(deep, "a")).toBeUndefined();
      const full = objects.read(update(undefined, [change("a", blob("a")), change("b", blob("b"))])!)!.data;
      for (let end = 1; end < full.length; end++) {
        const cut = objects.write("tree", full.subarray(0, end));
        expect(["ok", "BAD_OBJECT"]).toContain(codeOf(() => find(cut, "b")));
        expect(["ok", "BAD_OBJECT"]).toContain(codeOf(() => update(cut, [change("c", blob("c"))])));
      }
      expect(codeOf(() => find("1".repeat(format.hexSize), "a"))).toBe("BAD_OBJECT");
      expect(codeOf(() => find(blob("a"), "a"))).toBe("BAD_OBJECT");
    });
  });
});

test("file names of the tries", () => {
  expect([trieFileName("data", "a"), trieFileName("meta", "a"), trieFileName("manifest", "a")]).toEqual([
    "a",
    "a.meta",
    "a.manifest.json",
  ]);
  expect([
    trieKeyName("data", "a"),
    trieKeyName("data", "a.manifest.json"),
    trieKeyName("meta", "a.meta"),
    trieKeyName("meta", "a"),
  ]).toEqual(["a", "a", "a", undefined]);
});
