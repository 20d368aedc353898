/**
 * A kv-index that somebody claims against the one that operations make: whatever is claimed, updateIndex comes to the same root as
 * without a claim, and asks for each operation once. Where the claim is right, its leaves are not made once more.
 */

import { describe, expect, test } from "bun:test";
import type { ObjectSource } from "../../src/gitwire/object/object.ts";
import { type Oid, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { encodeTree, MODE, parseTree, sortEntries, type TreeEntry } from "../../src/gitwire/object/tree.ts";
import { indexFileName, type KeyState } from "../../src/kv/index-file.ts";
import type { IndexFile, IndexState } from "../../src/kv/index-node.ts";
import { type IndexOp, updateIndex } from "../../src/kv/index-tree.ts";
import { keyName } from "../../src/kv/key.ts";
import { NodeWriter } from "../../src/kv/node-writer.ts";
import { encodePointer } from "../../src/kv/record.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { type Random, random } from "../support/random.ts";
import { withChanges } from "../support/with-changes.ts";

/** An operation, and what it makes of its key; undefined leaves it alone. */
interface Op extends IndexOp {
  readonly to: { readonly state: KeyState; readonly oid: Oid } | undefined;
}

/** What a forger makes of the entries of one directory. */
type Forgery = (entries: TreeEntry[], rng: Random, blob: (text: string) => Oid) => TreeEntry[];

const at = (entries: readonly TreeEntry[], rng: Random): number => rng.int(entries.length);

const FORGERIES: Readonly<Record<string, Forgery>> = {
  hidden: (entries, rng) => entries.toSpliced(at(entries, rng), 1),
  invented: (entries, _rng, blob) => sortEntries([...entries, { mode: MODE.file, name: "zz.ref", oid: blob("zz") }]),
  "pointing elsewhere": (entries, rng, blob) =>
    entries.with(at(entries, rng), { ...rng.pick(entries), oid: blob("elsewhere") }),
  "its id only": (entries, rng, blob) => {
    const i = at(entries, rng);
    return entries[i]!.mode === MODE.tree ? entries : entries.with(i, { ...entries[i]!, oid: blob("another") });
  },
  renamed: (entries, rng) => {
    const i = at(entries, rng);
    const name = entries[i]!.name.replace(/\.(ref|del)$/, (suffix) => (suffix === ".ref" ? ".del" : ".ref"));
    return sortEntries(entries.with(i, { ...entries[i]!, name }));
  },
  "of two states": (entries, rng) => {
    const { name, oid, mode } = rng.pick(entries);
    return sortEntries([...entries, { mode, oid, name: name.replace(/\.ref$/, "@1900000000.ref").replace("~", "~~") }]);
  },
  executable: (entries, rng) => {
    const i = at(entries, rng);
    return entries[i]!.mode === MODE.tree ? entries : entries.with(i, { ...entries[i]!, mode: MODE.executable });
  },
  "out of order": (entries) => entries.toReversed(),
  twice: (entries, rng) => entries.toSpliced(at(entries, rng), 0, rng.pick(entries)),
  "a stranger": (entries, rng, blob) =>
    sortEntries([
      ...entries,
      { mode: MODE.file, name: rng.pick(["x", "a b.ref", ".ref", "k1@01.ref"]), oid: blob("x") },
    ]),
};

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  const objects = new MemoryObjects(format);
  const blob = (text: string): Oid => objects.write("blob", Buffer.from(text));
  // A long key's name does not tell it: its record does.
  const pointer = (key: string, rev: number): Oid =>
    blob(encodePointer(key, { type: "inline", oid: format.zeroOid, size: 1, ctype: "text/plain", rev }).join(""));
  const encode = (entries: readonly TreeEntry[]): Oid => objects.write("tree", encodeTree(format, entries));

  /** Applies ops; what was asked, and how many trees were made. */
  function apply(source: ObjectSource, root: Oid, ops: readonly Op[], claimed?: Oid) {
    const asked: string[] = [];
    let made = 0;
    const sink = {
      format,
      write: (...of: Parameters<MemoryObjects["write"]>) => {
        made++;
        return objects.write(...of);
      },
      writeDelta: (...of: Parameters<MemoryObjects["writeDelta"]>) => {
        made++;
        return objects.writeDelta(...of);
      },
    };
    const resolve = (op: Op, existing: IndexState | undefined): IndexFile | undefined => {
      if (existing?.record !== undefined) expect(existing.record).toEqual(objects.read(existing.oid)!.data);
      asked.push(`${op.name} ${existing?.fileName} ${existing?.oid} ${JSON.stringify(existing?.state)}`);
      return op.to && { fileName: indexFileName(op.name, op.to.state), oid: op.to.oid };
    };
    const oid = updateIndex(new NodeWriter(source, sink), root, ops, resolve, claimed);
    return { oid, asked: asked.sort(), made };
  }

  /** The same, that reads most objects of many at once. */
  function readingMany(source: ObjectSource, rng: Random): ObjectSource & { readonly reads: () => number } {
    let reads = 0;
    return {
      format,
      read: (oid) => source.read(oid),
      has: (oid) => source.has(oid),
      readMany(oids) {
        const found = oids.map((oid) => (rng.int(5) === 0 ? undefined : source.read(oid)));
        reads += found.filter((object) => object !== undefined).length;
        return found;
      },
      reads: () => reads,
    };
  }

  function ops(keys: Iterable<string>, to: (key: string) => Op["to"]): Op[] {
    return [...new Set(keys)].sort().map((key) => ({ key, name: keyName(key), to: to(key) }));
  }

  /** A kv-index of some keys, and operations on it. */
  function step(rng: Random): { root: Oid; changes: Op[] } {
    const count = rng.pick([0, 1, 40, 255, 256, 600, 1_500]);
    const root = rng.pick(["k", "user:", `${"long".repeat(60)}/`]);
    const keyOf = (i: number): string => (i % 50 === 7 ? `other${i}` : root + i);
    const keys = Array.from({ length: count }, (_, i) => keyOf(i));
    const live = ops(keys, (key) => ({ state: { kind: "live", expires: undefined }, oid: pointer(key, 1) }));
    const { oid } = apply(objects, format.emptyTree, live);
    const touched = Array.from({ length: rng.pick([1, 3, 30, 300]) }, () =>
      keyOf(rng.int(count + rng.pick([0, 0, 5]))),
    );
    const changes = ops(touched, (key) => {
      const kind = rng.int(6);
      if (kind === 0) return undefined;
      if (kind === 1) return { state: { kind: "deleted" }, oid: pointer(key, 3) };
      return { state: { kind: "live", expires: kind === 2 ? 1_800_000_000 : undefined }, oid: pointer(key, 2) };
    });
    return { root: oid, changes };
  }

  /** The tree with one of its directories forged. */
  function forge(oid: Oid, forgery: Forgery, rng: Random): Oid {
    const entries = parseTree(format, objects.read(oid)!.data);
    if (entries.length === 0) return oid;
    const below = entries.filter(({ mode }) => mode === MODE.tree);
    if (below.length === 0 || rng.int(3) === 0) return encode(forgery(entries, rng, blob));
    const chosen = rng.pick(below);
    const child = forge(chosen.oid, forgery, rng);
    return encode(entries.map((entry) => (entry === chosen ? { ...entry, oid: child } : entry)));
  }

  test("a right claim is found right, and its leaves are not made", () => {
    const rng = random("right claims");
    let spared = 0;
    let ahead = 0;
    for (let round = 0; round < 120; round++) {
      const { root, changes } = step(rng);
      const plain = apply(objects, root, changes);
      const arrived = withChanges(objects, root, plain.oid);
      const many = readingMany(arrived, rng);
      for (const source of [objects, arrived, many]) {
        const claimed = apply(source, root, changes, plain.oid);
        expect([claimed.oid, claimed.asked]).toEqual([plain.oid, plain.asked]);
        expect(claimed.made).toBeLessThanOrEqual(plain.made);
        spared += plain.made - claimed.made;
      }
      ahead += many.reads();
    }
    expect(spared).toBeGreaterThan(100);
    expect(ahead).toBeGreaterThan(100);
  });

  test.each(Object.entries(FORGERIES))("a claim forged by entries %s changes nothing", (name, forgery) => {
    const rng = random(`claims forged by entries ${name}`);
    let forgeries = 0;
    for (let round = 0; round < 40; round++) {
      const { root, changes } = step(rng);
      const plain = apply(objects, root, changes);
      const forged = forge(rng.int(4) === 0 ? root : plain.oid, forgery, rng);
      if (forged !== plain.oid) forgeries++;
      const arrived = withChanges(objects, root, forged);
      for (const source of [objects, arrived, readingMany(arrived, rng)]) {
        const claimed = apply(source, root, changes, forged);
        expect([claimed.oid, claimed.asked]).toEqual([plain.oid, plain.asked]);
      }
    }
    expect(forgeries).toBeGreaterThan(10);
  });

  test("what is no tree, or not here, changes nothing either", () => {
    const rng = random("no trees");
    for (let round = 0; round < 20; round++) {
      const { root, changes } = step(rng);
      const plain = apply(objects, root, changes);
      const torn = objects.write("tree", Buffer.from("100644 torn"));
      for (const claim of [blob("no tree"), torn, format.emptyTree, root, "1".repeat(format.hexSize)]) {
        const claimed = apply(objects, root, changes, claim);
        expect([claimed.oid, claimed.asked]).toEqual([plain.oid, plain.asked]);
      }
    }
  });
});
