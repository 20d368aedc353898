/** Objects that are looked at once. */

import { expect, test } from "bun:test";
import { readOnceAs } from "../../../src/gitwire/object/object.ts";
import { hashObject } from "../../../src/gitwire/object/oid.ts";
import { ObjectStore } from "../../../src/gitwire/store/object-store.ts";
import { writeLoose } from "../../../src/gitwire/store/object-writer.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

test("are found, of the wrong kind or missing as in any other reading, and kept for nobody", () => {
  const store = new ObjectStore(tempDir("objects"), TEST_FORMAT);
  const data = Buffer.from("some text");
  const oid = writeLoose(store, "blob", data);
  const room = Buffer.alloc(100);
  const first = readOnceAs(store, oid, "blob", room);
  expect(first.equals(data)).toBe(true);
  expect(readOnceAs(store, oid, "blob")).not.toBe(readOnceAs(store, oid, "blob"));
  expect(() => readOnceAs(store, oid, "tree")).toThrow("is a blob, not a tree");
  const missing = hashObject(TEST_FORMAT, "blob", Buffer.from("another"));
  expect(() => readOnceAs(store, missing, "blob")).toThrow("is missing");
  // A source that has no such reading is read in its own way.
  const plain = { format: TEST_FORMAT, has: () => true, read: () => ({ kind: "blob" as const, data }) };
  expect(readOnceAs(plain, oid, "blob", room)).toBe(data);
});
