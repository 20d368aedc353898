/** The writer of a transaction's trees and records: deltas that make what they say, and pay. */

import { expect, test } from "bun:test";
import { hashObject, type ObjectKind, type Oid } from "../../src/gitwire/object/oid.ts";
import { MODE, type TreeEntry } from "../../src/gitwire/object/tree.ts";
import { NodeWriter } from "../../src/kv/node-writer.ts";
import { encodeMetadata, encodePointer } from "../../src/kv/record.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { random } from "../support/random.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

/** Notes how large each delta was; MemoryObjects checks that it makes the object. */
class Noting extends MemoryObjects {
  readonly sizes: { data: number; delta: number }[] = [];
  copiesBases = false;

  override writeDelta(kind: ObjectKind, data: Uint8Array, base: Oid, delta: Uint8Array): Oid {
    this.sizes.push({ data: data.length, delta: delta.length });
    return super.writeDelta(kind, data, base, delta);
  }
}

test("records are what was to be written, and mostly deltas", () => {
  const rng = random("records");
  const objects = new Noting();
  const writer = new NodeWriter(objects, objects);
  let whole = 0;
  for (let i = 0; i < 500; i++) {
    const key = `${rng.pick(["user:", "", "é".repeat(1), "x".repeat(rng.int(900))])}${rng.int(1000)}`;
    const etag = `blake3:${rng.bytes(32).toString("hex")}`;
    const labels = rng.int(3) === 0 ? { a: rng.bytes(rng.int(500)).toString("hex") } : undefined;
    const fields = {
      type: "inline" as const,
      size: rng.int(100),
      etag,
      ctype: "text/plain",
      rev: rng.int(20),
      ...(labels && { labels }),
    };
    const meta = encodeMetadata(Buffer.from(key).latin1Slice(), fields);
    const ref = encodePointer(Buffer.from(key).latin1Slice(), { ...fields, oid: etag.slice(7, 47) });
    for (const [kind, parts] of [
      ["meta", meta],
      ["ref", ref],
    ] as const) {
      const oid = writer.record(kind, parts);
      expect(oid).toBe(hashObject(TEST_FORMAT, "blob", Buffer.from(parts.join(""))));
      expect(objects.read(oid)!.data.toString()).toBe(parts.join(""));
      whole++;
    }
  }
  expect(objects.deltas).toBeGreaterThan(whole * 0.9);
  for (const { data, delta } of objects.sizes) expect(delta).toBeLessThan(data);
});

test("records longer than the scratch, and the same record again", () => {
  const objects = new MemoryObjects();
  const writer = new NodeWriter(objects, objects);
  const fields = { type: "inline" as const, size: 1, etag: `blake3:${"0".repeat(64)}`, ctype: "a/b", rev: 1 };
  for (const value of ["x", "é".repeat(1000), "é".repeat(1024), "日".repeat(1024), "x"]) {
    const labels = Object.fromEntries(Array.from({ length: 4 }, (_, i) => [`l${i}`, value]));
    const parts = encodeMetadata("k", { ...fields, labels });
    const oid = writer.record("meta", parts);
    expect(objects.read(oid)!.data.toString()).toBe(parts.join(""));
    expect(writer.record("meta", parts)).toBe(oid);
  }
});

test("an edited tree is a delta where that is shorter, else whole", () => {
  const objects = new Noting();
  const writer = new NodeWriter(objects, objects);
  const oid = objects.write("blob", Buffer.from("x"));
  const entries = (count: number): TreeEntry[] =>
    Array.from({ length: count }, (_, i) => ({ mode: MODE.file, name: `n${i}`, oid }));
  const large = writer.build(entries(200));
  const root = writer.write(large);
  const other = objects.write("blob", Buffer.from("y"));
  const edited = writer.edit(root, large.data, [{ name: "n7", mode: MODE.file, oid: other }]);
  expect(edited.entries).toBe(200);
  writer.write(edited);
  expect(objects.sizes).toEqual([{ data: large.data.length, delta: expect.any(Number) }]);
  expect(objects.sizes[0]!.delta).toBeLessThan(50);
  const small = writer.build(entries(1));
  const smallRoot = writer.write(small);
  writer.write(writer.edit(smallRoot, small.data, [{ name: "n0", mode: MODE.file, oid: other }]));
  expect(objects.sizes).toHaveLength(1);
});

test("a fresh tree is read back before it is stored anywhere", () => {
  const objects = new MemoryObjects();
  const nowhere = {
    format: TEST_FORMAT,
    write: (kind: ObjectKind, data: Uint8Array) => hashObject(TEST_FORMAT, kind, data),
    writeDelta: () => "",
  };
  const writer = new NodeWriter(objects, nowhere);
  const draft = writer.build([{ mode: MODE.file, name: "a", oid: "1".repeat(TEST_FORMAT.hexSize) }]);
  const oid = writer.writeFresh(draft);
  expect(writer.read(oid).equals(draft.data)).toBe(true);
  expect(() => writer.read("2".repeat(TEST_FORMAT.hexSize))).toThrow("missing");
});

test("an edit that changes nothing writes nothing", () => {
  const objects = new Noting();
  const writer = new NodeWriter(objects, objects);
  const oid = objects.write("blob", Buffer.from("x"));
  const draft = writer.build(Array.from({ length: 200 }, (_, i) => ({ mode: MODE.file, name: `n${i}`, oid })));
  const root = writer.write(draft);
  const edit = (name: string, to: Oid | undefined) =>
    writer.edit(root, draft.data, [{ name, mode: MODE.file, oid: to }]);
  expect([writer.write(edit("n7", oid)), writer.write(edit("missing", undefined)), objects.sizes]).toEqual([
    root,
    root,
    [],
  ]);
});

test.each([
  ["is whole where its base would be copied", true, 1],
  ["is a delta where it is sent to somebody who has its base", false, 2],
])("a tree of which much is new %s", (_, copiesBases, expected) => {
  const objects = new Noting();
  objects.copiesBases = copiesBases;
  const writer = new NodeWriter(objects, objects);
  const [oid, other] = ["x", "y"].map((text) => objects.write("blob", Buffer.from(text))) as [Oid, Oid];
  const names = Array.from({ length: 200 }, (_, i) => `n${1000 + i}`);
  const large = writer.build(names.map((name) => ({ mode: MODE.file, name, oid })));
  const root = writer.write(large);
  for (const [edits, deltas] of [
    [5, 1],
    [100, expected],
  ] as const) {
    const some = names.slice(0, edits).map((name) => ({ mode: MODE.file, name, oid: other }));
    const edited = writer.edit(root, large.data, some);
    expect(edited.made!.delta!.length).toBeLessThan(large.data.length);
    expect(objects.read(writer.write(edited))!.data).toEqual(edited.data);
    expect(objects.deltas).toBe(deltas);
  }
});
