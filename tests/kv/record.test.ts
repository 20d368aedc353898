/** Records: what is written is read back, and nothing else is. */

import { describe, expect, test } from "bun:test";
import { utf8ToByteString } from "../../src/bytes.ts";
import { KvError } from "../../src/errors.ts";
import {
  encodeMetadata,
  encodePointer,
  encodeTombstone,
  isLabels,
  type Metadata,
  parseIndexRecord,
  parseMetadata,
  type RecordParts,
} from "../../src/kv/record.ts";
import { random } from "../support/random.ts";

const bytes = (parts: RecordParts): Buffer => Buffer.from(parts.join(""));
const ETAG = `blake3:${"ab".repeat(32)}`;
const BASE = "1".repeat(40);
const META: Metadata = {
  key: 'é"\\',
  type: "inline",
  size: 3,
  etag: ETAG,
  ctype: "text/plain",
  rev: 2,
  base: BASE,
  expires: 9,
  labels: { a: "b" },
};

function codeOf(read: () => unknown): string {
  try {
    read();
    return "ok";
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
}

test("what is written is read back", () => {
  const { key, ...fields } = META;
  const encoded = bytes(encodeMetadata(utf8ToByteString(key), fields));
  expect(encoded.toString()).toBe(
    `{"v":1,"key":"é\\"\\\\","type":"inline","size":3,"etag":"${ETAG}","ctype":"text/plain","rev":2,"base":"${BASE}","expires":9,"labels":{"a":"b"}}`,
  );
  expect(parseMetadata(encoded)).toEqual(META);
  const { base, expires, labels, ...least } = fields;
  expect(parseMetadata(bytes(encodeMetadata("k", least)))).toEqual({ key: "k", ...least });
  const pointer = { type: "chunked", oid: BASE, size: 1, ctype: "a/b", rev: 1 } as const;
  expect(parseIndexRecord(bytes(encodePointer("k", pointer)))).toEqual({ kind: "live", key: "k", ...pointer });
  expect(parseIndexRecord(bytes(encodeTombstone("k", 4, BASE)))).toEqual({
    kind: "deleted",
    key: "k",
    rev: 4,
    base: BASE,
  });
  expect(parseIndexRecord(bytes(encodeTombstone("k", 4, undefined)))).toEqual({ kind: "deleted", key: "k", rev: 4 });
});

test("labels are sorted by their code units, whatever order they came in", () => {
  const names = ["b", "10", "9", "a", "\uffee", "\u{10000}", "__proto__", "constructor", "Z"];
  const sorted = [...names].sort();
  expect(sorted.indexOf("\u{10000}")).toBeLessThan(sorted.indexOf("\uffee"));
  const rng = random("labels");
  for (let i = 0; i < 20; i++) {
    const labels = Object.fromEntries(rng.shuffle(names).map((name) => [name, `v ${name}`]));
    const text = bytes(
      encodeMetadata("k", { type: "inline", size: 0, etag: ETAG, ctype: "a/b", rev: 1, labels }),
    ).toString();
    const inside = text.slice(text.indexOf('"labels":{') + 10, -2);
    expect(inside.split(",").map((pair) => JSON.parse(pair.slice(0, pair.indexOf(":"))))).toEqual(sorted);
    expect(parseMetadata(Buffer.from(text)).labels).toEqual(labels);
  }
});

describe("what is no record", () => {
  const { key, ...fields } = META;
  const good = bytes(encodeMetadata(utf8ToByteString(key), fields)).toString();
  const goodRef = bytes(encodePointer("k", { type: "inline", oid: BASE, size: 1, ctype: "a/b", rev: 1 })).toString();

  test("fields missing or of another kind", () => {
    const parsed = JSON.parse(good);
    for (const name of Object.keys(parsed)) {
      const optional = ["base", "expires", "labels"].includes(name);
      const without = JSON.stringify({ ...parsed, [name]: undefined });
      expect([name, codeOf(() => parseMetadata(Buffer.from(without)))]).toEqual([name, optional ? "ok" : "CORRUPT"]);
      for (const wrong of [null, true, [], { a: 1 }, -1, 1.5, 2 ** 53]) {
        const text = JSON.stringify({ ...parsed, [name]: wrong });
        expect([name, wrong, codeOf(() => parseMetadata(Buffer.from(text)))]).toEqual([name, wrong, "CORRUPT"]);
      }
    }
    const ref = JSON.parse(goodRef);
    for (const name of Object.keys(ref)) {
      const text = JSON.stringify({ ...ref, [name]: name === "v" ? 2 : null });
      expect([name, codeOf(() => parseIndexRecord(Buffer.from(text)))]).toEqual([name, "CORRUPT"]);
    }
  });

  test("cut or flipped anywhere", () => {
    for (const [text, read] of [
      [good, parseMetadata],
      [goodRef, parseIndexRecord],
    ] as const) {
      const data = Buffer.from(text);
      for (let end = 0; end < data.length; end++) expect(codeOf(() => read(data.subarray(0, end)))).toBe("CORRUPT");
      for (let at = 0; at < data.length; at++) {
        for (let bit = 0; bit < 8; bit++) {
          const flipped = Buffer.from(data);
          flipped[at]! ^= 1 << bit;
          expect(["ok", "CORRUPT"]).toContain(codeOf(() => read(flipped)));
        }
      }
    }
  });

  test("bytes that are no UTF-8, nesting without end", () => {
    expect(codeOf(() => parseMetadata(Buffer.from([0xff])))).toBe("CORRUPT");
    expect(codeOf(() => parseMetadata(Buffer.from("[".repeat(200_000))))).toBe("CORRUPT");
    expect(codeOf(() => parseIndexRecord(Buffer.alloc(0)))).toBe("CORRUPT");
  });
});

test("labels have their limits", () => {
  const many = (n: number): object => Object.fromEntries(Array.from({ length: n }, (_, i) => [`l${i}`, ""]));
  for (const good of [{}, { a: "" }, many(64), { ["n".repeat(255)]: "v".repeat(1024) }])
    expect(isLabels(good)).toBe(true);
  for (const bad of [
    null,
    "a",
    1,
    [],
    ["a"],
    { a: 1 },
    { "": "a" },
    many(65),
    { ["n".repeat(256)]: "" },
    { a: "v".repeat(1025) },
  ])
    expect(isLabels(bad)).toBe(false);
});

test("records read fast are what the general parser makes of them, whatever is wrong with them", () => {
  const { labels: _, ...plain } = { ...META, key: "user:0000001:profile" };
  const { expires: __, ...unlimited } = plain;
  const pointer = { type: "inline", oid: BASE, size: 10, ctype: "text/plain", rev: 12 } as const;
  const outcome = (read: () => unknown): unknown => {
    try {
      return read();
    } catch (error) {
      return codeOf(() => {
        throw error;
      });
    }
  };
  const odd = [...'\\"{}:,0123456789.-+eE \u0000\u007f\u0080\nxv'];
  for (const [parts, read] of [
    [encodeMetadata(plain.key, plain), parseMetadata],
    [encodeMetadata(plain.key, unlimited), parseMetadata],
    [encodePointer(plain.key, pointer), parseIndexRecord],
  ] as const) {
    const good = bytes(parts).toString();
    // By now the process has read enough of them.
    for (let i = 0; i < 200; i++) read(Buffer.from(good));
    const changed = [good];
    for (let at = 1; at < good.length; at++)
      for (const char of odd)
        changed.push(good.slice(0, at) + char + good.slice(at + 1), good.slice(0, at) + char + good.slice(at));
    for (const text of changed) {
      const general = Buffer.from(`{ ${text.slice(1)}`);
      expect([text, outcome(() => read(Buffer.from(text)))]).toEqual([text, outcome(() => read(general))]);
    }
  }
});
