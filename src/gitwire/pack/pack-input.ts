/**
 * The bytes of a pack as they arrive: a window onto them for the parser, and everything that the parser has passed goes to
 * a file and into the pack's checksum.
 */

import { KvError } from "../../errors.ts";
import { newHasher, type ObjectFormat } from "../object/oid.ts";
import type { ByteFile } from "./temp-file.ts";

/** The window has so many bytes at first, which is enough for a push of one key, and more as soon as they do not do. */
const FIRST_WINDOW = 4 * 1024;
const WINDOW = 128 * 1024;
/** Passed bytes are written in pieces of about this size. */
const FLUSH_BYTES = 512 * 1024;

/** Bytes arriving; what the protocol calls a ByteSource. */
export interface PackSource {
  /** The next bytes (at least one), or undefined at the end. */
  read(): Promise<Buffer | undefined>;
}

export class PackInput {
  /** The window: bytes not yet passed are `buffer[at, end)`. Replaced by {@link more}. */
  buffer = Buffer.allocUnsafeSlow(FIRST_WINDOW);
  at = 0;
  end = 0;
  /** Offset in the pack of `buffer[0]`. */
  #base = 0;
  /** Start in `buffer` of what is passed but not written. */
  #flushed = 0;
  readonly #source: PackSource;
  readonly #file: ByteFile;
  readonly #limit: number;
  readonly #hasher: Bun.CryptoHasher;

  /** Bytes that are passed go to `file`; more than `limit` are refused. */
  constructor(source: PackSource, file: ByteFile, format: ObjectFormat, limit: number) {
    this.#source = source;
    this.#file = file;
    this.#limit = limit;
    this.#hasher = newHasher(format);
  }

  /** Offset in the pack of `buffer[at]`. */
  get position(): number {
    return this.#base + this.at;
  }

  /** Bytes in the window. */
  get available(): number {
    return this.end - this.at;
  }

  /** Waits for more bytes; false at the end of the input. Throws LIMIT_EXCEEDED where the pack is too large. */
  async more(): Promise<boolean> {
    const chunk = await this.#source.read();
    if (chunk === undefined) return false;
    if (this.end + chunk.length > this.buffer.length) this.#makeRoom(chunk.length);
    chunk.copy(this.buffer, this.end);
    this.end += chunk.length;
    return true;
  }

  /** Waits until `count` bytes are in the window. Throws BAD_PACK where the input ends before. */
  async need(count: number, what: string): Promise<void> {
    while (this.available < count) {
      if (!(await this.more())) throw new KvError("BAD_PACK", `the pack ends in ${what}`);
    }
  }

  /** Passes the next `count` bytes of the window. */
  pass(count: number): void {
    this.at += count;
    if (this.position > this.#limit) {
      throw new KvError("LIMIT_EXCEEDED", `the pack is larger than the limit of ${this.#limit} bytes`);
    }
    if (this.at - this.#flushed >= FLUSH_BYTES) this.#flush();
  }

  /** Checksum of everything passed, which is then all in the file. */
  digest(): Buffer {
    this.#flush();
    return this.#hasher.digest() as Buffer;
  }

  /** What was read and not passed. */
  rest(): Buffer {
    return Buffer.from(this.buffer.subarray(this.at, this.end));
  }

  #flush(): void {
    const passed = this.buffer.subarray(this.#flushed, this.at);
    this.#hasher.update(passed);
    this.#file.write(passed, this.#base + this.#flushed);
    this.#flushed = this.at;
  }

  /** Moves the window to the front of the buffer, or of a larger one. */
  #makeRoom(count: number): void {
    this.#flush();
    const kept = this.available;
    const target =
      kept + count > this.buffer.length
        ? Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, kept + count, WINDOW))
        : this.buffer;
    this.buffer.copy(target, 0, this.at, this.end);
    this.buffer = target;
    this.#base += this.at;
    this.end = kept;
    this.at = 0;
    this.#flushed = 0;
  }
}
