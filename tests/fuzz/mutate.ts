/** Changes to bytes that parsers get wrong: cuts, repeats, splices, flipped bits, and the numbers at the edges of their types. */

import type { Random } from "../support/random.ts";

/** Numbers at the edge of what some type holds. */
const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

/** Words that mean something to one parser or another. */
const WORDS = [
  "0000",
  "0001",
  "0002",
  "0003",
  "0004",
  "fff0",
  "fff1",
  "ffff",
  "\0",
  "\n",
  "\r\n",
  "\n\n",
  " ",
  "\t",
  "=",
  "\\",
  '"',
  "[",
  "]",
  "/",
  "//",
  "..",
  "@{",
  ".lock",
  ".git",
  "~",
  "^{}",
  "want ",
  "have ",
  "shallow ",
  "deepen ",
  "filter ",
  "PACK",
  "\xfftOc",
  "100644 ",
  "40000 ",
  "tree ",
  "parent ",
  "-1",
  "+0000",
  "99999999999999999999",
  "\xff",
  "\xc3\xa9",
  "\xed\xa0\x80",
];

type Mutation = (bytes: Buffer, rng: Random, others: readonly Buffer[]) => Buffer;

const MUTATIONS: readonly Mutation[] = [
  (bytes, rng) => {
    const changed = Buffer.from(bytes);
    if (changed.length > 0) changed[rng.int(changed.length)]! ^= 1 << rng.int(8);
    return changed;
  },
  (bytes, rng) => {
    const changed = Buffer.from(bytes);
    if (changed.length > 0) changed[rng.int(changed.length)] = rng.int(256);
    return changed;
  },
  (bytes, rng) => bytes.subarray(0, rng.int(bytes.length + 1)),
  (bytes, rng) => cut(bytes, rng, () => Buffer.alloc(0)),
  (bytes, rng) => cut(bytes, rng, (piece) => Buffer.concat([piece, piece])),
  (bytes, rng) => insert(bytes, rng, Buffer.from(rng.pick(WORDS), "latin1")),
  (bytes, rng) => insert(bytes, rng, rng.bytes(1 + rng.int(8))),
  (bytes, rng) => {
    const changed = Buffer.from(bytes);
    const at = rng.int(changed.length + 1);
    if (at + 4 <= changed.length) changed.writeUInt32BE(rng.pick(EDGES), at);
    return changed;
  },
  (bytes, rng, others) => {
    const other = rng.pick(others);
    return Buffer.concat([bytes.subarray(0, rng.int(bytes.length + 1)), other.subarray(rng.int(other.length + 1))]);
  },
  (bytes, rng) => insert(bytes, rng, Buffer.alloc(1 + rng.int(2_000), rng.int(256))),
];

/** `bytes` changed once to four times; pieces of `others` may be put in. */
export function mutate(bytes: Buffer, rng: Random, others: readonly Buffer[]): Buffer {
  let changed = bytes;
  for (let times = 1 + rng.int(4); times > 0; times--) changed = rng.pick(MUTATIONS)(changed, rng, others);
  return changed;
}

function insert(bytes: Buffer, rng: Random, what: Buffer): Buffer {
  const at = rng.int(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), what, bytes.subarray(at)]);
}

/** Replaces a short piece by what `by` makes of it. */
function cut(bytes: Buffer, rng: Random, by: (piece: Buffer) => Buffer): Buffer {
  const at = rng.int(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + rng.int(64));
  return Buffer.concat([bytes.subarray(0, at), by(bytes.subarray(at, end)), bytes.subarray(end)]);
}
