/**
 * Deltas: an object told as pieces of another one (git: gitformat-pack, "Deltified representation").
 *
 * ```
 * delta       = base-size target-size *instruction          ; sizes: 7 bits a byte, low first, 0x80 = more follows
 * instruction = copy | insert
 * copy        = 1oooosss-ish: opcode 0x80 | bits 0-3: which offset bytes follow (low first) | bits 4-6: which size bytes;
 *               a size of 0 means 0x10000
 * insert      = opcode 1..127, then that many bytes; opcode 0 is reserved
 * ```
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";

/** Largest size of one copy instruction (three bytes). */
const COPY_MAX = 0xff_ffff;
/** Room for the two sizes at the head of a delta. */
const HEAD_BYTES = 16;
/** Largest insert instruction. */
const INSERT_MAX = 127;
/** Results above this are measured before their memory is taken. */
const MEASURE_ABOVE = 1024 * 1024;

/** The two sizes at the head of a delta and where its instructions start. Throws BAD_OBJECT where they are cut short. */
export function deltaSizes(delta: Buffer): { baseSize: number; targetSize: number; start: number } {
  const sizes = [0, 0];
  let at = 0;
  for (let i = 0; i < 2; i++) {
    for (let scale = 1, byte = 0x80; byte >= 0x80; scale *= 128) {
      if (at >= delta.length || scale > 2 ** 49) throw bad("its sizes are damaged");
      byte = delta[at++]!;
      sizes[i]! += (byte & 0x7f) * scale;
    }
  }
  return { baseSize: sizes[0]!, targetSize: sizes[1]!, start: at };
}

/**
 * The object that `delta` makes of `base`; at the start of `into` where that is given and has room. Throws BAD_OBJECT where
 * the delta is damaged or made for another base, LIMIT_EXCEEDED where its result would exceed `limit` bytes.
 */
export function applyDelta(base: Buffer, delta: Buffer, limit: number = LIMITS.objectBytes, into?: Buffer): Buffer {
  const { baseSize, targetSize, start } = deltaSizes(delta);
  if (baseSize !== base.length) throw bad(`it is made for a base of ${baseSize} bytes, not ${base.length}`);
  if (targetSize > limit)
    throw new KvError("LIMIT_EXCEEDED", `a delta makes ${targetSize} bytes, the limit is ${limit}`);
  // A few bytes can declare a huge result: the instructions must add up to it before it gets memory.
  if (targetSize > MEASURE_ABOVE) measure(delta, targetSize);
  const fits = into !== undefined && targetSize <= into.length;
  const target = fits ? into.subarray(0, targetSize) : Buffer.allocUnsafe(targetSize);
  let at = start;
  let filled = 0;
  while (at < delta.length) {
    const opcode = delta[at++]!;
    if (opcode >= 0x80) {
      let offset = 0;
      let size = 0;
      if (opcode & 0x01) offset = delta[at++]!;
      if (opcode & 0x02) offset += delta[at++]! * 0x100;
      if (opcode & 0x04) offset += delta[at++]! * 0x1_0000;
      if (opcode & 0x08) offset += delta[at++]! * 0x100_0000;
      if (opcode & 0x10) size = delta[at++]!;
      if (opcode & 0x20) size += delta[at++]! * 0x100;
      if (opcode & 0x40) size += delta[at++]! * 0x1_0000;
      if (size === 0) size = 0x1_0000;
      // Written so that a NaN of bytes past the end fails too.
      if (!(at <= delta.length && offset + size <= base.length)) throw bad("a copy reaches past its base");
      if (filled + size > targetSize) throw bad("it makes more bytes than it declares");
      base.copy(target, filled, offset, offset + size);
      filled += size;
    } else {
      if (opcode === 0) throw bad("instruction 0 is reserved");
      if (at + opcode > delta.length) throw bad("an insert is cut short");
      if (filled + opcode > targetSize) throw bad("it makes more bytes than it declares");
      delta.copy(target, filled, at, at + opcode);
      at += opcode;
      filled += opcode;
    }
  }
  if (filled !== targetSize) throw bad(`it makes ${filled} bytes and declares ${targetSize}`);
  return target;
}

/** Checks that the instructions add up to `targetSize`, reading only their opcodes and sizes. */
function measure(delta: Buffer, targetSize: number): void {
  let total = 0;
  readInstructions(delta, {
    copy(_offset, size) {
      total += size;
    },
    insert(_at, size) {
      total += size;
    },
  });
  if (total !== targetSize) throw bad(`it makes ${total} bytes and declares ${targetSize}`);
}

/** What {@link readInstructions} reports to. */
export interface InstructionSink {
  /** Bytes `[offset, offset + size)` of the base come next. */
  copy(offset: number, size: number): void;
  /** Bytes `[at, at + size)` of the delta come next. */
  insert(at: number, size: number): void;
}

