/** Manifests: one spelling, and nothing that could not have been cut so. */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import { SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { encodeManifest, type Manifest, parseManifest } from "../../src/kv/manifest.ts";
import { LIMITS } from "../../src/limits.ts";
import { random } from "../support/random.ts";

const FASTCDC = { mode: "fastcdc", min: 65_536, avg: 262_144, max: 1_048_576 } as const;
const ETAG = `blake3:${"e".repeat(64)}`;
const piece = (size: number, digit = "a") => ({ size, sha256: digit.repeat(64), oid: digit.repeat(40) });

const GOOD: Manifest = {
  key: 'größe "1"',
  size: 300_007,
  etag: ETAG,
  chunking: FASTCDC,
  chunks: [piece(100_000), piece(200_000, "b"), piece(7, "c")],
};

const GOLDEN =
  '{"v":1,"key":"größe \\"1\\"","size":300007,"etag":"blake3:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",' +
  '"chunking":{"mode":"fastcdc","min":65536,"avg":262144,"max":1048576},"chunks":[' +
  '{"size":100000,"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","oid":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},' +
  '{"size":200000,"sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","oid":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"},' +
  '{"size":7,"sha256":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","oid":"cccccccccccccccccccccccccccccccccccccccc"}]}';

/** What reading `data` ends with. */
function problem(data: Buffer | string, format = SHA1): string {
  try {
    parseManifest(format, Buffer.from(data));
    return "ok";
  } catch (error) {
    if (error instanceof KvError && error.code === "CORRUPT") return error.message;
    throw error;
  }
}

/** The golden manifest with `from` replaced. */
function changed(from: string, to: string): string {
  if (!GOLDEN.includes(from)) throw new Error(`no ${from} in the manifest`);
  return GOLDEN.replace(from, to);
}

test("is written as the format has it, and read back", () => {
  expect(encodeManifest(GOOD).toString()).toBe(GOLDEN);
  expect(parseManifest(SHA1, Buffer.from(GOLDEN))).toEqual(GOOD);
  const fixed: Manifest = {
    ...GOOD,
    size: 5_000,
    chunking: { mode: "fixed", size: 4_096 },
    chunks: [piece(4_096), piece(904)],
  };
  expect(encodeManifest(fixed).toString()).toContain('"chunking":{"mode":"fixed","size":4096},"chunks":[');
  expect(parseManifest(SHA1, encodeManifest(fixed))).toEqual(fixed);
  const sha256 = { ...GOOD, chunks: GOOD.chunks.map((each) => ({ ...each, oid: each.sha256 })) };
  expect(parseManifest(SHA256, encodeManifest(sha256))).toEqual(sha256);
});

describe("refuses", () => {
  test.each([
    [
      "a gap: a piece is missing",
      changed(`{"size":200000,"sha256":"${"b".repeat(64)}","oid":"${"b".repeat(40)}"},`, ""),
      "100007",
    ],
    ["a wrong sum", changed('"size":300007', '"size":300008'), "300008 bytes"],
    ["a size of 64 bits", changed('"size":300007', '"size":18446744073709551615'), '"size"'],
    ["a piece of 64 bits", changed('{"size":7,', '{"size":9223372036854775807,'), '"size"'],
    ["a negative piece", changed('{"size":7,', '{"size":-7,'), '"size"'],
    ["an empty piece", changed('{"size":7,', '{"size":0,'), '"size"'],
    ["a size in another spelling", changed('"size":300007', '"size":3.00007e5'), "canonically"],
    ["a size as text", changed('"size":300007', '"size":"300007"'), '"size"'],
    ["a piece that is too small", changed('{"size":100000,', '{"size":65535,'), "65535"],
    ["a piece that is too large", changed('{"size":200000,', '{"size":1048577,'), "1048577"],
    ["no pieces", `${GOLDEN.slice(0, GOLDEN.indexOf('"chunks":'))}"chunks":[]}`, "no pieces"],
    ["pieces that are no list", `${GOLDEN.slice(0, GOLDEN.indexOf('"chunks":'))}"chunks":{}}`, "no pieces"],
    ["a space", changed(',"etag"', ', "etag"'), "canonically"],
    ["a newline at the end", `${GOLDEN}\n`, "canonically"],
    ["a field twice", changed('"v":1,', '"v":1,"v":1,'), "canonically"],
    ["a further field", changed('"v":1,', '"v":1,"x":1,'), "canonically"],
    ["another version", changed('"v":1,', '"v":2,'), '"v"'],
    ["another etag", changed("blake3:", "sha256:"), "etag"],
    ["a digest in capitals", changed("aaaaaaaa", "AAAAAAAA"), "SHA-256"],
    ["an object id of the other kind", changed('"oid":"aaaaaaaa', '"oid":"aaaaaaaaa'), "object id"],
    ["another way of cutting", changed('"mode":"fastcdc"', '"mode":"rabin"'), "chunking"],
    ["sizes in the wrong order", changed('"avg":262144', '"avg":2097152'), "chunking"],
    ["pieces of a byte", changed('"min":65536', '"min":1'), "chunking"],
    ["pieces beyond the limit", changed('"max":1048576', `"max":${LIMITS.pieceMost + 1}`), "chunking"],
    ["bytes that are not UTF-8", Buffer.from([0xff, 0xfe]), "JSON"],
    ["a list", "[]", "no JSON object"],
    ["nothing", "", "JSON"],
  ])("%s", (_, data, fact) => {
    expect(problem(data)).toContain(fact);
  });

  test("a manifest of another object format", () => {
    expect(problem(GOLDEN, SHA256)).toContain("object id");
  });

  test("more than 4 MiB before it is looked at, and never writes one", () => {
    const chunks = Array.from({ length: 40_000 }, () => piece(4_096));
    const huge: Manifest = { ...GOOD, size: 40_000 * 4_096, chunking: { mode: "fixed", size: 4_096 }, chunks };
    expect(() => encodeManifest(huge)).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED" }));
    expect(problem(Buffer.alloc(LIMITS.manifestBytes + 1, 0x20))).toContain("at most 4194304");
  });

  test("whatever one changed byte makes of it, unless it is another good one", () => {
    const { int, seed } = random("manifest");
    const data = Buffer.from(GOLDEN);
    for (let round = 0; round < 2_000; round++) {
      const at = int(data.length);
      const copy = Buffer.from(data);
      copy[at] = copy[at]! ^ (1 << int(8));
      let read: Manifest | undefined;
      try {
        read = parseManifest(SHA1, copy);
      } catch (error) {
        expect(error, `seed ${seed}`).toMatchObject({ code: "CORRUPT" });
      }
      if (read !== undefined) expect(encodeManifest(read).equals(copy), `seed ${seed}`).toBe(true);
    }
  });
});
