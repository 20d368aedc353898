/** The trees are functions of the set of keys: any order, any grouping into transactions, the same trees as the format's text. */

import { describe, expect, test } from "bun:test";
import { utf8ToByteString } from "../../src/bytes.ts";
import { type Oid, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { parseTree } from "../../src/gitwire/object/tree.ts";
import { keyName } from "../../src/kv/key.ts";
import type { Operation } from "../../src/kv/operation.ts";
import { type OracleFile, oracleIndex, oracleTrie } from "../support/format-oracle.ts";
import { KvModel } from "../support/kv-model.ts";
import { type Random, random } from "../support/random.ts";
import type { TEST_FORMAT } from "../support/test-format.ts";

type Model = Map<string, string | undefined>;

/** Keys that make every kind of split: shared prefixes short and long, keys that are prefixes of others, non-ASCII, long ones. */
function keyPool(rng: Random, count: number): string[] {
  const long = "x".repeat(60 + rng.int(140));
  const all = ["", "user:", "cfg/", `${long}/`, "é", "日本", `${"deep/".repeat(40)}`, "user:00", "."];
  // Few roots make groups large enough to be branches, whose labels then have to be cut anew.
  const roots = rng.int(2) === 0 ? all : rng.shuffle(all).slice(0, 2);
  const keys = new Set<string>(roots.filter((root) => root !== ""));
  for (let i = 1; i < 9; i++) keys.add(long.slice(0, i * 7) || long);
  keys.add("k".repeat(1024));
  while (keys.size < count) {
    const root = rng.pick(roots);
    const tail = rng.pick([
      String(rng.int(5000)),
      rng.int(99999).toString(36),
      `${rng.int(300)}.ref`,
      "é".repeat(1 + rng.int(90)),
    ]);
    keys.add(root + tail);
  }
  return [...keys];
}

function check(model: KvModel, expected: Model): void {
  const state = model.state!;
  const rename = (files: Map<string, Oid>): Map<string, Oid> =>
    new Map([...files].map(([path, oid]) => [path.split("/").at(-1)!, oid]));
  const [data, meta, index] = [
    model.files(state.data),
    model.files(state.meta),
    model.files(state.ledger.indexTree),
  ].map(rename);
  const dataFiles: OracleFile[] = [];
  const metaFiles: OracleFile[] = [];
  const indexFiles: OracleFile[] = [];
  for (const [text, value] of expected) {
    const key = utf8ToByteString(text);
    const name = keyName(key);
    const place = (all: OracleFile[], from: Map<string, Oid>, fileName: string): void => {
      expect(from.has(fileName)).toBe(true);
      all.push({ key, fileName, oid: from.get(fileName)! });
    };
    place(indexFiles, index!, `${name}.${value === undefined ? "del" : "ref"}`);
    if (value === undefined) continue;
    place(dataFiles, data!, name);
    place(metaFiles, meta!, `${name}.meta`);
    expect(model.objects.read(data!.get(name)!)!.data.toString()).toBe(value);
  }
  expect([data!.size, meta!.size, index!.size]).toEqual([dataFiles.length, metaFiles.length, indexFiles.length]);
  expect(state.data).toBe(oracleTrie(model.objects, dataFiles)!);
  expect(state.meta).toBe(oracleTrie(model.objects, metaFiles)!);
  expect(state.ledger.indexTree).toBe(oracleIndex(model.objects, indexFiles));
}

function runOrder(
  format: typeof TEST_FORMAT,
  batches: readonly (readonly [string, string | undefined])[][],
): { model: KvModel; expected: Model } {
  const model = new KvModel(format);
  const expected: Model = new Map();
  for (const batch of batches) {
    const last = new Map(batch);
    const operations: Operation[] = [];
    for (const [key, value] of last) {
      if (value !== undefined) operations.push(model.set(key, value));
      else operations.push(model.del(key, true));
      if (value !== undefined || expected.has(key)) expected.set(key, value);
    }
    model.commit(operations);
  }
  return { model, expected };
}

describe.each([SHA1, SHA256])("canonical trees in a $name repository", (format) => {
  test("random histories end in the trees the format describes", () => {
    const rng = random("canonical");
    for (let round = 0; round < 8; round++) {
      const keys = keyPool(rng, 300 + rng.int(1500));
      const batches: [string, string | undefined][][] = [];
      for (let b = 0; b < 8; b++) {
        const size = rng.pick([1, 3, 40, 400, 900]);
        batches.push(
          Array.from({ length: size }, () => [rng.pick(keys), rng.int(3) === 0 ? undefined : `v${rng.int(1000)}`]),
        );
      }
      const { model, expected } = runOrder(format, batches);
      check(model, expected);
    }
  }, 60_000);

  test("any order and grouping of the same sets gives the same shape", () => {
    const rng = random("order");
    const keys = keyPool(rng, 700);
    const sets = keys.map((key): [string, string] => [key, `value of ${key}`]);
    const shape = (model: KvModel): string[] => [
      ...model.files(model.state!.ledger.tree).keys(),
      ...model.files(model.state!.ledger.indexTree).keys(),
    ];
    const whole = runOrder(format, [rng.shuffle(sets)]).model;
    const reference = shape(whole);
    for (let round = 0; round < 3; round++) {
      const order = rng.shuffle(sets);
      const batches: [string, string][][] = [];
      for (let at = 0; at < order.length; ) {
        const size = 1 + rng.int(200);
        batches.push(order.slice(at, at + size));
        at += size;
      }
      const { model } = runOrder(format, batches);
      expect(shape(model)).toEqual(reference);
      expect(model.state!.data).toBe(whole.state!.data!);
    }
  }, 60_000);

  test("deletions fold what insertions split", () => {
    const rng = random("fold");
    const keys = Array.from({ length: 1200 }, (_, i) => `k${i}`);
    const { model, expected } = runOrder(format, [keys.map((key) => [key, "v"])]);
    for (const victim of rng.shuffle(keys).slice(0, 1000)) {
      model.commit([model.del(victim)]);
      expected.set(victim, undefined);
      if (expected.size % 97 === 0) check(model, expected);
    }
    check(model, expected);
    model.commit(keys.filter((key) => expected.get(key) !== undefined).map((key) => model.del(key)));
    expect(model.state!.data).toBeUndefined();
    expect(parseTree(format, model.objects.read(model.state!.ledger.tree)!.data).map(({ name }) => name)).toEqual([
      "kv.json",
    ]);
  }, 60_000);

  test("expiry and labels come and go: the kv-index is still a function of the keys' states alone", () => {
    const rng = random("states");
    const keys = keyPool(rng, 900);
    const model = new KvModel(format);
    const suffixes = new Map<string, string>();
    const values = new Map<string, string>();
    for (let round = 0; round < 12; round++) {
      const operations: Operation[] = [];
      for (const key of rng.shuffle(keys).slice(0, rng.pick([1, 60, 500]))) {
        const expires = rng.int(2) === 0 ? 1_700_000_000 + rng.int(5) : undefined;
        if (values.has(key) && rng.int(4) === 0) {
          operations.push(model.del(key));
          suffixes.set(key, ".del");
          values.delete(key);
          continue;
        }
        // The same few values again and again: often only the labels or the expiry are new, or nothing is.
        const value = `v${rng.int(2)}`;
        const labels = rng.int(2) === 0 ? { l: String(rng.int(2)) } : undefined;
        operations.push(model.set(key, value, { ...(expires && { expires }), ...(labels && { labels }) }));
        suffixes.set(key, expires === undefined ? ".ref" : `@${expires}.ref`);
        values.set(key, value);
      }
      model.commit(operations);
      const { data, meta, ledger } = model.state!;
      const found = new Map([...model.files(ledger.indexTree)].map(([path, oid]) => [path.split("/").at(-1)!, oid]));
      const place = (text: string, fileName: string, oid: Oid): OracleFile => ({
        key: utf8ToByteString(text),
        fileName,
        oid,
      });
      const index = [...suffixes].map(([text, suffix]) => {
        const fileName = keyName(utf8ToByteString(text)) + suffix;
        return place(text, fileName, found.get(fileName)!);
      });
      expect(found.size).toBe(index.length);
      expect(ledger.indexTree).toBe(oracleIndex(model.objects, index));
      const live = [...values].map(([text, value]) =>
        place(text, keyName(utf8ToByteString(text)), model.objects.write("blob", Buffer.from(value))),
      );
      expect(data).toBe(oracleTrie(model.objects, live));
      expect(model.files(meta).size).toBe(live.length);
    }
  }, 60_000);
});
