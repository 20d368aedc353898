/** Listing: keys in byte order from trees alone, and damaged trees that end in typed errors. */

import { describe, expect, test } from "bun:test";
import { compare, utf8ToByteString } from "../../src/bytes.ts";
import { KvError } from "../../src/errors.ts";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { encodeTree, MODE } from "../../src/gitwire/object/tree.ts";
import { findInIndex, type ListRange, listIndex } from "../../src/kv/index-list.ts";
import { encodeTombstone } from "../../src/kv/record.ts";
import { KvModel } from "../support/kv-model.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { random } from "../support/random.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

function codeOf(read: () => unknown): string {
  try {
    read();
    return "ok";
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
}

const ROOTS = ["", "user:", "user", "cfg/é/", "日本", "x".repeat(100), "~", ".", "a.ref", `${"deep/".repeat(30)}`];

test("random states: any prefix, any start, in byte order", () => {
  const rng = random("list");
  const model = new KvModel();
  const texts = new Set<string>();
  while (texts.size < 1500) texts.add(`${rng.pick(ROOTS)}${rng.int(2000)}`);
  for (const root of ROOTS) if (root !== "") texts.add(root);
  const expires = (text: string): number | undefined =>
    text.length % 5 === 0 ? 1_700_000_000 + text.length : undefined;
  const all = [...texts];
  model.commit(all.map((text) => model.set(text, "v", { ...(expires(text) && { expires: expires(text)! }) })));
  const deleted = new Set(rng.shuffle(all).slice(0, 300));
  model.commit([...deleted].map((text) => model.del(text)));
  const keys = all.map(utf8ToByteString).sort(compare);
  const states = new Map(
    all.map((text) => [
      utf8ToByteString(text),
      deleted.has(text) ? { kind: "deleted" as const } : { kind: "live" as const, expires: expires(text) },
    ]),
  );
  const root = model.state!.ledger.indexTree;
  const check = (range: ListRange): void => {
    const { prefix = "", after = "" } = range;
    const expected = keys.filter((key) => key.startsWith(prefix) && key > after);
    const listed = [...listIndex(model.objects, root, range)];
    expect(listed.map(({ key }) => key)).toEqual(expected);
    for (const { key, state } of listed) expect(state).toEqual(states.get(key)!);
  };
  check({});
  for (const text of [...ROOTS, "user:1", "nothing", "\u00ff", "deep/deep"]) {
    check({ prefix: utf8ToByteString(text) });
    check({ after: utf8ToByteString(text) });
  }
  for (let i = 0; i < 60; i++) {
    const key = rng.pick(keys);
    check({
      prefix: key.slice(0, rng.int(key.length + 1)),
      after: rng.pick([rng.pick(keys), `${key}0`, key.slice(0, rng.int(key.length))]),
    });
  }
  for (const key of keys) expect(findInIndex(model.objects, root, key)?.state).toEqual(states.get(key)!);
  for (const text of ["missing", "user:x", "", "~~", "user:1.ref"]) {
    expect(findInIndex(model.objects, root, utf8ToByteString(text))).toBeUndefined();
  }
});

test("a listing reads no blob, and only the trees that hold the answer", () => {
  const model = new KvModel();
  model.commit(Array.from({ length: 20_000 }, (_, i) => model.set(`user:${String(i).padStart(5, "0")}`, "v")));
  const root = model.state!.ledger.indexTree;
  const { objects } = model;
  const count = (
    range: ListRange,
    limit = Number.POSITIVE_INFINITY,
  ): { keys: number; blobs: number; trees: number } => {
    objects.reads = { blob: 0, tree: 0, commit: 0, tag: 0 };
    let keys = 0;
    for (const _ of listIndex(objects, root, range)) if (++keys === limit) break;
    return { keys, blobs: objects.reads.blob, trees: objects.reads.tree };
  };
  expect(count({})).toMatchObject({ keys: 20_000, blobs: 0 });
  expect(count({ prefix: "user:0123" })).toEqual({ keys: 10, blobs: 0, trees: 5 });
  expect(count({ prefix: "user:01234" })).toEqual({ keys: 1, blobs: 0, trees: 5 });
  expect(count({ prefix: "other" })).toEqual({ keys: 0, blobs: 0, trees: 1 });
  expect(count({ after: "user:19990" }).keys).toBe(9);
  expect(count({ after: "user:10000" }, 10).trees).toBe(5);
  objects.reads.blob = 0;
  expect(findInIndex(objects, root, "user:00017")).toBeDefined();
  expect(objects.reads.blob).toBe(0);
});

test("of keys too long for their names the record is read, of those only", () => {
  const model = new KvModel();
  const long = "l".repeat(500);
  model.commit([model.set(long, "v"), model.set("short", "v")]);
  model.objects.reads.blob = 0;
  expect([...listIndex(model.objects, model.state!.ledger.indexTree)].map(({ key }) => key)).toEqual([long, "short"]);
  expect(model.objects.reads.blob).toBe(1);
});

test("the kv-index of no key is the empty tree", () => {
  const model = new KvModel();
  model.commit([]);
  expect(model.state!.ledger.indexTree).toBe(TEST_FORMAT.emptyTree);
  expect([...listIndex(model.objects, TEST_FORMAT.emptyTree)]).toEqual([]);
  expect(findInIndex(model.objects, TEST_FORMAT.emptyTree, "a")).toBeUndefined();
});

describe("trees that are no kv-index", () => {
  const objects = new MemoryObjects();
  const blob = objects.write("blob", Buffer.from(encodeTombstone("a", 1, undefined).join("")));
  const tree = (...entries: [string, number, Oid][]): Oid =>
    objects.write(
      "tree",
      encodeTree(
        TEST_FORMAT,
        entries.map(([name, mode, oid]) => ({ name, mode, oid })),
      ),
    );
  const leaf = tree(["a.ref", MODE.file, blob]);
  const list = (root: Oid): string => codeOf(() => [...listIndex(objects, root)]);

  test("are CORRUPT or BAD_OBJECT", () => {
    for (const name of ["a", "a.txt", "a@x.ref", "%41.ref", "a@9007199254740991.ref", ".ref"]) {
      expect([name, list(tree([name, MODE.file, blob]))]).toEqual([name, "CORRUPT"]);
    }
    for (const name of ["a", "a~b", "~", "%41~", `${"x".repeat(65)}~`]) {
      expect([name, list(tree([name, MODE.tree, leaf]))]).toEqual([name, "CORRUPT"]);
    }
    for (const mode of [MODE.executable, MODE.symlink, MODE.gitlink])
      expect(list(tree(["a.ref", mode, blob]))).toBe("CORRUPT");
    expect(
      list(tree([`${"x".repeat(120)}~${"0".repeat(64)}.ref`, MODE.file, objects.write("blob", Buffer.from("{}"))])),
    ).toBe("CORRUPT");
    expect(list("1".repeat(TEST_FORMAT.hexSize))).toBe("BAD_OBJECT");
    expect(list(blob)).toBe("BAD_OBJECT");
  });

  test("end, however deep they are", () => {
    let deep = leaf;
    for (let i = 0; i < 20_000; i++) deep = tree(["x~", MODE.tree, deep]);
    expect(list(deep)).toBe("CORRUPT");
    expect(codeOf(() => findInIndex(objects, deep, "x".repeat(1024)))).toBe("ok");
    const label = `${"x".repeat(64)}~`;
    for (let i = 0; i < 20_000; i++) deep = tree([label, MODE.tree, deep]);
    expect(list(deep)).toBe("CORRUPT");
  });

  test("cut anywhere", () => {
    const data = objects.read(tree(["a.ref", MODE.file, blob], ["b~", MODE.tree, leaf]))!.data;
    for (let end = 0; end < data.length; end++) {
      expect(["ok", "BAD_OBJECT"]).toContain(list(objects.write("tree", data.subarray(0, end))));
    }
  });
});
