/**
 * Reads a pack's index, versions 1 and 2 (git: gitformat-pack, "pack-*.idx files").
 *
 * ```
 * v1 = fanout *(offset32 oid) pack-checksum idx-checksum
 * v2 = ff 74 4f 63 | 00000002 | fanout | *oid | *crc32 | *offset32 | *offset64 | pack-checksum | idx-checksum
 * fanout = 256 counts: how many ids have a first byte of at most that
 * offset32 with its top bit set (v2): the rest is an index into offset64
 * ```
 * A lookup in a large index reads about 8 KiB from the file and nothing is kept: ids are uniform, so the place of one can
 * be computed to within a few dozen entries. Small indexes are read whole and their file closed.
 */

import * as fs from "node:fs";
import { compareRuns } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import type { ObjectFormat, Oid } from "../object/oid.ts";
import { IdHeads } from "./id-heads.ts";
import { countKeptIndex, mayKeepIndex } from "./kept-indexes.ts";
import { ReadAhead } from "./read-ahead.ts";

const MAGIC = 0xff74_4f63;
const FANOUT_BYTES = 1_024;
/** Indexes up to this size are kept in memory. */
const WHOLE_MAX = 64 * 1024;
/**
 * Indexes up to this size are, where the pack's objects are read in bulk or after a lookup for each so many bytes: a lookup is two reads, and
 * memory for the whole has to be touched first. Larger ones are, up to LARGE_MAX, once lookups have read as much as there is: then they
 * are many, and all over the pack.
 */
const KEPT_MAX = 16 * 1024 * 1024;
const KEPT_SHARE = 8 * 1024;
const LARGE_MAX = 128 * 1024 * 1024;
/** Bytes of ids read around the computed place. */
const WINDOW_BYTES = 4_096;

const window = Buffer.allocUnsafeSlow(WINDOW_BYTES + 64);
const scratch = Buffer.allocUnsafeSlow(64);

export class PackIndex {
  readonly path: string;
  readonly format: ObjectFormat;
  readonly version: 1 | 2;
  /** Objects in the pack. */
  readonly count: number;
  /** Raw checksum of the pack this index belongs to. */
  readonly packChecksum: Buffer;
  /** How many ids have a first byte of at most so much. */
  readonly #fanout: Uint32Array;
  readonly #size: number;
  /** Where the ids start, and bytes from one to the next. */
  readonly #idsAt: number;
  readonly #stride: number;
  readonly #offsetsAt: number;
  readonly #largeCount: number;
  #whole: Buffer | undefined;
  #heads: IdHeads | undefined;
  /** Bytes it adds to what is kept of all (kept-indexes.ts). */
  #kept = 0;
  /** See {@link #locate}. */
  #located = 0;
  #lookups = 0;
  /** The lookup after which the file is taken into memory. */
  readonly #keepAfter: number;
  /** What was read ahead of ids and of offsets, during a sweep. */
  #ahead: { readonly ids: ReadAhead; readonly offsets: ReadAhead } | undefined;
  #fd: number | undefined;

