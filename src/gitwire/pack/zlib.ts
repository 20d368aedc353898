/**
 * zlib streams (RFC 1950, RFC 1951) as packs and loose objects hold them: one per object, thousands a millisecond.
 *
 * The runtime's engine is reused: `reset` and one `writeSync` on the native handle behind `zlib.createInflate()` inflate a
 * 100-byte object in 1.3 us, against 3.9 us for `zlib.inflateSync(..., {info: true})`, and stop exactly at the size we
 * give. The handle is not documented, so its first use checks that it does what we rely on; where it does not, the
 * documented calls do the same work.
 *
 * Compressing: under 40 bytes a stored block costs nothing and is no longer; up to 2 KiB zlib level 2 (4.5 us for 1 KB of
 * JSON, 310 bytes; level 1 is 396, level 6 is 305); above that libdeflate level 1, which is about as small as zlib level 3
 * at half its time. Of large data two samples are tried first: what does not compress there is stored, at 2 GB/s, where trying all
 * of it runs at 90 MB/s.
 */

import type * as Zlib from "node:zlib";
import { asBuffer } from "../../bytes.ts";
import { KvError } from "../../errors.ts";

/** Data of at most this many bytes is stored, not compressed. */
export const STORED_MAX = 40;
/** Deltas up to this size are stored, as copies and object ids hardly compress: a million records took 7 % more bytes and a third less time. */
export const STORED_DELTA = 160;
/** Data of at least this many bytes goes through libdeflate. */
const LIBDEFLATE_MIN = 2_048;
const LEVEL = 2;
/** Of deltas, where ids that do not compress lie between names that repeat: 1.4 KB take 7 us, and 47 us at level 2, which makes them 2 % shorter. */
const DELTA_LEVEL = 1;
type SmallLevel = typeof LEVEL | typeof DELTA_LEVEL;
/** Data of at least this many bytes is tried by two samples of this size; they must lose a thirty-second part to go on. */
const SAMPLED_MIN = 32 * 1024;
const SAMPLE = 4 * 1024;
const SAMPLE_GAIN = 32;
/** Most bytes of one stored block (RFC 1951, section 3.2.4). */
const STORED_BLOCK = 0xffff;
/** Bytes of a zlib stream around its one stored block. */
export const STORED_FRAME = 11;
/** Objects up to this size go through one shared buffer. */
const SCRATCH_BYTES = 64 * 1024;

// As zlib.h has them.
const Z_NO_FLUSH = 0;
const Z_FINISH = 4;
const Z_BUF_ERROR = -5;

/** Loading node:zlib costs 2.5 ms, a third of a `get`: it is loaded when the first few objects did not do. */
function zlib(): typeof Zlib {
  return process.getBuiltinModule("node:zlib");
}

/** Whether {@link inflateFew} would try an object of `size` bytes. */
export function mayInflateFew(size: number): boolean {
  return fewInflated < FEW_INFLATED && size <= FEW_BYTES;
}

/** Objects that a short-lived process inflates and deflates without node:zlib (1 us more each, and 12), and the largest in bytes. */
const [FEW_INFLATED, FEW_DEFLATED] = [2_048, 48];
const FEW_BYTES = 32 * 1024;
let fewInflated = 0;
let fewDeflated = 0;

/** The runtime's own calls; its types leave `windowBits` of 15, a zlib stream, out. */
const ZLIB_STREAM = { library: "zlib", windowBits: 15 } as unknown as { library: "zlib" };

/**
 * The first few objects of a process, without node:zlib: the data of the zlib stream at the start of `input`, where it ends in
 * there and holds exactly `size` bytes; undefined means nothing but that {@link inflateInto} has to look. Only for input whose
 * size was checked before, such as an indexed pack's: a damaged one could inflate to a thousand times `input`.
 */
export function inflateFew(input: Buffer, size: number): Buffer | undefined {
  if (!mayInflateFew(size)) return undefined;
  fewInflated++;
  try {
    const data = Bun.inflateSync(input as Uint8Array<ArrayBuffer>, ZLIB_STREAM);
    return data.length === size ? asBuffer(data) : undefined;
  } catch {
    return undefined;
  }
}

/** The native half of a zlib stream, the same in Node and Bun. `reset` makes it as new. */
interface Handle {
  reset(): void;
  writeSync(
    flush: number,
    input: Uint8Array,
    inputOffset: number,
    inputLength: number,
    output: Uint8Array,
    outputOffset: number,
    outputLength: number,
  ): void;
  onerror: (message: string, errno: number, code: string) => void;
}

