/** Fuzzed parsers of packs, deltas and pack indexes. */

import * as fs from "node:fs";
import * as path from "node:path";
import { hashBytes } from "../../src/gitwire/object/oid.ts";
import { applyDelta, readInstructions } from "../../src/gitwire/pack/delta.ts";
import { indexPack } from "../../src/gitwire/pack/index-pack.ts";
import { PackIndex } from "../../src/gitwire/pack/pack-index.ts";
import { verifyPack } from "../../src/gitwire/pack/verify-pack.ts";
import { bytesSource } from "../../src/gitwire/protocol/byte-stream.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { same, type Target } from "./target.ts";

/** With the right checksum at its end, so that what lies before it is looked at. */
export function sealed(pack: Buffer): Buffer {
  if (pack.length < 32) return pack;
  const body = pack.subarray(0, -20);
  return Buffer.concat([body, hashBytes(TEST_FORMAT, body)]);
}

const LIMITS = { packBytes: 1 << 22, packObjects: 10_000, objectBytes: 1 << 22, packInflatedBytes: 1 << 26 };

let indexed: string | undefined;

/** What is taken is sound, what is refused leaves nothing. The first byte says whether the checksum is put right. */
const packs: Target = {
  name: "pack",
  rounds: 1_500,
  codes: ["BAD_PACK", "LIMIT_EXCEEDED"],
  run: async (bytes) => {
    indexed ??= tempDir("fuzz-pack");
    const dir = indexed;
    const pack = (bytes[0] ?? 0) % 4 === 0 ? bytes.subarray(1) : sealed(bytes.subarray(1));
    try {
      const half = pack.length >> 1;
      const source = bytesSource(pack.subarray(0, half), pack.subarray(half));
      const found = await indexPack(source, { format: TEST_FORMAT, dir, bases: undefined, limits: LIMITS });
      if (found !== undefined) same("objects", await verifyPack(found.packPath, TEST_FORMAT), found.objectCount);
      for (const name of fs.readdirSync(dir)) fs.rmSync(path.join(dir, name));
    } finally {
      same("left behind", fs.readdirSync(dir), []);
    }
  },
};

/** `length of the base:u8 base delta`: the same result by the instructions, one at a time. */
const deltas: Target = {
  name: "delta",
  rounds: 8_000,
  codes: ["BAD_OBJECT", "LIMIT_EXCEEDED"],
  run: (bytes) => {
    const length = bytes[0] ?? 0;
    const base = bytes.subarray(1, 1 + length);
    const delta = bytes.subarray(1 + length);
    const made = applyDelta(base, delta, 1 << 20);
    const parts: Buffer[] = [];
    readInstructions(delta, {
      copy: (offset, size) => parts.push(base.subarray(offset, offset + size)),
      insert: (at, size) => parts.push(delta.subarray(at, at + size)),
    });
    same("applied and spelled out", Buffer.concat(parts), Buffer.from(made));
  },
};

let file: string | undefined;

/** An index file may say anything; it is refused, or every question has an answer. */
const indexes: Target = {
  name: "index",
  rounds: 1_500,
  codes: ["CORRUPT"],
  run: (bytes) => {
    file ??= path.join(tempDir("fuzz-index"), "pack.idx");
    fs.writeFileSync(file, bytes);
    const index = new PackIndex(file, TEST_FORMAT);
    try {
      const ids = index.loadIds();
      for (let i = 0; i < index.count; i++) {
        index.findRaw(ids, i * TEST_FORMAT.rawSize);
        index.oid(i);
        index.crc(i);
        index.offset(i);
      }
      for (const digit of "0123456789abcdef") {
        index.find(digit.repeat(40));
        index.startingWith(digit.repeat(4), 3);
      }
      index.loadOffsets();
    } finally {
      index.release();
    }
  },
};

export const PACK_TARGETS: readonly Target[] = [packs, deltas, indexes];