  /** Opens the index at `path`, of which `held` is all where it need not be read. Throws CORRUPT where it is not one; system errors (ENOENT) as they are. */
  constructor(path: string, format: ObjectFormat, held?: Buffer) {
    this.path = path;
    this.format = format;
    this.#whole = held;
    if (held === undefined) this.#fd = fs.openSync(path, "r");
    try {
      this.#size = held?.length ?? fs.fstatSync(this.#fd!).size;
      if (this.#size <= WHOLE_MAX) this.#readWhole();
      const later = this.#size <= LARGE_MAX ? Math.ceil(this.#size / WINDOW_BYTES) : Number.POSITIVE_INFINITY;
      this.#keepAfter = this.#size <= KEPT_MAX ? Math.ceil(this.#size / KEPT_SHARE) : later;
      const head = this.#read(0, Math.min(8 + FANOUT_BYTES, this.#size), Buffer.allocUnsafe(8 + FANOUT_BYTES));
      if (head.length < FANOUT_BYTES + 8) throw this.#corrupt("it is too short");
      this.version = head.readUInt32BE(0) === MAGIC ? 2 : 1;
      if (this.version === 2 && head.readUInt32BE(4) !== 2) throw this.#corrupt("its version is not known");
      this.#fanout = fanoutAt(head, this.version === 2 ? 8 : 0);
      this.count = this.#checkFanout();
      const { rawSize } = format;
      this.#stride = this.version === 2 ? rawSize : rawSize + 4;
      this.#idsAt = this.version === 2 ? 8 + FANOUT_BYTES : FANOUT_BYTES + 4;
      this.#offsetsAt = this.#idsAt + this.count * (rawSize + 4);
      this.#largeCount = this.#checkSize();
      this.packChecksum = Buffer.from(this.#read(this.#size - 2 * rawSize, rawSize, scratch));
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** Position of the raw id at `oid[at]` in the order of ids, or -1. */
  findRaw(oid: Buffer, at: number): number {
    if (this.#ahead === undefined && ++this.#lookups >= this.#keepAfter) this.#keepAtHand();
    const first = oid[at]!;
    let low = first === 0 ? 0 : this.#fanout[first - 1]!;
    let high = this.#fanout[first]!;
    if (this.#heads !== undefined && this.#whole === undefined) return this.#findAmong(this.#heads, oid, at, low, high);
    const share = oid.readUInt32BE(at + 1) / 2 ** 32;
    const capacity = Math.floor(WINDOW_BYTES / this.#stride);
    // First where the id should stand, then the neighbouring window; ids made to deceive us cost a plain bisection.
    let start = Math.floor(low + share * (high - low) - capacity / 2);
    for (let round = 0; low < high; round++) {
      if (round > 1) start = Math.floor((low + high - capacity) / 2);
      start = Math.max(low, Math.min(start, high - capacity));
      const count = Math.min(capacity, high - start);
      const ids = this.#locate(
        this.#idsAt + start * this.#stride,
        (count - 1) * this.#stride + this.format.rawSize,
        window,
        this.#ahead?.ids,
      );
      const place = this.#bisect(ids, this.#located, count, oid, at);
      if (place >= 0) return start + place;
      const before = -place - 1;
      if (before > 0 && before < count) return -1;
      if (before === 0) {
        high = start;
        start -= capacity;
      } else {
        low = start + count;
        start = low;
      }
    }
    return -1;
  }

  /** Position of the object `oid`, or -1. */
  find(oid: Oid): number {
    return this.findRaw(rawOid(oid), 0);
  }

  /**
   * Runs `lookups`, which ask for many ids in ascending order: the tables are then read in large pieces. In any other order they
   * find the same, slowly.
   */
  sweep<T>(lookups: () => T): T {
    // Whoever sweeps again and again would read the same pieces each time.
    if (++this.#lookups >= this.#keepAfter) this.#keepAtHand();
    if (this.#whole === undefined) this.#ahead ??= { ids: new ReadAhead(), offsets: new ReadAhead() };
    try {
      return lookups();
    } finally {
      this.#ahead = undefined;
    }
  }

  /** Offset in the pack of the object at `position`. */
  offset(position: number): number {
    const at = this.version === 1 ? this.#idsAt - 4 + position * this.#stride : this.#offsetsAt + position * 4;
    const offset = this.#locate(at, 4, scratch, this.#ahead?.offsets).readUInt32BE(this.#located);
    if (this.version === 1) return offset;
    if (offset < 2 ** 31) return offset;
    const large = offset - 2 ** 31;
    if (large >= this.#largeCount) throw this.#corrupt("an offset points past its table");
    const bytes = this.#read(this.#offsetsAt + this.count * 4 + large * 8, 8, scratch);
    return this.#large(bytes, 0);
  }

  /** CRC-32 of the whole entry of the object at `position`; undefined in version 1. */
  crc(position: number): number | undefined {
    if (this.version === 1) return undefined;
    const at = this.#idsAt + this.count * this.format.rawSize + position * 4;
    return this.#locate(at, 4, scratch).readUInt32BE(this.#located);
  }

  /** Id of the object at `position`. */
  oid(position: number): Oid {
    const { rawSize } = this.format;
    const ids = this.#locate(this.#idsAt + position * this.#stride, rawSize, scratch, this.#ahead?.ids);
    return ids.hexSlice(this.#located, this.#located + rawSize);
  }

  /** The raw ids of positions `from` to `to`, `stride` bytes from one to the next. */
  idsFrom(from: number, to: number): { readonly bytes: Buffer; readonly start: number; readonly stride: number } {
    const stride = this.#stride;
    const length = Math.max(0, (to - from) * stride - (stride - this.format.rawSize));
    const bytes = this.#locate(this.#idsAt + from * stride, length, undefined);
    return { bytes, start: this.#located, stride };
  }

  /** Ids that start with the hex digits `prefix`, at most `limit` of them, in order. */
  startingWith(prefix: string, limit: number): Oid[] {
    const found: Oid[] = [];
    // The first id not below the prefix padded with zeros, by bisection.
    const least = prefix.padEnd(this.format.hexSize, "0");
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.oid(middle) < least) low = middle + 1;
      else high = middle;
    }
    for (; low < this.count && found.length < limit; low++) {
      const oid = this.oid(low);
      if (!oid.startsWith(prefix)) break;
      found.push(oid);
    }
    return found;
  }

  /** Every raw id in order, `count * rawSize` bytes: the whole table, so for bulk work only. */
  loadIds(): Buffer {
    const { rawSize } = this.format;
    const table = this.#read(this.#idsAt, this.count * this.#stride - (this.#stride - rawSize), undefined);
    if (this.version === 2) return table;
    const ids = Buffer.allocUnsafe(this.count * rawSize);
    for (let i = 0; i < this.count; i++) table.copy(ids, i * rawSize, i * this.#stride, i * this.#stride + rawSize);
    return ids;
  }

  /** Every offset in order of ids: the whole table, so for bulk work only. */
  loadOffsets(): Float64Array {
    const offsets = new Float64Array(this.count);
    const [at, stride] = this.version === 1 ? [this.#idsAt - 4, this.#stride] : [this.#offsetsAt, 4];
    const table = this.#read(at, this.count * stride, undefined);
    const large = this.#read(this.#offsetsAt + this.count * 4, this.#largeCount * 8, undefined);
    for (let i = 0; i < this.count; i++) {
      const offset = table.readUInt32BE(i * stride);
      if (this.version === 1 || offset < 2 ** 31) offsets[i] = offset;
      else if (offset - 2 ** 31 < this.#largeCount) offsets[i] = this.#large(large, (offset - 2 ** 31) * 8);
      else throw this.#corrupt("an offset points past its table");
    }
    return offsets;
  }

  /** Takes an index of up to 16 MiB into memory, for bulk work. */
  keep(): void {
    if (this.#size <= KEPT_MAX) this.#readWhole();
  }

  /** The same index with all of it in memory, good whatever happens to the file: this one, or one for the caller alone where it is too large to stay. */
  inMemory(): PackIndex {
    if (this.#whole !== undefined) return this;
    const stays = this.#size <= LARGE_MAX && mayKeepIndex(this.#size);
    const index = stays ? this : new PackIndex(this.path, this.format);
    if (stays) this.#stay();
    else index.#readWhole();
    return index;
  }

  /** Frees memory; the index may be used again. */
  close(): void {
    this.release();
    countKeptIndex(-this.#kept);
    this.#kept = 0;
    this.#heads = undefined;
  }

  /** Gives back the file descriptor; the file is opened again when needed. */
  release(): void {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** Look-ups are many: they are to find it in memory. */
  #keepAtHand(): void {
    if (this.#whole !== undefined || this.#heads !== undefined) return;
    if (mayKeepIndex(this.#size)) this.#stay();
    else this.#heads = this.#readHeads();
  }

  #stay(): void {
    this.#readWhole();
    if (this.#kept === 0) countKeptIndex(this.#size);
    this.#kept = this.#size;
  }

  #readHeads(): IdHeads {
    const stride = this.#stride;
    return new IdHeads(this.count, stride, (from, count, into) => {
      this.#load(this.#idsAt + from * stride, count * stride - (stride - this.format.rawSize), into);
    });
  }

  #findAmong(heads: IdHeads, oid: Buffer, at: number, low: number, high: number): number {
    const first = heads.first(oid, at, low, high);
    const { rawSize } = this.format;
    for (let position = first; position < high && heads.areAlike(position, first); position++) {
      const ids = this.#locate(this.#idsAt + position * this.#stride, rawSize, scratch, this.#ahead?.ids);
      if (compareRuns(ids, this.#located, oid, at, rawSize) === 0) return position;
    }
    return -1;
  }

  #readWhole(): void {
    if (this.#whole !== undefined) return;
    this.#whole = this.#read(0, this.#size, Buffer.allocUnsafeSlow(Math.max(1, this.#size)));
    this.#heads = undefined;
    this.release();
  }

  /** Bytes `[at, at + length)` of the file, in `into` or in memory already held; valid until the next call. */
  #read(at: number, length: number, into: Buffer | undefined): Buffer {
    const found = this.#locate(at, length, into);
    return found.subarray(this.#located, this.#located + length);
  }

  /** The same without a view of its own, which a lookup has no time for: they begin at {@link #located} of what is returned. */
  #locate(at: number, length: number, into: Buffer | undefined, ahead?: ReadAhead): Buffer {
    if (this.#whole !== undefined) {
      this.#located = at;
      return this.#whole;
    }
    if (ahead !== undefined) {
      if (!ahead.holds(at, length)) {
        const end = Math.min(at + Math.max(length, ahead.buffer.length), this.#size);
        this.#load(at, end - at, ahead.buffer);
        ahead.moved(at, end - at);
      }
      this.#located = at - ahead.start;
      return ahead.buffer;
    }
    const buffer = into ?? Buffer.allocUnsafeSlow(Math.max(1, length));
    this.#load(at, length, buffer);
    this.#located = 0;
    return buffer;
  }

  #load(at: number, length: number, into: Buffer): void {
    if (this.#fd === undefined) this.#fd = fs.openSync(this.path, "r");
    if (fs.readSync(this.#fd, into, 0, length, at) !== length) throw this.#corrupt("it is cut short");
  }

  /** Place of the id among the `count` ids that begin at `from`, or -1 - (how many are below it). */
  #bisect(ids: Buffer, from: number, count: number, oid: Buffer, at: number): number {
    const { rawSize } = this.format;
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const start = from + middle * this.#stride;
      // Most differ in their first bytes; a call for each would be compiled, which takes longer than a brief process saves by it.
      const head = ids[start]! - oid[at]! || ids[start + 1]! - oid[at + 1]! || ids[start + 2]! - oid[at + 2]!;
      const order = head !== 0 ? head : compareRuns(ids, start, oid, at, rawSize);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return -1 - low;
  }

  #large(bytes: Buffer, at: number): number {
    const offset = bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
    if (!Number.isSafeInteger(offset)) throw this.#corrupt("an offset is absurd");
    return offset;
  }

  #checkFanout(): number {
    let last = 0;
    for (let i = 0; i < 256; i++) {
      const next = this.#fanout[i]!;
      if (next < last) throw this.#corrupt("its fan-out table is not in order");
      last = next;
    }
    return last;
  }

  /** How many 64-bit offsets there are, from the file's size. */
  #checkSize(): number {
    const { rawSize } = this.format;
    if (this.version === 1) {
      if (this.#size !== FANOUT_BYTES + this.count * this.#stride + 2 * rawSize)
        throw this.#corrupt("its size is wrong");
      return 0;
    }
    const large = (this.#size - this.#offsetsAt - this.count * 4 - 2 * rawSize) / 8;
    if (!Number.isInteger(large) || large < 0 || large > this.count) throw this.#corrupt("its size is wrong");
    return large;
  }

  #corrupt(reason: string): KvError {
    return new KvError("CORRUPT", `pack index ${this.path} is damaged: ${reason}`);
  }
}

/** The fan-out table at `bytes[at]`, copied. */
function fanoutAt(bytes: Buffer, at: number): Uint32Array {
  const table = Buffer.allocUnsafeSlow(FANOUT_BYTES);
  bytes.copy(table, 0, at, at + FANOUT_BYTES);
  if (IS_LITTLE_ENDIAN) table.swap32();
  return new Uint32Array(table.buffer, table.byteOffset, FANOUT_BYTES / 4);
}

const IS_LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

const raw = Buffer.alloc(32);

/** The raw bytes of a hex id in a buffer shared by all callers: use it before the next call. */
function rawOid(oid: Oid): Buffer {
  raw.write(oid, 0, "hex");
  return raw;
}