/** Reports the instructions of `delta` in their order. Throws BAD_OBJECT where one is cut short or not known. */
export function readInstructions(delta: Buffer, sink: InstructionSink): void {
  let at = deltaSizes(delta).start;
  while (at < delta.length) {
    const opcode = delta[at++]!;
    if (opcode < 0x80) {
      if (opcode === 0) throw bad("instruction 0 is reserved");
      if (at + opcode > delta.length) throw bad("an insert is cut short");
      sink.insert(at, opcode);
      at += opcode;
      continue;
    }
    let offset = 0;
    let size = 0;
    for (let bit = 0x01, scale = 1; bit <= 0x08; bit *= 2, scale *= 256)
      if (opcode & bit) offset += delta[at++]! * scale;
    for (let bit = 0x10, scale = 1; bit <= 0x40; bit *= 2, scale *= 256) if (opcode & bit) size += delta[at++]! * scale;
    if (at > delta.length) throw bad("a copy is cut short");
    sink.copy(offset, size === 0 ? 0x1_0000 : size);
  }
}

/**
 * Writes a delta instruction by instruction. Neighbouring copies and inserts are merged, long ones split, so callers may
 * report a target in whatever pieces they know.
 */
export class DeltaBuilder {
  #bytes: Buffer;
  /** Where the next instruction goes; the sizes are put before the first one. */
  #length = HEAD_BYTES;
  /** Where the opcode of the insert that can still grow stands, or -1. */
  #insertAt = -1;
  #copyOffset = 0;
  #copySize = 0;

  /** `room`: bytes of instructions that are expected; there may be more. */
  constructor(room = 512) {
    this.#bytes = Buffer.allocUnsafe(HEAD_BYTES + room);
  }

  /** Bytes `[offset, offset + size)` of the base come next. Offsets are below 2^32. */
  copy(offset: number, size: number): void {
    if (size === 0) return;
    if (this.#copySize > 0 && this.#copyOffset + this.#copySize === offset) {
      this.#copySize += size;
      return;
    }
    this.#flushCopy();
    this.#copyOffset = offset;
    this.#copySize = size;
  }

  /** `bytes[start, end)` come next. */
  insert(bytes: Uint8Array, start = 0, end = bytes.length): void {
    if (start >= end) return;
    this.#flushCopy();
    let from = start;
    while (from < end) {
      let length = this.#insertAt < 0 ? 0 : this.#bytes[this.#insertAt]!;
      if (length === 0 || length === INSERT_MAX) {
        this.#room(1);
        this.#insertAt = this.#length++;
        length = 0;
      }
      const take = Math.min(INSERT_MAX - length, end - from);
      this.#room(take);
      // Some dozens of bytes: a loop takes half the time of a view of them and a copy.
      for (let i = 0; i < take; i++) this.#bytes[this.#length + i] = bytes[from + i]!;
      this.#length += take;
      this.#bytes[this.#insertAt] = length + take;
      from += take;
    }
  }

  /** Bytes of the instructions so far, without the two sizes and the last copy. */
  get length(): number {
    return this.#length - HEAD_BYTES;
  }

  /** The whole delta of a base of `baseSize` and a target of `targetSize` bytes, good until {@link restart}. */
  finish(baseSize: number, targetSize: number): Buffer {
    this.#flushCopy();
    const start = HEAD_BYTES - sizeLength(baseSize) - sizeLength(targetSize);
    writeSize(this.#bytes, writeSize(this.#bytes, start, baseSize), targetSize);
    return this.#bytes.subarray(start, this.#length);
  }

  /** Makes it as new: a delta for each of many small objects takes a third less time without a builder for each. */
  restart(): this {
    this.#length = HEAD_BYTES;
    this.#insertAt = -1;
    this.#copySize = 0;
    return this;
  }

  #flushCopy(): void {
    while (this.#copySize > 0) {
      const size = Math.min(this.#copySize, COPY_MAX);
      this.#writeCopy(this.#copyOffset, size);
      this.#copyOffset += size;
      this.#copySize -= size;
    }
  }

  #writeCopy(offset: number, size: number): void {
    this.#room(8);
    this.#insertAt = -1;
    const bytes = this.#bytes;
    const opcodeAt = this.#length++;
    let opcode = 0x80;
    let rest = offset;
    for (let bit = 0x01; bit <= 0x08; bit *= 2) {
      if (rest % 256 > 0) {
        opcode |= bit;
        bytes[this.#length++] = rest % 256;
      }
      rest = Math.floor(rest / 256);
    }
    rest = size === 0x1_0000 ? 0 : size;
    for (let bit = 0x10; bit <= 0x40; bit *= 2) {
      if (rest % 256 > 0) {
        opcode |= bit;
        bytes[this.#length++] = rest % 256;
      }
      rest = Math.floor(rest / 256);
    }
    bytes[opcodeAt] = opcode;
  }

  #room(size: number): void {
    if (this.#length + size <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#length + size));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

/** Bytes a size takes. */
function sizeLength(size: number): number {
  let bytes = 1;
  for (let rest = Math.floor(size / 128); rest > 0; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

/** Writes a size at `out[at]`; returns where it ends. */
function writeSize(out: Buffer, at: number, size: number): number {
  let next = at;
  let rest = size;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) out[next++] = (rest % 128) + 0x80;
  out[next++] = rest;
  return next;
}

function bad(reason: string): KvError {
  return new KvError("BAD_OBJECT", `a delta is damaged: ${reason}`);
}
