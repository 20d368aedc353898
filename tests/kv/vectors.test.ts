/**
 * Golden vectors: tests/vectors/kv/make.py is a second implementation of docs/formats/data-format.md, checked by real git;
 * two programs that share no code must name the same bytes.
 */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { compare, utf8ToByteString } from "../../src/bytes.ts";
import { type ObjectFormat, type Oid, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { etagHasher, etagOf } from "../../src/kv/etag.ts";
import { updateIndex } from "../../src/kv/index-tree.ts";
import { type Key, keyDigits, keyName, parseKey, parseName } from "../../src/kv/key.ts";
import { type TrieChange, updateTrie } from "../../src/kv/ledger-trie.ts";
import { NodeWriter } from "../../src/kv/node-writer.ts";
import type { Operation } from "../../src/kv/operation.ts";
import { encodeMetadata, encodePointer, encodeTombstone, type RecordParts } from "../../src/kv/record.ts";
import { type NamespaceState, stateAt } from "../../src/kv/state.ts";
import { planTransaction } from "../../src/kv/transaction.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { random } from "../support/random.ts";

function vectors<T>(name: string): T[] {
  return JSON.parse(fs.readFileSync(path.join(import.meta.dir, "../vectors/kv", name), "utf8"));
}

test("names", () => {
  const cases = vectors<{ key: string; name: string; digits: string }>("names.json");
  expect(cases.length).toBeGreaterThan(100);
  for (const { key: text, name, digits } of cases) {
    const key = parseKey(text);
    expect([text, keyName(key), keyDigits(key)]).toEqual([text, name, digits]);
    expect(parseName(name)).toEqual(name.includes("~") ? { kind: "long", digits } : { kind: "key", key });
  }
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
});

test("etags, in both implementations", async () => {
  const fast = await etagHasher(1024 * 1024);
  for (const { size, etag } of vectors<{ size: number; etag: string }>("etags.json")) {
    const data = Buffer.from(Array.from({ length: size }, (_, i) => i % 251));
    expect([size, etagOf(data), fast(data)]).toEqual([size, etag, etag]);
  }
});

interface RecordCase {
  readonly input: {
    key: string;
    size: number;
    etag: string;
    ctype: string;
    rev: number;
    base?: string;
    expires?: number;
    labels?: Record<string, string>;
  };
  readonly metadata: string;
  readonly pointer: string;
  readonly tombstone: string;
  readonly ids: Record<"metadata" | "pointer" | "tombstone", Oid>;
}

test("records, with the sha1 ids that the vectors give", () => {
  const objects = new MemoryObjects(SHA1);
  const text = (parts: RecordParts): string => parts.join("");
  for (const { input, ids, ...expected } of vectors<RecordCase>("records.json")) {
    const { key: name, labels, ...fields } = input;
    const key = utf8ToByteString(name);
    const meta = { ...fields, type: "inline" as const };
    const used = labels !== undefined && Object.keys(labels).length > 0 ? { labels } : {};
    const made = {
      metadata: text(encodeMetadata(key, { ...meta, ...used })),
      pointer: text(encodePointer(key, { ...meta, oid: "2".repeat(40) })),
      tombstone: text(encodeTombstone(key, input.rev, input.base)),
    };
    expect(made).toEqual(expected);
    for (const kind of ["metadata", "pointer", "tombstone"] as const) {
      expect(objects.write("blob", Buffer.from(made[kind]))).toBe(ids[kind]);
    }
  }
});

interface KeyRange {
  readonly key?: string;
  readonly prefix: string;
  readonly from: number;
  readonly to: number;
  readonly pad?: number;
  readonly suffix?: string;
}

interface TreeCase {
  readonly label: string;
  readonly keys: readonly KeyRange[];
  readonly sha1: Roots;
  readonly sha256: Roots;
}

interface Roots {
  readonly data: Oid | null;
  readonly meta: Oid | null;
  readonly index: Oid;
}

function expand(ranges: readonly KeyRange[]): Key[] {
  const keys = new Set<Key>();
  for (const { key, prefix, from, to, pad = 0, suffix = "" } of ranges) {
    if (key !== undefined) keys.add(utf8ToByteString(key));
    else {
      for (let i = from; i < to; i++) keys.add(utf8ToByteString(`${prefix}${String(i).padStart(pad, "0")}${suffix}`));
    }
  }
  return [...keys].sort(compare);
}

/** A key with its three files. */
interface Place {
  readonly key: Key;
  readonly data: TrieChange;
  readonly name: string;
  readonly meta: TrieChange;
  readonly index: { readonly fileName: string; readonly oid: Oid };
}

function placesOf(objects: MemoryObjects, keys: readonly Key[]): Place[] {
  const blob = (kind: string, key: Key): Oid => objects.write("blob", Buffer.from(`${kind}:${key}`, "latin1"));
  const record = (key: Key): Oid => objects.write("blob", Buffer.from(encodeTombstone(key, 1, undefined).join("")));
  return keys.map((key, i) => {
    const digits = keyDigits(key);
    const name = keyName(key, digits);
    const suffix = i % 7 === 3 ? ".del" : i % 5 === 4 ? `@${1_700_000_000 + i}.ref` : ".ref";
    return {
      key,
      name,
      data: { digits, name, oid: blob("data", key) },
      meta: { digits, name: `${name}.meta`, oid: blob("meta", key) },
      index: { fileName: name + suffix, oid: record(key) },
    };
  });
}

/** Roots after the groups of places are added one group after the other. */
function build(objects: MemoryObjects, groups: readonly (readonly Place[])[]): Roots {
  let data: Oid | undefined;
  let meta: Oid | undefined;
  let index = objects.format.emptyTree;
  for (const group of groups) {
    const writer = new NodeWriter(objects, objects);
    data = updateTrie(
      writer,
      "data",
      data,
      group.map((place) => place.data),
    );
    meta = updateTrie(
      writer,
      "meta",
      meta,
      group.map((place) => place.meta),
    );
    const sorted = [...group].sort((a, b) => compare(a.key, b.key));
    index = updateIndex(writer, index, sorted, (place) => place.index);
  }
  return { data: data ?? null, meta: meta ?? null, index };
}

describe("trees", () => {
  for (const { label, keys: ranges, ...expected } of vectors<TreeCase>("trees.json")) {
    test(label, () => {
      const keys = expand(ranges);
      for (const format of [SHA1, SHA256]) {
        const objects = new MemoryObjects(format);
        const places = placesOf(objects, keys);
        expect(build(objects, [places])).toEqual(expected[format.name]);
        if (places.length < 2 || places.length > 2000) continue;
        const rng = random(label);
        const order = rng.shuffle(places);
        const groups: Place[][] = [];
        for (let at = 0; at < order.length; at += groups.at(-1)!.length) {
          groups.push(order.slice(at, at + 1 + rng.int(order.length / 3)));
        }
        expect(build(objects, groups)).toEqual(expected[format.name]);
      }
    }, 30_000);
  }
});

interface Made {
  readonly ledger: Oid;
  readonly index: Oid;
  readonly tree: Oid;
  readonly index_tree: Oid;
  readonly ledger_text: string;
  readonly index_text: string;
}

interface Step {
  readonly subject: string;
  readonly txn: string;
  readonly operations: readonly {
    readonly op: "set" | "del";
    readonly key: string;
    readonly value: string;
    readonly ctype?: string;
    readonly expires?: number;
    readonly labels?: Record<string, string>;
  }[];
  readonly sha1: Made;
  readonly sha256: Made;
}

const WHO = { name: "Vector Maker", email: "vectors@example.com", seconds: 1_767_322_800, offset: 90 };

function operationsOf(objects: MemoryObjects, step: Step): Operation[] {
  return step.operations.map(({ op, key: text, value, ctype, expires, labels }) => {
    const key = parseKey(text);
    if (op === "del") return { kind: "del", key, ignoreMissing: false };
    const data = Buffer.from(value);
    const stored = {
      type: "inline" as const,
      oid: objects.write("blob", data),
      size: data.length,
      etag: etagOf(data),
      ctype: ctype ?? "application/octet-stream",
    };
    return { kind: "set", key, value: stored, expires, labels };
  });
}

function playHistory(format: ObjectFormat): void {
  const objects = new MemoryObjects(format);
  let base: NamespaceState | undefined;
  for (const step of vectors<Step>("history.json")) {
    const expected = step[format.name];
    const plan = planTransaction(objects, objects, {
      base,
      ns: "vectors",
      epoch: "e1",
      policy: undefined,
      txn: step.txn,
      operations: operationsOf(objects, step),
      message: step.subject.includes("\n") ? step.subject : undefined,
      author: WHO,
      committer: WHO,
    });
    if (plan.kind !== "planned") throw new Error(`${step.subject}: nothing changed`);
    const [ledger, index] = plan.moves;
    const text = (oid: Oid): string => objects.read(oid)!.data.toString();
    expect(text(ledger!.newOid)).toBe(expected.ledger_text);
    expect(text(index!.newOid)).toBe(expected.index_text);
    base = stateAt(objects, plan.ledger, index!.newOid);
    const { ledger_text, index_text, ...ids } = expected;
    expect({ ledger: plan.ledger, index: index!.newOid, tree: plan.tree, index_tree: base.ledger.indexTree }).toEqual(
      ids,
    );
  }
}

describe("a history, commit by commit", () => {
  test.each([SHA1, SHA256])("in a $name repository", playHistory);
});
