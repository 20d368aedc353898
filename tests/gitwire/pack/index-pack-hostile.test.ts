import { describe, expect, test } from "bun:test";
import * as zlib from "node:zlib";
import { KvError } from "../../../src/errors.ts";
import { hashObject } from "../../../src/gitwire/object/oid.ts";
import { DeltaBuilder } from "../../../src/gitwire/pack/delta.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { indexPack } from "../../../src/gitwire/pack/index-pack.ts";
import { ENTRY } from "../../../src/gitwire/pack/pack-entry.ts";
import type { PackSource } from "../../../src/gitwire/pack/pack-input.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { encodeEntry, type HandEntry, handPack, listDir } from "./fixtures.ts";
import { inChunks, options, refusal } from "./indexing.ts";

describe("hostile packs", () => {
  const text = Buffer.from("some text, some text, some text, some text, some text");
  const edited = Buffer.concat([text, Buffer.from(" and more")]);
  const id = hashObject(TEST_FORMAT, "blob", text);
  const entries: HandEntry[] = [
    { type: ENTRY.blob, data: text },
    { type: ENTRY.refDelta, data: createDelta(text, edited)!, base: id },
    { type: ENTRY.blob, data: Buffer.from("short") },
  ];
  const good = handPack(TEST_FORMAT, entries);

  test("cut anywhere", async () => {
    expect(await refusal(good)).toBe("accepted");
    for (let end = 0; end < good.length; end++) {
      expect(await refusal(good.subarray(0, end), {}, TEST_FORMAT, end % 2 === 0 ? 65_536 : 3)).toBe("BAD_PACK");
    }
  });

  test("a flipped bit anywhere", async () => {
    for (let bit = 0; bit < good.length * 8; bit += 3) {
      const bad = Buffer.from(good);
      bad[bit >> 3]! ^= 1 << (bit & 7);
      // The version is not covered by anything but the checksum; a size may now be beyond the limit.
      expect(await refusal(bad)).toMatch(/^(BAD_PACK|LIMIT_EXCEEDED)$/);
    }
  });

  test("more or fewer objects than declared", async () => {
    expect(await refusal(handPack(TEST_FORMAT, entries, 2))).toBe("BAD_PACK");
    expect(await refusal(handPack(TEST_FORMAT, entries, 4))).toBe("BAD_PACK");
    expect(await refusal(handPack(TEST_FORMAT, entries, 0))).toBe("BAD_PACK");
    expect(await refusal(handPack(TEST_FORMAT, [], 1))).toBe("BAD_PACK");
    // Twenty million objects declared, three there: no memory for the rest.
    const before = process.memoryUsage().rss;
    expect(await refusal(handPack(TEST_FORMAT, entries, 20_000_000))).toBe("BAD_PACK");
    expect(process.memoryUsage().rss - before).toBeLessThan(50 * 1024 * 1024);
  });

  test("no pack, another version", async () => {
    expect(await refusal(Buffer.from("HTTP/1.1 200 OK\r\n\r\nnot a pack at all"))).toBe("BAD_PACK");
    const bad = Buffer.from(good);
    bad[7] = 4;
    expect(await refusal(bad)).toBe("BAD_PACK");
  });

  test("a pack without objects is not stored", async () => {
    const use = options(TEST_FORMAT);
    expect(await indexPack(inChunks(handPack(TEST_FORMAT, []), 5), use)).toBeUndefined();
    expect(listDir(use.dir)).toEqual([]);
  });

  test("what follows the pack is handed back, and nothing is read beyond that", async () => {
    const after = Buffer.from("0000 what follows");
    let reads = 0;
    const all = Buffer.concat([good, after]);
    const source: PackSource = { read: async () => (reads++ === 0 ? all : await new Promise(() => {})) };
    expect((await indexPack(source, options(TEST_FORMAT)))!.rest.equals(after)).toBe(true);
    expect(reads).toBe(1);
    const exact = inChunks(good, good.length);
    let more = 0;
    const stingy: PackSource = { read: () => (more++ === 0 ? exact.read() : new Promise(() => {})) };
    expect((await indexPack(stingy, options(TEST_FORMAT)))!.objectCount).toBe(3);
  });

  test("each limit", async () => {
    expect(await refusal(good, { limits: { packBytes: good.length - 40 } })).toBe("LIMIT_EXCEEDED");
    expect(await refusal(good, { limits: { packObjects: 2 } })).toBe("LIMIT_EXCEEDED");
    expect(await refusal(good, { limits: { objectBytes: text.length - 1 } })).toBe("LIMIT_EXCEEDED");
    // The result of a delta is an object too.
    expect(await refusal(good, { limits: { objectBytes: text.length } })).toBe("LIMIT_EXCEEDED");
    expect(await refusal(good, { limits: { deltaDepth: 0 } })).toBe("LIMIT_EXCEEDED");
    expect(await refusal(good, { limits: { packInflatedBytes: edited.length - 1 } })).toBe("LIMIT_EXCEEDED");
    const exact = { packObjects: 3, objectBytes: edited.length, deltaDepth: 1, packInflatedBytes: edited.length };
    expect(await refusal(good, { limits: { ...exact, packBytes: good.length } })).toBe("accepted");
  });

  test("chains at the limit and one beyond", async () => {
    const chain = (length: number): Buffer => {
      const made: HandEntry[] = [{ type: ENTRY.blob, data: Buffer.from("0") }];
      for (let i = 1; i <= length; i++) {
        const data = Buffer.from([`${i - 1}`.length, `${i}`.length, `${i}`.length, ...Buffer.from(`${i}`)]);
        made.push({ type: ENTRY.ofsDelta, data, base: encodeEntry(made[i - 1]!).length });
      }
      return handPack(TEST_FORMAT, made);
    };
    expect(await refusal(chain(4_095))).toBe("accepted");
    expect(await refusal(chain(4_096))).toBe("LIMIT_EXCEEDED");
  });

  test("bombs: data that inflates to more than it declares, or declares too much", async () => {
    const bomb = zlib.deflateSync(Buffer.alloc(300 * 1024 * 1024));
    const before = process.memoryUsage().rss;
    const with_ = (size: number): Buffer =>
      handPack(TEST_FORMAT, [{ type: ENTRY.blob, data: Buffer.alloc(0), size, stream: bomb }]);
    for (const size of [0, 100, 1_000_000, 2_000_000]) expect(await refusal(with_(size))).toBe("BAD_PACK");
    expect(await refusal(with_(2 ** 33))).toBe("LIMIT_EXCEEDED");
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
  });

  test("a stream that never ends", async () => {
    // Empty stored blocks for ever: no data, no end.
    const blocks = Buffer.alloc(10_000 * 5, "\0\0\0\xff\xff", "latin1");
    for (const size of [0, 1_000, 1_500_000]) {
      const start = handPack(TEST_FORMAT, [
        { type: ENTRY.blob, data: Buffer.alloc(0), size, stream: Buffer.from([0x78, 0x01]) },
      ]).subarray(0, -TEST_FORMAT.rawSize);
      let sent = 0;
      const source: PackSource = {
        read: async () => {
          const chunk = sent === 0 ? start : blocks;
          sent += chunk.length;
          if (sent > 10_000_000) throw new Error("read on and on");
          return chunk;
        },
      };
      const error = await indexPack(source, options(TEST_FORMAT)).catch((thrown) => thrown);
      expect(error.message).toContain("does not end");
    }
  });

  test("small deltas that make huge objects again and again", async () => {
    const base = Buffer.alloc(1_000_000, "x");
    const builder = new DeltaBuilder();
    for (let i = 0; i < 50; i++) {
      builder.copy(0, base.length);
      builder.insert(Buffer.from("-"));
    }
    const data = builder.finish(base.length, 50 * (base.length + 1));
    const baseId = hashObject(TEST_FORMAT, "blob", base);
    const bytes = handPack(TEST_FORMAT, [
      { type: ENTRY.blob, data: base },
      ...Array.from({ length: 20 }, (): HandEntry => ({ type: ENTRY.refDelta, data, base: baseId })),
    ]);
    expect(bytes.length).toBeLessThan(50_000);
    expect(await refusal(bytes, { limits: { packInflatedBytes: 200_000_000 } })).toBe("LIMIT_EXCEEDED");
  });

  test("an error of the connection is handed on, and nothing is left", async () => {
    const use = options(TEST_FORMAT);
    const lost = new KvError("NETWORK", "connection lost");
    let reads = 0;
    const source: PackSource = {
      read: async () => {
        if (reads++ > 0) throw lost;
        return good.subarray(0, 60);
      },
    };
    expect(await indexPack(source, use).catch((error) => error)).toBe(lost);
    expect(listDir(use.dir)).toEqual([]);
  });
});
