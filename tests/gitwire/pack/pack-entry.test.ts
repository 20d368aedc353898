import { describe, expect, test } from "bun:test";
import type { KvError } from "../../../src/errors.ts";
import { SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import {
  decodeEntryHeader,
  ENTRY,
  encodeOfsDistance,
  encodeTypeSize,
  entryKind,
  kindType,
  MAX_ENTRY_HEADER,
} from "../../../src/gitwire/pack/pack-entry.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

const SIZES = [0, 1, 15, 16, 2_047, 2_048, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 12_345];

describe("entry header", () => {
  test("golden bytes (git: gitformat-pack)", () => {
    const out = Buffer.alloc(16);
    expect(out.subarray(0, encodeTypeSize(out, 0, ENTRY.blob, 10)).toString("hex")).toBe("3a");
    expect(out.subarray(0, encodeTypeSize(out, 0, ENTRY.commit, 300)).toString("hex")).toBe("9c12");
    // The first distance of each length: every further byte adds one to what came before.
    expect(out.subarray(0, encodeOfsDistance(out, 0, 127)).toString("hex")).toBe("7f");
    expect(out.subarray(0, encodeOfsDistance(out, 0, 128)).toString("hex")).toBe("8000");
    expect(out.subarray(0, encodeOfsDistance(out, 0, 16_511)).toString("hex")).toBe("ff7f");
    expect(out.subarray(0, encodeOfsDistance(out, 0, 16_512)).toString("hex")).toBe("808000");
  });

  test("sizes past 2^31 and 2^32 survive for every type", () => {
    const out = Buffer.alloc(64);
    for (const size of SIZES) {
      for (const type of [1, 2, 3, 4] as const) {
        const end = encodeTypeSize(out, 3, type, size);
        expect(decodeEntryHeader(TEST_FORMAT, out, 3, end)).toEqual({
          type,
          size,
          length: end - 3,
          baseDistance: 0,
          baseAt: -1,
        });
        expect(end - 3).toBeLessThanOrEqual(MAX_ENTRY_HEADER);
      }
    }
  });

  test("distances past 2^31 and 2^32 survive", () => {
    const out = Buffer.alloc(64);
    for (const distance of [...SIZES.slice(1), 127, 128, 16_511, 16_512, 2_113_663, 2_113_664]) {
      const start = encodeTypeSize(out, 0, ENTRY.ofsDelta, 77);
      const end = encodeOfsDistance(out, start, distance);
      const header = decodeEntryHeader(TEST_FORMAT, out, 0, end);
      expect(header).toEqual({ type: 6, size: 77, length: end, baseDistance: distance, baseAt: -1 });
    }
  });

  test("a ref-delta's base is as long as the format says", () => {
    const out = Buffer.alloc(64);
    const start = encodeTypeSize(out, 0, ENTRY.refDelta, 500);
    for (const format of [SHA1, SHA256]) {
      const header = decodeEntryHeader(format, out, 0, 64);
      expect(header).toEqual({ type: 7, size: 500, length: start + format.rawSize, baseDistance: 0, baseAt: start });
      expect(decodeEntryHeader(format, out, 0, start + format.rawSize - 1)).toBeUndefined();
    }
  });

  test("cut short it is undefined, never something else", () => {
    const out = Buffer.alloc(64);
    let end = encodeTypeSize(out, 0, ENTRY.ofsDelta, 2 ** 33);
    end = encodeOfsDistance(out, end, 2 ** 33);
    for (let cut = 0; cut < end; cut++) expect(decodeEntryHeader(TEST_FORMAT, out, 0, cut)).toBeUndefined();
  });

  test("types and numbers git does not know are refused", () => {
    const refused = (...bytes: number[]): string | undefined => {
      try {
        decodeEntryHeader(TEST_FORMAT, Buffer.from(bytes), 0, bytes.length);
      } catch (error) {
        return (error as KvError).code;
      }
      return undefined;
    };
    expect(refused(0x05)).toBe("BAD_OBJECT");
    expect(refused(0x55)).toBe("BAD_OBJECT");
    expect(refused(0xbf, ...Array(12).fill(0xff), 0)).toBe("BAD_OBJECT");
    expect(refused(0x65, ...Array(12).fill(0xff), 0)).toBe("BAD_OBJECT");
  });

  test("kinds and types", () => {
    for (const kind of ["commit", "tree", "blob", "tag"] as const) expect(entryKind(kindType(kind))).toBe(kind);
    expect(entryKind(6)).toBeUndefined();
  });
});
