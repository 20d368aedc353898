/**
 * zlib streams of stored blocks alone (RFC 1951, section 3.2.4), as data that does not compress is written. They need no inflating:
 * the data is moved together where it was read to. 100 MiB in pieces of 256 KiB took two buffers for each before.
 */

import { KvError } from "../../errors.ts";

/** Bytes of a zlib stream before its first block, of a stored block before its data, and of the checksum at the end. */
const HEAD = 2;
const BLOCK_HEAD = 5;
const CHECKSUM = 4;

/** Whether the zlib stream at `bytes[at]` begins with a stored block. */
export function beginsStored(bytes: Buffer, at: number): boolean {
  return (bytes[at]! & 0x0f) === 8 && (bytes[at + 2]! & 0b110) === 0;
}

/**
 * The `size` bytes of data of the zlib stream at the start of `stream`, whose memory they are in afterwards; undefined, and nothing
 * changed, where it has other blocks, is cut short, or is none. Throws BAD_OBJECT where its checksum is of other data; `isCompared`
 * leaves that to the caller, who compares the data with a digest.
 */
export function unstore(stream: Buffer, size: number, isCompared = false): Buffer | undefined {
  if (stream.length < HEAD || stream.readUInt16BE(0) % 31 !== 0 || (stream[1]! & 0x20) !== 0) return undefined;
  const blocks: number[] = [];
  let total = 0;
  let at = HEAD;
  for (let isLast = false; !isLast; ) {
    if (at + BLOCK_HEAD > stream.length || (stream[at]! & 0b110) !== 0) return undefined;
    isLast = (stream[at]! & 1) === 1;
    const length = stream.readUInt16LE(at + 1);
    if ((length ^ 0xffff) !== stream.readUInt16LE(at + 3)) return undefined;
    blocks.push(at + BLOCK_HEAD, length);
    total += length;
    at += BLOCK_HEAD + length;
  }
  if (total !== size || at + CHECKSUM > stream.length) return undefined;
  const checksum = stream.readUInt32BE(at);
  let filled = 0;
  for (let i = 0; i < blocks.length; i += 2) {
    const start = blocks[i]!;
    const length = blocks[i + 1]!;
    stream.copyWithin(filled, start, start + length);
    filled += length;
  }
  const data = stream.subarray(0, size);
  if (!isCompared && Bun.hash.adler32(data) !== checksum)
    throw new KvError("BAD_OBJECT", "compressed data is damaged: incorrect data check");
  return data;
}

/**
 * A copy of the `size` bytes of data of the zlib stream at `bytes[at]`, where that is one stored block and ends before `end`: small deltas are. Anything
 * else, damage too, is undefined: inflating it tells what it is.
 */
export function storedAt(bytes: Buffer, at: number, end: number, size: number): Buffer | undefined {
  const start = at + HEAD + BLOCK_HEAD;
  if (start + size + CHECKSUM > end || size > MOST_STORED || bytes[at + HEAD] !== 1) return undefined;
  if (bytes.readUInt16BE(at) % 31 !== 0 || !beginsStored(bytes, at) || (bytes[at + 1]! & 0x20) !== 0) return undefined;
  if (bytes.readUInt16LE(at + 3) !== size || bytes.readUInt16LE(at + 5) !== (size ^ 0xffff)) return undefined;
  const data = Buffer.copyBytesFrom(bytes, start, size);
  return Bun.hash.adler32(data) === bytes.readUInt32BE(start + size) ? data : undefined;
}

/** Most bytes of one stored block. */
const MOST_STORED = 0xffff;
