/** The replay check against forged trees: paths, modes, shapes, sizes; refused with the right code and in bounded time. */

import { describe, expect, test } from "bun:test";
import { type Oid, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { encodeTree, MODE, type TreeEntry } from "../../src/gitwire/object/tree.ts";
import { keyDigits } from "../../src/kv/key.ts";
import { type Files, filesOf, forge, treeOf } from "../support/forge.ts";
import { KvModel } from "../support/kv-model.ts";
import { replay, replayFixture } from "../support/replay-fixture.ts";

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  const { model, objects, base, honest, dataPath, metaPath, blob, file, forged, rawRoot } = replayFixture(format);

  test("paths that are no key's own", () => {
    const paths = [
      "data/x",
      "data/zz/x",
      "data/0/0/x",
      "data/../x",
      "data/%41",
      "data/a b",
      "data/.hidden",
      "data/a.meta",
      `${"data/"}${"a".repeat(201)}`,
      "meta/x.meta",
      "meta/x",
      "extra",
      "extra/x",
      "kv.json.bak",
    ];
    for (const path of paths) {
      expect([path, forged((files) => files.set(path, file(blob("x"))))]).toEqual([path, "KEY_INVALID"]);
    }
    const move = (prefix: string) => (files: Files) => {
      const entry = files.get(dataPath)!;
      files.delete(dataPath);
      files.set(`data/${prefix}key`, entry);
    };
    const digit = dataPath.split("/")[1]!;
    const wrong = digit === "0" ? "1" : "0";
    expect(forged(move(`${wrong}/`))).toBe("KEY_INVALID");
    expect(forged(move(`${digit.toUpperCase()}${digit.toUpperCase()}/`))).toBe("KEY_INVALID");
    expect(forged(move(`${keyDigits("key").slice(0, 2).split("").join("/")}/`))).not.toBeArray();
  });

  test("modes: executable, symlink, submodule, directory", () => {
    for (const mode of [MODE.executable, MODE.symlink, MODE.gitlink, 0o100600]) {
      for (const path of [dataPath, metaPath, "kv.json"]) {
        const change = (files: Files): void => void files.set(path, file(files.get(path)!.oid, mode));
        expect([mode, path, forged(change)]).toEqual([mode, path, "KEY_INVALID"]);
      }
    }
    const untouched = [...filesOf(objects, base.ledger.tree).keys()].find((path) => /^data\/.*\/k1$/.test(path))!;
    const executable = (files: Files): void => {
      files.set(untouched, file(files.get(untouched)!.oid, MODE.executable));
    };
    expect(forged(executable)).toBe("KEY_INVALID");
    for (const path of [dataPath, metaPath]) {
      const change = (files: Files): void => void files.set(path, file(treeOf(objects, new Map()), MODE.tree));
      expect(["KEY_INVALID", "REPLAY_MISMATCH"]).toContain(forged(change) as string);
    }
    const dataIsFile = (files: Files): void => {
      for (const path of files.keys()) if (path.startsWith("data/")) files.delete(path);
      files.set("data", file(blob("x")));
    };
    expect(forged(dataIsFile)).toBe("KEY_INVALID");
    const kvJsonIsTree = (files: Files): void => {
      files.delete("kv.json");
      files.set("kv.json/x", file(blob("x")));
    };
    expect(forged(kvJsonIsTree)).toBe("KEY_INVALID");
  });

  test("kv.json changed or missing", () => {
    expect(forged((files) => files.delete("kv.json"))).toBe("REPLAY_MISMATCH");
    for (const content of ['{"v":1,"ns":"other","object_format":"sha1"}', "", '{"v":1}']) {
      expect(forged((files) => files.set("kv.json", file(blob(content))))).toBe("REPLAY_MISMATCH");
    }
    const other = { keysSet: 1, ns: "other" };
    expect(forged(() => {}, other)).toBe("REPLAY_MISMATCH");
  });

  test("entries twice or out of order, in the root and below", () => {
    expect(rawRoot((entries) => entries)).toEqual(["set key 1"]);
    expect(rawRoot((entries) => [...entries, entries[2]!])).toBe("REPLAY_MISMATCH");
    expect(rawRoot((entries) => [entries[0]!, { ...entries[0]!, oid: base.data! }, ...entries.slice(1)])).toBe(
      "REPLAY_MISMATCH",
    );
    expect(rawRoot((entries) => entries.toReversed())).toBe("REPLAY_MISMATCH");
    const children = (root: Oid): TreeEntry[] =>
      [...filesOf(objects, root)].map(([name, entry]) => ({ ...entry, name }));
    const [directory] = dataPath.slice("data/".length).split("/") as [string];
    const branch = "0123456789abcdef".split("").map((digit): TreeEntry => {
      const files = [...filesOf(objects, honest.data)].filter(([path]) => path.startsWith(`${digit}/`));
      return {
        mode: MODE.tree,
        name: digit,
        oid: treeOf(objects, new Map(files.map(([path, entry]) => [path.slice(2), entry]))),
      };
    });
    const withData = (entries: TreeEntry[]): string | string[] =>
      rawRoot((root) => [{ ...root[0]!, oid: objects.write("tree", encodeTree(format, entries)) }, ...root.slice(1)]);
    expect(withData(branch)).toEqual(["set key 1"]);
    expect(withData(branch.toReversed())).toBe("REPLAY_MISMATCH");
    expect(withData([...branch, branch[0]!])).toBe("KEY_INVALID");
    const leaf = branch.find(({ name }) => name === directory)!;
    const twice = children(leaf.oid);
    twice.splice(0, 0, twice[0]!);
    const broken = branch.map((entry) =>
      entry === leaf ? { ...leaf, oid: objects.write("tree", encodeTree(format, twice)) } : entry,
    );
    expect(["REPLAY_MISMATCH", "KEY_INVALID"]).toContain(withData(broken) as string);
  });

  test("a directory not split, or not folded", () => {
    const flat = (files: Files): void => {
      for (const [path, entry] of [...files]) {
        if (path === "kv.json") continue;
        files.delete(path);
        files.set(`${path.split("/")[0]}/${path.split("/").at(-1)}`, entry);
      }
    };
    expect(forged(flat)).toBe("REPLAY_MISMATCH");
    const small = new KvModel(format);
    small.commit([small.set("a", "1")]);
    const before = small.state!;
    small.commit([small.set("b", "2")]);
    const files: Files = new Map();
    for (const [path, entry] of filesOf(small.objects, small.state!.ledger.tree)) {
      const [trie, name] = path.split("/") as [string, string | undefined];
      files.set(name === undefined ? path : `${trie}/${keyDigits(name[0]!)[0]}/${name}`, entry);
    }
    const { indexTree } = small.state!.ledger;
    expect(replay(small, before, forge(small.objects, before, { tree: treeOf(small.objects, files), indexTree }))).toBe(
      "REPLAY_MISMATCH",
    );
  });

  test("more keys than allowed, whichever way they come", () => {
    const many = new KvModel(format);
    many.commit([]);
    const empty = many.state;
    many.commit(Array.from({ length: 1300 }, (_, i) => many.set(`m${i}`, "v")));
    expect(replay(many, empty, many.state!)).toBe("TXN_TOO_LARGE");
    expect(replay(many, undefined, many.state!)).toBe("TXN_TOO_LARGE");
    const large = { maxKeys: 1300, maxInline: 4096 };
    expect(replay(many, empty, many.state!, large)).toBeArrayOfSize(1300);
    const full = many.state!;
    many.commit(Array.from({ length: 1300 }, (_, i) => many.del(`m${i}`)));
    expect(replay(many, full, many.state!)).toBe("TXN_TOO_LARGE");
    expect(replay(many, full, many.state!, large)).toBeArrayOfSize(1300);
    const files: Files = new Map([["kv.json", filesOf(objects, base.ledger.tree).get("kv.json")!]]);
    for (let i = 0; i < 20_000; i++) files.set(`data/n${i}`, file(blob("x")));
    const flat = forge(objects, undefined, { tree: treeOf(objects, files), indexTree: format.emptyTree });
    expect(replay(model, undefined, flat)).toBe("TXN_TOO_LARGE");
  });

  test("nesting deeper than digits, and trees that are few to send and endless to walk", () => {
    const start = performance.now();
    const root = (data: Oid): string | string[] => {
      const entries: TreeEntry[] = [
        { mode: MODE.tree, name: "data", oid: data },
        { mode: MODE.file, name: "kv.json", oid: filesOf(objects, base.ledger.tree).get("kv.json")!.oid },
      ];
      const tree = objects.write("tree", encodeTree(format, entries));
      const codes = [base, undefined].map((from) =>
        replay(model, from, forge(objects, from, { tree, indexTree: format.emptyTree })),
      );
      expect(codes[0]).toEqual(codes[1]!);
      return codes[0]!;
    };
    const wrap = (below: Oid, digits: string): Oid =>
      objects.write(
        "tree",
        encodeTree(
          format,
          [...digits].map((name) => ({ mode: MODE.tree, name, oid: below })),
        ),
      );
    const levels = (bottom: Oid, digits: string, depth: number): Oid => {
      let oid = bottom;
      for (let i = 0; i < depth; i++) oid = wrap(oid, digits);
      return oid;
    };
    const empty = treeOf(objects, new Map());
    const one = treeOf(objects, new Map([["key", file(blob("value"))]]));
    expect(root(empty)).toBe("KEY_INVALID");
    expect(root(levels(empty, "0123456789abcdef", 60))).toBe("KEY_INVALID");
    expect(root(levels(one, "0123456789abcdef", 60))).toBe("KEY_INVALID");
    expect(root(levels(one, "0", 3000))).toBe("KEY_INVALID");
    let chain = one;
    for (const digit of [...keyDigits("key")].toReversed()) chain = wrap(chain, digit);
    expect(root(chain)).toBe("REPLAY_MISMATCH");
    expect(performance.now() - start).toBeLessThan(2000);
  });

  test("a damaged tree is an error of its own", () => {
    const cut = objects.read(honest.data!)!.data;
    for (const data of [cut.subarray(0, cut.length - 1), cut.subarray(1), Buffer.from("x")]) {
      expect(rawRoot((entries) => [{ ...entries[0]!, oid: objects.write("tree", data) }, ...entries.slice(1)])).toBe(
        "BAD_OBJECT",
      );
    }
    const missing = "1".repeat(format.hexSize);
    expect(rawRoot((entries) => [{ ...entries[0]!, oid: missing }, ...entries.slice(1)])).toBe("BAD_OBJECT");
    expect(forged((files) => files.set(metaPath, file(missing)))).toBe("BAD_OBJECT");
    expect(forged((files) => files.set(dataPath, file(missing)))).toBe("BAD_OBJECT");
  });
});
