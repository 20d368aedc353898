/** The replay check against forged transactions: each is refused, with the code that says why, in bounded time. */

import { beforeAll, describe, expect, test } from "bun:test";
import { utf8ToByteString } from "../../src/bytes.ts";
import { KvError } from "../../src/errors.ts";
import { type Oid, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { encodeTree, MODE, type TreeEntry } from "../../src/gitwire/object/tree.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { keyDigits, keyName } from "../../src/kv/key.ts";
import type { SetOperation } from "../../src/kv/operation.ts";
import { encodeMetadata } from "../../src/kv/record.ts";
import { type ReplayLimits, replayTransaction } from "../../src/kv/replay.ts";
import type { NamespaceState } from "../../src/kv/state.ts";
import { type Files, type Forgery, filesOf, forge, treeOf } from "../support/forge.ts";
import { KvModel } from "../support/kv-model.ts";
import { random } from "../support/random.ts";

const LIMITS: ReplayLimits = { maxKeys: 1000, maxInline: 4096 };

function replay(
  model: KvModel,
  base: NamespaceState | undefined,
  next: NamespaceState,
  limits = LIMITS,
): string | string[] {
  try {
    const changes = replayTransaction(model.objects, base, next, etagOf, limits);
    return changes.map(({ kind, key, rev }) => `${kind} ${key} ${rev}`);
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
}

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  const model = new KvModel(format);
  const { objects } = model;
  let base: NamespaceState;
  let honest: NamespaceState;
  /** Where the honest transaction put "key". */
  let dataPath: string;
  let metaPath: string;

  beforeAll(() => {
    // 300 keys: the tries are split once, the kv-index too.
    model.commit(Array.from({ length: 300 }, (_, i) => model.set(`k${i}`, `v${i}`)));
    model.commit([model.del("k299")]);
    base = model.state!;
    model.commit([model.set("key", "value", { labels: { a: "b" }, expires: 1_800_000_000, ctype: "text/plain" })]);
    honest = model.state!;
    const paths = [...filesOf(objects, honest.ledger.tree).keys()];
    dataPath = paths.find((path) => path.startsWith("data/") && path.endsWith("/key"))!;
    metaPath = paths.find((path) => path.endsWith("/key.meta"))!;
  });

  const blob = (text: string | Buffer): Oid => objects.write("blob", Buffer.from(text));
  const text = (oid: Oid): string => objects.read(oid)!.data.toString();
  const file = (oid: Oid, mode: number = MODE.file): { mode: number; oid: Oid } => ({ mode, oid });

  /** The code a change of the honest transaction's ledger files meets. */
  function forged(change: (files: Files) => void, claims: Partial<Forgery> = {}, from = base): string | string[] {
    const files = filesOf(objects, honest.ledger.tree);
    change(files);
    const tree = treeOf(objects, files);
    return replay(model, from, forge(objects, from, { tree, indexTree: honest.ledger.indexTree, ...claims }));
  }

  function forgedIndex(change: (files: Files) => void): string | string[] {
    const files = filesOf(objects, honest.ledger.indexTree);
    change(files);
    return replay(model, base, forge(objects, base, { tree: honest.ledger.tree, indexTree: treeOf(objects, files) }));
  }

  const metadata = (change: (json: string) => string): ((files: Files) => void) => {
    return (files) => {
      const before = text(files.get(metaPath)!.oid);
      const after = change(before);
      if (after === before) throw new Error("the forgery changed nothing");
      files.set(metaPath, file(blob(after)));
    };
  };

  test("the honest transaction passes, and so does its forgery that changes nothing", () => {
    expect(replay(model, base, honest)).toEqual(["set key 1"]);
    expect(forged(() => {})).toEqual(["set key 1"]);
    expect(forgedIndex(() => {})).toEqual(["set key 1"]);
  });

  test("entries of the kv-index hidden, invented, misplaced, renamed or altered", () => {
    const refOf = (files: Files, key: string): string =>
      [...files.keys()].find((path) => path.split("/").at(-1)!.startsWith(`${key}`) && path.includes(`${key}`))!;
    const moved = (from: string, to: (path: string) => string) => (files: Files) => {
      const path = refOf(files, from);
      const entry = files.get(path)!;
      files.delete(path);
      files.set(to(path), entry);
    };
    expect(forgedIndex((files) => files.delete(refOf(files, "key@")))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex((files) => files.delete(refOf(files, "k299.del")))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex((files) => files.delete(refOf(files, "k1.ref")))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex((files) => files.set("new.ref", file(blob("{}"))))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex(moved("k1.ref", () => "k1.ref"))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex(moved("key@", (path) => path.replace("@1800000000", "")))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex(moved("key@", (path) => path.replace("@1800000000", "@1900000000")))).toBe("REPLAY_MISMATCH");
    expect(forgedIndex(moved("key@", (path) => path.replace(".ref", ".del")))).toBe("REPLAY_MISMATCH");
    const altered = (files: Files): void => {
      const path = refOf(files, "key@");
      files.set(path, file(blob(text(files.get(path)!.oid).replace('"rev":1', '"rev":2'))));
    };
    expect(forgedIndex(altered)).toBe("REPLAY_MISMATCH");
    const unread = forge(objects, base, { tree: honest.ledger.tree, indexTree: blob("no tree") });
    expect(replay(model, base, unread)).toBe("REPLAY_MISMATCH");
  });

  test("metadata that says something else, or says it otherwise", () => {
    const other = objects.format.hexSize === 40 ? "1".repeat(40) : "1".repeat(64);
    const changes: [string, (json: string) => string][] = [
      ["size", (json) => json.replace('"size":5', '"size":6')],
      ["etag", (json) => json.replace(/blake3:./, "blake3:g")],
      ["etag of something else", (json) => json.replace(/blake3:[0-9a-f]{64}/, etagOf(Buffer.from("other")))],
      ["rev", (json) => json.replace('"rev":1', '"rev":7')],
      ["base", (json) => json.replace(/"base":"[0-9a-f]+"/, `"base":"${other}"`)],
      ["no base", (json) => json.replace(/"base":"[0-9a-f]+",/, "")],
      ["key", (json) => json.replace('"key":"key"', '"key":"kez"')],
      ["version", (json) => json.replace('"v":1', '"v":2')],
      ["type", (json) => json.replace('"inline"', '"outline"')],
      ["media type", (json) => json.replace("text/plain", "text")],
      ["long media type", (json) => json.replace("text/plain", `text/${"x".repeat(300)}`)],
      ["labels in a list", (json) => json.replace('{"a":"b"}', '["b"]')],
      ["labels that are none", (json) => json.replace('{"a":"b"}', '{"a":1}')],
      ["empty labels", (json) => json.replace('{"a":"b"}', "{}")],
      ["long label", (json) => json.replace('"b"', `"${"b".repeat(2000)}"`)],
      ["expires", (json) => json.replace("1800000000", "1800000001")],
      ["expires past all time", (json) => json.replace("1800000000", "9007199254740991")],
      ["negative expires", (json) => json.replace("1800000000", "-1")],
      ["a space", (json) => json.replace(",", ", ")],
      ["a newline", (json) => `${json}\n`],
      ["an escape", (json) => json.replace('"text/plain"', '"text\\/plain"')],
      ["another order", (json) => json.replace('"v":1,"key":"key"', '"key":"key","v":1')],
      ["another field", (json) => json.replace('"v":1', '"v":1,"w":1')],
      ["a field twice", (json) => json.replace('"v":1', '"v":1,"v":1')],
      ["no JSON", (json) => json.slice(1)],
      ["no object", () => "[]"],
      ["nothing", () => ""],
    ];
    for (const [what, change] of changes) {
      expect([what, forged(metadata(change))]).toEqual([what, "REPLAY_MISMATCH"]);
    }
    expect(forged(metadata((json) => json.replace('"inline"', '"chunked"')))).toBe("UNSUPPORTED");
  });

  test("values and metadata that do not belong together", () => {
    const value = (files: Files): void => void files.set(dataPath, file(blob("other")));
    expect(forged(value)).toBe("REPLAY_MISMATCH");
    expect(forged((files) => files.delete(dataPath))).toBe("REPLAY_MISMATCH");
    expect(forged((files) => files.delete(metaPath))).toBe("REPLAY_MISMATCH");
    const first = [...filesOf(objects, base.ledger.tree).keys()].find((path) => path.startsWith("data/"))!;
    expect(forged((files) => files.set(first, file(blob("touched"))))).toBe("REPLAY_MISMATCH");
    expect(forged((files) => files.delete(first))).toBe("REPLAY_MISMATCH");
    const manifest = (files: Files): void => void files.set(`${dataPath}.manifest.json`, file(blob("{}")));
    expect(["UNSUPPORTED", "REPLAY_MISMATCH"]).toContain(forged(manifest) as string);
    const onlyManifest = (files: Files): void => {
      files.delete(dataPath);
      manifest(files);
    };
    expect(forged(onlyManifest)).toBe("UNSUPPORTED");
    const large = Buffer.alloc(5000, "x");
    const replaced = (files: Files): void => {
      files.set(dataPath, file(blob(large)));
      metadata((json) => json.replace('"size":5', '"size":5000').replace(/blake3:\w+/, etagOf(large)))(files);
    };
    expect(forged(replaced)).toBe("VALUE_TOO_LARGE");
  });

  test("counts that are not the ones of the changes", () => {
    for (const claims of [{ keysSet: 0 }, { keysSet: 2 }, { keysDel: 1 }]) {
      expect([claims, forged(() => {}, claims)]).toEqual([claims, "REPLAY_MISMATCH"]);
    }
    const deleted = (files: Files): void => {
      for (const path of files.keys()) if (/\/k7(\.meta)?$/.test(path)) files.delete(path);
    };
    expect(forged(deleted)).toBe("REPLAY_MISMATCH");
  });

  test("a writer that lies everywhere alike", () => {
    const lie = (change: Partial<Omit<SetOperation, "value">> & { value?: object }, key = "lie"): string | string[] => {
      const liar = new KvModel(format);
      for (const [oid, object] of objects.objects) liar.objects.objects.set(oid, object);
      liar.state = base;
      const operation = liar.set(key, "value") as SetOperation;
      liar.commit([{ ...operation, ...change, value: { ...operation.value, ...change.value } }]);
      return replay(liar, base, liar.state!);
    };
    expect(lie({})).toEqual(["set lie 1"]);
    expect(lie({ expires: 253_402_300_799 })).toEqual(["set lie 1"]);
    const lies: [Parameters<typeof lie>[0], string][] = [
      [{ value: { size: 6 } }, "REPLAY_MISMATCH"],
      [{ value: { etag: etagOf(Buffer.from("other")) } }, "REPLAY_MISMATCH"],
      [{ value: { ctype: "none" } }, "REPLAY_MISMATCH"],
      [{ value: { ctype: "" } }, "REPLAY_MISMATCH"],
      [{ value: { type: "chunked" } }, "UNSUPPORTED"],
      [{ value: { oid: blob("x".repeat(5000)) } }, "VALUE_TOO_LARGE"],
      [{ value: { oid: base.ledger.tree } }, "BAD_OBJECT"],
      [{ expires: 253_402_300_800 }, "REPLAY_MISMATCH"],
      [{ expires: Number.MAX_SAFE_INTEGER }, "REPLAY_MISMATCH"],
      [{ labels: { a: "v".repeat(1025) } }, "REPLAY_MISMATCH"],
      [{ labels: { "": "v" } }, "REPLAY_MISMATCH"],
    ];
    for (const [change, code] of lies) expect([change, lie(change)]).toEqual([change, code]);
    for (const key of ["x".repeat(1025), "x\u0001", "\u007f"])
      expect([key, lie({}, key)]).toEqual([key, "KEY_INVALID"]);
  });

  test("a value set anew without a change", () => {
    const again = (files: Files): void => {
      const json = text(files.get(metaPath)!.oid).replace('"rev":1', '"rev":2');
      files.set(metaPath, file(blob(json.replace(/"base":"[0-9a-f]+"/, `"base":"${honest.ledger.oid}"`))));
    };
    expect(forged(again, {}, honest)).toBe("REPLAY_MISMATCH");
  });

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

  /** A forgery of the root's raw entries. */
  function rawRoot(change: (entries: TreeEntry[]) => TreeEntry[]): string | string[] {
    const entries: TreeEntry[] = [
      { mode: MODE.tree, name: "data", oid: honest.data! },
      { mode: MODE.file, name: "kv.json", oid: filesOf(objects, honest.ledger.tree).get("kv.json")!.oid },
      { mode: MODE.tree, name: "meta", oid: honest.meta! },
    ];
    const tree = objects.write("tree", encodeTree(format, change(entries)));
    return replay(model, base, forge(objects, base, { tree, indexTree: honest.ledger.indexTree }));
  }

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

  test("long names whose keys are no keys, or other keys", () => {
    const place = (key: string, name = keyName(key), digits = keyDigits(key)): string | string[] =>
      forged(
        (files) => {
          const fields = {
            type: "inline",
            size: 1,
            etag: etagOf(Buffer.from("x")),
            ctype: "text/plain",
            rev: 1,
          } as const;
          files.set(`data/${digits[0]}/${name}`, file(blob("x")));
          const json = encodeMetadata(key, { ...fields, base: base.ledger.oid });
          files.set(`meta/${digits[0]}/${name}.meta`, file(blob(typeof json === "string" ? json : json.join(""))));
        },
        { keysSet: 2 },
      );
    const good = "x".repeat(1000);
    // The kv-index is the one without it: the key itself is fine.
    expect(place(good)).toBe("REPLAY_MISMATCH");
    expect(place("x".repeat(1025))).toBe("KEY_INVALID");
    expect(place(`${"x".repeat(300)}\n`)).toBe("KEY_INVALID");
    expect(place(good, keyName(good).replace("x", "y"))).toBe("REPLAY_MISMATCH");
    const other = "y".repeat(1000);
    expect(place(good, keyName(other), keyDigits(other))).toBe("REPLAY_MISMATCH");
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

  test("honest histories replay to what they changed", () => {
    const rng = random("replay");
    const history = new KvModel(format);
    const keys = Array.from({ length: 700 }, (_, i) => `${rng.pick(["user:", "", `${"p".repeat(80)}/`])}${i}`);
    const live = new Set<string>();
    for (let round = 0; round < 25; round++) {
      const before = history.state;
      const picked = rng.shuffle(keys).slice(0, rng.pick([1, 2, 50, 400]));
      const operations = picked.map((key) => {
        if (live.has(key) && rng.int(2) === 0) {
          live.delete(key);
          return history.del(key);
        }
        live.add(key);
        const expires = rng.int(4) === 0 ? 1_700_000_000 + rng.int(10) : undefined;
        const labels = rng.int(4) === 0 ? { l: String(rng.int(3)) } : undefined;
        return history.set(key, `v${rng.int(4)}`, { ...(expires && { expires }), ...(labels && { labels }) });
      });
      const plan = history.commit(operations);
      if (plan.kind === "unchanged") continue;
      const expected = plan.changes.map(({ kind, key, rev }) => `${kind} ${key} ${rev}`);
      expect(replay(history, before, history.state!)).toEqual(expected);
      expect(expected.length).toBeLessThanOrEqual(new Set(picked.map(utf8ToByteString)).size);
    }
  });
});
