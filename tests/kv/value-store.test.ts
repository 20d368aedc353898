/** Values on their way into blobs. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../src/errors.ts";
import type { BatchLine } from "../../src/kv/batch.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { ValueStore } from "../../src/kv/value-store.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { tempDir } from "../support/temp.ts";

const objects = new MemoryObjects();
const store = new ValueStore(objects, etagOf, { maxInline: 100, ignoreMissing: true });
const none = { ctype: undefined, expires: undefined, labels: undefined };

function set(value: Extract<BatchLine, { op: "set" }>["value"], options = {}): BatchLine {
  return { op: "set", key: "k", value, options: { ...none, ...options }, condition: undefined };
}

const bytes = (text: string | Buffer): BatchLine => set({ kind: "bytes", data: Buffer.from(text) });

function file(data: string | Buffer): BatchLine {
  const name = path.join(tempDir("value"), "value");
  fs.writeFileSync(name, data);
  return set({ kind: "file", path: name });
}

describe("a value", () => {
  test("becomes a blob, whether it comes as bytes or from a file", () => {
    for (const data of ["", "text", Buffer.from([0, 255]), "x".repeat(100)]) {
      const buffer = Buffer.from(data);
      for (const line of [bytes(data), file(data)]) {
        const operation = store.operation(line);
        if (operation.kind !== "set") throw new Error("not a set");
        const { oid, ...value } = operation.value;
        expect(objects.read(oid)).toEqual({ kind: "blob", data: buffer });
        expect(value).toMatchObject({ type: "inline", size: buffer.length, etag: etagOf(buffer) });
      }
    }
  });

  test("is recognised unless its type is given", () => {
    expect(store.operation(bytes("{}"))).toMatchObject({ value: { ctype: "application/json" } });
    const named = set({ kind: "bytes", data: Buffer.from("{}") }, { ctype: "a/b", expires: 5, labels: { a: "b" } });
    expect(store.operation(named)).toMatchObject({ value: { ctype: "a/b" }, expires: 5, labels: { a: "b" } });
  });

  test("over the limit is refused, and no blob is written", () => {
    const before = objects.objects.size;
    for (const line of [bytes("x".repeat(101)), file("x".repeat(101))]) {
      try {
        store.operation(line);
        throw new Error("it was taken");
      } catch (error) {
        expect(error).toBeInstanceOf(KvError);
        expect(error).toMatchObject({
          code: "VALUE_TOO_LARGE",
          message: expect.stringContaining("101 bytes, at most 100"),
        });
      }
    }
    expect(objects.objects.size).toBe(before);
  });
});

test("deletions and checks pass through", () => {
  const condition = { kind: "absent" } as const;
  expect(store.operation({ op: "del", key: "k", condition: undefined })).toEqual({
    kind: "del",
    key: "k",
    ignoreMissing: true,
    condition: undefined,
  });
  expect(store.operation({ op: "check", key: "k", condition })).toEqual({ kind: "check", key: "k", condition });
});
