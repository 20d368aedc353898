/** BLAKE3 by vectors: the same as two other implementations at every size that is special, however the bytes come. */

import { expect, test } from "bun:test";
import { blake3 } from "@noble/hashes/blake3.js";
import { createBLAKE3 } from "hash-wasm";
import { compress, FLAG, IV } from "../../../src/kv/blake3/compress.ts";
import { simdModule } from "../../../src/kv/blake3/simd-module.ts";
import { type Blake3Stream, GROUP_BYTES, openBlake3 } from "../../../src/kv/blake3/stream.ts";
import { noise } from "../../support/noise.ts";
import { random } from "../../support/random.ts";

const KiB = 1_024;

function open(): Blake3Stream {
  const stream = openBlake3();
  if (stream === undefined) throw new Error("this processor has no vectors");
  return stream;
}

function hash(data: Buffer, portion: () => number = () => data.length): string {
  const stream = open();
  for (let at = 0; at < data.length; ) {
    const part = data.subarray(at, at + portion());
    stream.update(part);
    at += part.length;
  }
  return stream.finish();
}

test("the published hashes of the empty input and of 'abc'", () => {
  expect(hash(Buffer.alloc(0))).toBe("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
  expect(hash(Buffer.from("abc"))).toBe("6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
});

test("sizes around blocks, chunks, groups of chunks and powers of two of them, beside @noble/hashes", () => {
  const data = noise("blake3", 400 * KiB);
  const sizes = [1, 2, 3, 63, 64, 65, 127, 128, 129];
  for (const chunks of [
    1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 63, 64, 65, 66, 96, 127, 128, 129, 192, 193, 256, 257, 320,
  ]) {
    for (const more of [-1, 0, 1, 65]) sizes.push(chunks * KiB + more);
  }
  for (const size of sizes) {
    const part = data.subarray(0, size);
    expect([size, hash(part)]).toEqual([size, Buffer.from(blake3(part)).toString("hex")]);
  }
});

test("long inputs in portions of any size, several at once, beside hash-wasm", async () => {
  const rng = random("blake3");
  const inputs = [0, 1, 2].map((n) => noise(`blake3 ${rng.seed} ${n}`, 2_000_000 + rng.int(2_000_000)));
  const streams = inputs.map(open);
  const done = inputs.map(() => 0);
  while (done.some((at, n) => at < inputs[n]!.length)) {
    const n = rng.int(inputs.length);
    const part = inputs[n]!.subarray(done[n], done[n]! + 1 + rng.int(rng.int(3) === 0 ? 300_000 : 3_000));
    streams[n]!.update(part);
    done[n]! += part.length;
  }
  const hasher = await createBLAKE3();
  for (const [n, stream] of streams.entries())
    expect(stream.finish()).toBe(hasher.init().update(inputs[n]!).digest("hex"));
});

test("a group by its node is the group by its bytes, at its place", () => {
  const rng = random("blake3 nodes");
  for (let run = 0; run < 20; run++) {
    const data = noise(`nodes ${rng.seed} ${run}`, 1 + rng.int(40) * GROUP_BYTES + rng.int(2) * rng.int(GROUP_BYTES));
    const nodes: Uint8Array[] = [];
    const first = openBlake3((node) => nodes.push(Uint8Array.from(node)))!;
    first.update(data);
    const hash = first.finish();
    expect(nodes.length).toBe(Math.floor((data.length - 1) / GROUP_BYTES));
    const again: Uint8Array[] = [];
    const second = openBlake3((node) => again.push(Uint8Array.from(node)))!;
    for (const [group, node] of nodes.entries()) {
      if (rng.int(2) === 0) second.updateNode(node);
      else second.update(data.subarray(group * GROUP_BYTES, (group + 1) * GROUP_BYTES));
    }
    second.update(data.subarray(nodes.length * GROUP_BYTES));
    expect([second.finish(), again]).toEqual([hash, nodes]);
  }
  const stream = open();
  stream.update(Buffer.alloc(1));
  expect(() => stream.updateNode(Buffer.alloc(32))).toThrow("whole group");
});

test("counters of more than 32 bits and any flags, beside the compression of one block", () => {
  const { memory, hash } = new WebAssembly.Instance(new WebAssembly.Module(simdModule(1))).exports as unknown as {
    memory: WebAssembly.Memory;
    hash: (...numbers: number[]) => void;
  };
  const bytes = noise("lanes", 8 * 128);
  new Uint8Array(memory.buffer).set(bytes);
  hash(2, 0, 4_096, 2, 0xffffffe0, 1, 5, 16, FLAG.chunkStart, FLAG.chunkEnd);
  for (let lane = 0; lane < 8; lane++) {
    const block = (n: number) =>
      Array.from({ length: 16 }, (_, word) => bytes.readUInt32LE(lane * 128 + n * 64 + word * 4));
    const common = { counter: 5 * 2 ** 32 + 0xffffffe0 + lane, length: 64 };
    const chain = compress({ ...common, chain: IV, block: block(0), flags: 16 | FLAG.chunkStart });
    const words = compress({ ...common, chain, block: block(1), flags: 16 | FLAG.chunkEnd });
    expect([...new Uint32Array(memory.buffer, 4_096 + lane * 32, 8)]).toEqual([...words]);
  }
});