/** One reusable engine. `state` holds the room left in the output and the input left unread after a call. */
interface Engine {
  readonly handle: Handle;
  readonly state: Uint32Array;
  error: string | undefined;
  errno: number;
  /** Owns the handle; held so that it lives as long. */
  readonly stream: object;
}

/** What became of {@link inflateInto} when the input ended before the stream did. */
export const TRUNCATED = -1;

/**
 * Inflates the zlib stream in `input[start, end)` into `output[0, size)`; `output` needs room for `size + 1` bytes.
 * Returns the compressed bytes consumed, or {@link TRUNCATED} where the stream goes on past `end`. Throws BAD_OBJECT where
 * the stream is damaged or does not hold exactly `size` bytes.
 */
export function inflateInto(input: Buffer, start: number, end: number, output: Buffer, size: number): number {
  const engine = inflater();
  if (engine === undefined) return inflateIntoSlow(input, start, end, output, size);
  engine.error = undefined;
  engine.handle.reset();
  // The byte of room past `size` makes a stream that is too long visible, and zlib report one that does not end.
  engine.handle.writeSync(Z_FINISH, input, start, end - start, output, 0, size + 1);
  if (engine.error !== undefined) {
    if (engine.errno === Z_BUF_ERROR) return TRUNCATED;
    throw damaged(engine.error);
  }
  if (engine.state[0] !== 1) throw wrongSize(size, size + 1 - engine.state[0]!);
  return end - start - engine.state[1]!;
}

/** As {@link inflateInto} with documented calls only. Exported for its test. */
export function inflateIntoSlow(input: Buffer, start: number, end: number, output: Buffer, size: number): number {
  let result: { buffer: Buffer; engine: { bytesWritten: number } };
  try {
    const options = { info: true, maxOutputLength: Math.max(1, size) };
    result = zlib().inflateSync(input.subarray(start, end), options) as unknown as typeof result;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "Z_BUF_ERROR") return TRUNCATED;
    if (code === "ERR_BUFFER_TOO_LARGE") throw wrongSize(size, size + 1);
    throw damaged(message);
  }
  if (result.buffer.length !== size) throw wrongSize(size, result.buffer.length);
  result.buffer.copy(output);
  return result.engine.bytesWritten;
}

/**
 * Inflates the zlib stream at `bytes[offset]`, which must hold exactly `size` bytes of data; never inflates further.
 * `size` has been checked against a limit by the caller. Throws BAD_OBJECT where the stream is damaged, cut short or of
 * another size.
 */
export function inflateAt(bytes: Buffer, offset: number, size: number): { data: Buffer; consumed: number } {
  const shared = size < SCRATCH_BYTES;
  const output = shared ? scratch() : Buffer.allocUnsafeSlow(size + 1);
  const consumed = inflateInto(bytes, offset, bytes.length, output, size);
  if (consumed === TRUNCATED) throw damaged("unexpected end of data");
  return { data: shared ? Buffer.copyBytesFrom(output, 0, size) : output.subarray(0, size), consumed };
}

/**
 * Inflates one zlib stream that arrives in pieces, never holding it whole. `size` is the declared size of its data; each
 * piece of data goes to `onData`, in a buffer that is used again.
 */
export class StreamInflater {
  readonly #engine: Engine;
  readonly #output = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  readonly #size: number;
  readonly #onData: (data: Buffer) => void;
  #total = 0;
  #done = false;

  constructor(size: number, onData: (data: Buffer) => void) {
    this.#size = size;
    this.#onData = onData;
    this.#engine = idle ?? newEngine(zlib().createInflate());
    idle = undefined;
    this.#engine.handle.reset();
  }

  /** Whether the runtime's engine can be driven this way. */
  static get supported(): boolean {
    return inflater() !== undefined;
  }

  /** Whether the stream has ended, at exactly the declared size. */
  get done(): boolean {
    return this.#done;
  }

