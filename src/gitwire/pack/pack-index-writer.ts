/**
 * Writes a pack's index, version 2 (git: gitformat-pack, "Version 2 pack-*.idx files"; grammar in pack-index.ts).
 *
 * Objects come as parallel arrays in order of the pack.
 */

import { KvError } from "../../errors.ts";
import { newHasher, type ObjectFormat } from "../object/oid.ts";
import { SortedIds } from "../object/sorted-ids.ts";
import type { ByteFile } from "./temp-file.ts";

/** What an index says about a pack's objects; member `i` of each array is the i-th object of the pack. */
export interface IndexedObjects {
  readonly count: number;
  /** Raw ids, one after the other. */
  readonly ids: Buffer;
  /** Offset of each entry in the pack. */
  readonly offsets: Float64Array;
  /** CRC-32 of each whole entry. */
  readonly crcs: Uint32Array;
  /** The ids in order, where they have been sorted before. */
  readonly sorted?: SortedIds;
}

/** Offsets from here up are written to the 64-bit table. */
const LARGE = 2 ** 31;
const FLUSH_BYTES = 1024 * 1024;

/** Objects between two yields. */
const STEP = 256;

export interface IndexOptions {
  /** Whether an object that comes twice is refused (as `git index-pack --strict` does). Default false. */
  readonly unique?: boolean;
  /** Start of the 64-bit table (tests). */
  readonly largeFrom?: number | undefined;
}

/**
 * Writes the index to `file`, yielding now and then so that others may run. Throws BAD_PACK where an object comes
 * twice and is not to.
 */
export function* writePackIndex(
  file: Pick<ByteFile, "write">,
  format: ObjectFormat,
  objects: IndexedObjects,
  packChecksum: Buffer,
  { unique = false, largeFrom = LARGE }: IndexOptions = {},
): Generator<void, void> {
  const { count, ids, offsets, crcs } = objects;
  const { rawSize } = format;
  const { order } = objects.sorted ?? new SortedIds(format, ids, count);
  if (unique) refuseTwice(ids, rawSize, order);
  const out = new HashedFile(file, format, Math.min(mostIndexBytes(format, count), FLUSH_BYTES));
  out.uint32(0xff74_4f63);
  out.uint32(2);
  writeFanout(out, format, ids, count);
  for (let i = 0; i < count; i++) {
    if (i % STEP === 0) yield;
    out.bytes(ids, order[i]! * rawSize, rawSize);
  }
  for (let i = 0; i < count; i++) {
    if (i % STEP === 0) yield;
    out.uint32(crcs[order[i]!]!);
  }
  yield* writeOffsets(out, order, offsets, largeFrom);
  out.bytes(packChecksum, 0, rawSize);
  out.finish();
}

/** Bytes that the index of `count` objects has at the most: the fan-out, the checksums, and what an object takes. */
export function mostIndexBytes({ rawSize }: ObjectFormat, count: number): number {
  return 8 + 1024 + 2 * rawSize + count * (rawSize + 16);
}

function* writeOffsets(
  out: HashedFile,
  order: Uint32Array,
  offsets: Float64Array,
  largeFrom: number,
): Generator<void, void> {
  let large = 0;
  for (let i = 0; i < order.length; i++) {
    if (i % STEP === 0) yield;
    const offset = offsets[order[i]!]!;
    out.uint32(offset < largeFrom ? offset : LARGE + large++);
  }
  for (let i = 0; i < order.length && large > 0; i++) {
    if (i % STEP === 0) yield;
    const offset = offsets[order[i]!]!;
    if (offset < largeFrom) continue;
    out.uint32(Math.floor(offset / 2 ** 32));
    out.uint32(offset % 2 ** 32);
  }
}

function writeFanout(out: HashedFile, format: ObjectFormat, ids: Buffer, count: number): void {
  const counts = new Uint32Array(256);
  for (let i = 0; i < count; i++) counts[ids[i * format.rawSize]!]!++;
  let total = 0;
  for (const n of counts) {
    total += n;
    out.uint32(total);
  }
}

function refuseTwice(ids: Buffer, rawSize: number, order: Uint32Array): void {
  for (let i = 1; i < order.length; i++) {
    const at = order[i]! * rawSize;
    if (ids.readUInt32BE(at) !== ids.readUInt32BE(order[i - 1]! * rawSize)) continue;
    if (compareIds(ids, rawSize, order[i - 1]!, order[i]!) !== 0) continue;
    throw new KvError("BAD_PACK", `the pack holds ${ids.hexSlice(at, at + rawSize)} twice`);
  }
}

function compareIds(ids: Buffer, rawSize: number, a: number, b: number): number {
  return ids.compare(ids, b * rawSize, (b + 1) * rawSize, a * rawSize, (a + 1) * rawSize);
}

/** Collects small pieces, hashes and writes them in large ones. */
class HashedFile {
  readonly #file: Pick<ByteFile, "write">;
  /** Bytes in the file. */
  #written = 0;
  readonly #format: ObjectFormat;
  readonly #hasher: Bun.CryptoHasher;
  readonly #buffer: Buffer;
  #length = 0;

  /** Writes pieces of `size` bytes. */
  constructor(file: Pick<ByteFile, "write">, format: ObjectFormat, size: number) {
    this.#file = file;
    this.#buffer = Buffer.allocUnsafeSlow(size);
    this.#format = format;
    this.#hasher = newHasher(format);
  }

  uint32(value: number): void {
    if (this.#length + 4 > this.#buffer.length) this.#flush();
    this.#length = this.#buffer.writeUInt32BE(value, this.#length);
  }

  bytes(from: Buffer, at: number, length: number): void {
    if (this.#length + length > this.#buffer.length) this.#flush();
    for (let i = 0; i < length; i++) this.#buffer[this.#length + i] = from[at + i]!;
    this.#length += length;
  }

  /** Writes what is left and the hash of everything. */
  finish(): void {
    this.#flush();
    const digest = this.#hasher.digest() as Buffer;
    digest.copy(this.#buffer, 0);
    this.#write(this.#format.rawSize);
  }

  #flush(): void {
    this.#hasher.update(this.#buffer.subarray(0, this.#length));
    this.#write(this.#length);
    this.#length = 0;
  }

  #write(length: number): void {
    this.#file.write(this.#buffer.subarray(0, length), this.#written);
    this.#written += length;
  }
}
