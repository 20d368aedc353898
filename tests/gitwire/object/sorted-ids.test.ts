import { expect, test } from "bun:test";
import { SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { SortedIds } from "../../../src/gitwire/object/sorted-ids.ts";
import { random } from "../../support/random.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

const rng = random("sorted-ids");

test("agrees with a plain sort, equal ids in order of arrival, and finds the first of them", () => {
  for (const format of [SHA1, SHA256]) {
    // Few values of each byte make ids that are alike, and buckets that are crowded.
    for (const spread of [256, 2, 1]) {
      const ids = Array.from({ length: 3_000 }, () =>
        Buffer.from(rng.bytes(format.rawSize).map((byte, i) => (i < format.rawSize - 2 ? byte % spread : byte))),
      );
      for (let i = 0; i < 300; i++) ids[rng.int(3_000)] = ids[rng.int(3_000)]!;
      const want = ids.map((_, i) => i).sort((a, b) => ids[a]!.compare(ids[b]!) || a - b);
      const sorted = new SortedIds(format, Buffer.concat(ids), ids.length);
      expect([...sorted.order]).toEqual(want);
      const first = new Map<string, number>();
      for (const [i, id] of ids.entries()) if (!first.has(id.toString("hex"))) first.set(id.toString("hex"), i);
      for (const [oid, number] of first) {
        const id = Buffer.from(`ff${oid}`, "hex");
        expect({ oid, number: sorted.find(id, 1) }).toEqual({ oid, number });
        expect(sorted.oid(number)).toBe(oid);
        id[rng.int(format.rawSize) + 1]! ^= 1 + rng.int(255);
        const other = id.toString("hex", 1);
        expect({ other, number: sorted.find(id, 1) }).toEqual({ other, number: first.get(other) ?? -1 });
      }
    }
  }
});

test("no ids, one id, and ids given in hex", () => {
  const oid = "ab".repeat(TEST_FORMAT.rawSize);
  const raw = Buffer.from(oid, "hex");
  expect(SortedIds.of(TEST_FORMAT, []).find(raw, 0)).toBe(-1);
  const one = SortedIds.of(TEST_FORMAT, [oid]);
  expect([one.count, one.find(raw, 0), one.oid(0)]).toEqual([1, 0, oid]);
  expect(one.find(Buffer.alloc(TEST_FORMAT.rawSize, 0xff), 0)).toBe(-1);
});