  /** Takes `input[start, end)`, not called once {@link done}; returns how much of it belongs to the stream. Throws BAD_OBJECT on damage or a wrong size. */
  push(input: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end && this.#total < this.#size) {
      const room = Math.min(this.#output.length, this.#size - this.#total);
      const [made, left] = this.#run(Z_NO_FLUSH, input, at, end, room);
      if (this.#engine.error !== undefined) throw damaged(this.#engine.error);
      if (made < room && left > 0) throw wrongSize(this.#size, this.#total + made);
      this.#total += made;
      at = end - left;
      if (made > 0) this.#onData(this.#output.subarray(0, made));
    }
    return (this.#total < this.#size ? at : this.#finish(input, at, end)) - start;
  }

  /** All data is out: what is left must be the end of the stream. Returns where it ends, or `end` where it does not yet. */
  #finish(input: Buffer, at: number, end: number): number {
    const [made, left] = this.#run(Z_FINISH, input, at, end, 1);
    if (this.#engine.error !== undefined) {
      if (this.#engine.errno === Z_BUF_ERROR) return end;
      throw damaged(this.#engine.error);
    }
    if (made > 0) throw wrongSize(this.#size, this.#size + 1);
    this.#done = true;
    idle = this.#engine;
    return end - left;
  }

  /** One call of the engine: bytes made, and bytes of input left. */
  #run(flush: number, input: Buffer, at: number, end: number, room: number): [number, number] {
    this.#engine.error = undefined;
    this.#engine.handle.writeSync(flush, input, at, end - at, this.#output, 0, room);
    return [room - this.#engine.state[0]!, this.#engine.state[1]!];
  }
}

/** `data` as a zlib stream; up to `storedMax` bytes of data, and what would grow (by up to a tenth), are stored, not compressed. */
export function deflate(data: Uint8Array, storedMax = STORED_MAX, level: SmallLevel = LEVEL): Buffer {
  if (data.length <= storedMax) return store(data);
  if (data.length >= LIBDEFLATE_MIN) return deflateLarge(data);
  if (fewDeflated < FEW_DEFLATED) {
    fewDeflated++;
    return wrapped(Bun.deflateSync(data as Uint8Array<ArrayBuffer>, { library: "zlib", level }), data);
  }
  const output = scratch();
  const length = deflateSmall(data, output, level);
  if (length === undefined) return zlib().deflateSync(data, { level });
  return length > data.length + STORED_FRAME ? store(data) : Buffer.copyBytesFrom(output, 0, length);
}

/** A delta as a zlib stream. */
export function deflateDelta(delta: Uint8Array): Buffer {
  return deflate(delta, STORED_DELTA, DELTA_LEVEL);
}

/** Most bytes a sensible encoder makes of `size` bytes of data; a legal stream may still be longer. */
export function deflateBound(size: number): number {
  return size + 5 * (Math.floor(size / 4_096) + 1) + 64;
}

/** Longest stream of `size` bytes of data that is read at all: one of empty blocks could go on for ever. */
export function maxStream(size: number): number {
  return deflateBound(size) * 2 + 64 * 1024;
}

/** Writes the stream at the start of `output`, which has room for it; undefined where the engine cannot be used. */
function deflateSmall(data: Uint8Array, output: Buffer, level: SmallLevel): number | undefined {
  const engine = deflater(level);
  if (engine === undefined) return undefined;
  engine.error = undefined;
  engine.handle.reset();
  engine.handle.writeSync(Z_FINISH, data, 0, data.length, output, 0, output.length);
  return engine.error === undefined ? output.length - engine.state[0]! : undefined;
}

/**
 * `data` as a zlib stream in parts, some of which may be views of `data`: what does not compress is not copied.
 */
export function deflateParts(data: Uint8Array): readonly Uint8Array[] {
  return data.length >= SAMPLED_MIN && !samplesCompress(data) ? storedParts(data) : [deflate(data)];
}

function samplesCompress(data: Uint8Array): boolean {
  return [0, Math.floor((data.length - SAMPLE) / 2)].some((start) => {
    const sample = data.subarray(start, start + SAMPLE) as Uint8Array<ArrayBuffer>;
    const { length } = Bun.deflateSync(sample, { library: "libdeflate", level: 1 });
    return length * SAMPLE_GAIN <= SAMPLE * (SAMPLE_GAIN - 1);
  });
}

function deflateLarge(data: Uint8Array): Buffer {
  if (data.length >= SAMPLED_MIN && !samplesCompress(data)) return store(data);
  const body = Bun.deflateSync(data as Uint8Array<ArrayBuffer>, { library: "libdeflate", level: 1 });
  if (body.length > data.length) return store(data);
  return wrapped(body, data);
}

/** The raw deflate stream of `data` as a zlib stream. */
function wrapped(body: Uint8Array, data: Uint8Array): Buffer {
  const stream = Buffer.allocUnsafe(body.length + 6);
  stream.writeUInt16BE(0x7801, 0);
  stream.set(body, 2);
  stream.writeUInt32BE(Bun.hash.adler32(data), body.length + 2);
  return stream;
}

/** A zlib stream of stored blocks (RFC 1951, section 3.2.4). */
function store(data: Uint8Array): Buffer {
  if (data.length > STORED_BLOCK) return Buffer.concat(storedParts(data));
  const stream = Buffer.allocUnsafe(data.length + STORED_FRAME);
  storeBlock(data, stream, 0);
  return stream;
}

/** Writes {@link deflate}'s stream of data that is stored in one block to `output[at]`; returns where it ends. */
export function storeBlock(data: Uint8Array, output: Buffer, at: number): number {
  const { length } = data;
  output.writeUInt16BE(0x7801, at);
  output[at + 2] = 1;
  output.writeUInt16LE(length, at + 3);
  output.writeUInt16LE(length ^ 0xffff, at + 5);
  output.set(data, at + 7);
  return output.writeUInt32BE(Bun.hash.adler32(data), at + 7 + length);
}

/** The stream of {@link store} in parts: what stands around the blocks, and views of `data`. */
function storedParts(data: Uint8Array): Uint8Array[] {
  const blocks = Math.max(1, Math.ceil(data.length / STORED_BLOCK));
  const frame = Buffer.allocUnsafe(2 + blocks * 5 + 4);
  frame.writeUInt16BE(0x7801, 0);
  const parts: Uint8Array[] = [];
  let from = 0;
  let at = 2;
  for (let block = 0; block < blocks; block++) {
    const start = block * STORED_BLOCK;
    const length = Math.min(STORED_BLOCK, data.length - start);
    frame[at] = block === blocks - 1 ? 1 : 0;
    frame.writeUInt16LE(length, at + 1);
    frame.writeUInt16LE(length ^ 0xffff, at + 3);
    at += 5;
    parts.push(frame.subarray(from, at), data.subarray(start, start + length));
    from = at;
  }
  frame.writeUInt32BE(Bun.hash.adler32(data), at);
  parts.push(frame.subarray(from, at + 4));
  return parts;
}

let shared: Buffer | undefined;

function scratch(): Buffer {
  shared ??= Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  return shared;
}

/** An engine that a StreamInflater is done with: each holds 40 KB that the garbage collector does not see. */
let idle: Engine | undefined;
let inflateEngine: Engine | undefined | null = null;
/** By level. */
const deflateEngines: (Engine | undefined | null)[] = [null, null, null];

/** The inflater, or undefined where the native handle is not what we know. Made on first use to keep start-up short. */
function inflater(): Engine | undefined {
  if (inflateEngine === null) inflateEngine = usable(zlib().createInflate(), store(probe()), probe());
  return inflateEngine;
}

function deflater(level: SmallLevel): Engine | undefined {
  // A window of 4 KiB is enough for data under 2 KiB and cheaper to reset.
  if (deflateEngines[level] === null)
    deflateEngines[level] = usable(zlib().createDeflate({ level, windowBits: 12, memLevel: 6 }), probe(), undefined);
  return deflateEngines[level];
}

/** What an engine is tried with. */
const probe = (): Buffer => Buffer.from("probe probe probe");

/** The engine of `stream` when it turns `input` into `expected` (or into what inflates to `input`), else undefined. */
function usable(stream: Zlib.Inflate | Zlib.Deflate, input: Buffer, expected: Buffer | undefined): Engine | undefined {
  try {
    const engine = newEngine(stream);
    const output = Buffer.alloc(64);
    for (let round = 0; round < 2; round++) {
      engine.handle.reset();
      engine.handle.writeSync(Z_FINISH, input, 0, input.length, output, 0, output.length);
      const made = output.subarray(0, output.length - engine.state[0]!);
      if (engine.error !== undefined || engine.state[1] !== 0) return undefined;
      if (!(expected === undefined ? zlib().inflateSync(made).equals(input) : made.equals(expected))) return undefined;
    }
    return engine;
  } catch {
    return undefined;
  }
}

function newEngine(stream: Zlib.Inflate | Zlib.Deflate): Engine {
  const inner = stream as unknown as { _handle: Handle; _writeState: Uint32Array };
  const engine: Engine = { handle: inner._handle, state: inner._writeState, error: undefined, errno: 0, stream };
  inner._handle.onerror = (message, errno) => {
    engine.error = message;
    engine.errno = errno;
  };
  return engine;
}

function damaged(reason: string): KvError {
  return new KvError("BAD_OBJECT", `compressed data is damaged: ${reason}`);
}

function wrongSize(expected: number, found: number): KvError {
  const what = found > expected ? "more" : `${found}`;
  return new KvError("BAD_OBJECT", `compressed data holds ${what} bytes where ${expected} are declared`);
}
