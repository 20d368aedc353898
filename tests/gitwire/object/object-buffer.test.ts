import { expect, test } from "bun:test";
import { ObjectBuffer } from "../../../src/gitwire/object/object-buffer.ts";
import { hashObject, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { random } from "../../support/random.ts";

const rng = random("object-buffer");

test("gives the ids that hashing header and data gives, one object after the other", () => {
  for (const format of [SHA1, SHA256]) {
    const object = new ObjectBuffer(format, 1_000);
    for (const size of [0, 1, 9, 10, 99, 100, 999, 1_000, 123_456, 1_000_000, 12]) {
      object.hold(size);
      const data = rng.bytes(size);
      object.data.set(data);
      for (const kind of ["commit", "tree", "blob", "tag"] as const) {
        expect(object.id(kind, size).toString("hex")).toBe(hashObject(format, kind, data));
      }
    }
  }
});
