/** Bytes on their way to the end of a pack's file: small pieces are collected and written in large ones. */

import { assert } from "../../errors.ts";
import type { ByteFile } from "./temp-file.ts";

const BUFFER_BYTES = 512 * 1024;
/** The buffer has so much at first: the pack of a push of one key is smaller. */
const FIRST_BYTES = 16 * 1024;

/** What is written to; reading is for {@link EntryWriter.readBack} alone. */
type EntryFile = Pick<ByteFile, "write"> & Partial<Pick<ByteFile, "read">>;

export class EntryWriter {
  readonly #file: EntryFile;
  readonly #hasher: Bun.CryptoHasher | undefined;
  #buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #length = 0;
  /** Offset in the file of the buffer's first byte. */
  #start: number;

  /** Writes to `file` from `position` on; `hasher` is given everything that is written. */
  constructor(file: EntryFile, position: number, hasher?: Bun.CryptoHasher) {
    this.#file = file;
    this.#start = position;
    this.#hasher = hasher;
  }

  /** Where the next byte goes. */
  get position(): number {
    return this.#start + this.#length;
  }

  write(bytes: Uint8Array): void {
    // Large ones go by themselves, after what waits: also where they would have fitted beside it.
    const isLarge = bytes.length >= BUFFER_BYTES / 2;
    if (isLarge || this.#length + bytes.length > BUFFER_BYTES) this.flush();
    if (isLarge) {
      this.#store(bytes);
      return;
    }
    if (this.#length + bytes.length > this.#buffer.length) this.#grow();
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Copies up to `length` bytes of what was written from `position` on to the start of `into`; returns how many. */
  readBack(into: Buffer, length: number, position: number): number {
    const wanted = Math.min(length, this.position - position);
    if (position >= this.#start)
      return this.#buffer.copy(into, 0, position - this.#start, position - this.#start + wanted);
    if (position + wanted > this.#start) this.flush();
    return this.#file.read!(into, wanted, position);
  }

  /** Takes back what was written from `position` on; the file may be longer than it should be then. */
  rewind(position: number): void {
    assert(this.#hasher === undefined && position <= this.position, "what a hasher has seen is not taken back");
    this.#length = Math.max(0, position - this.#start);
    this.#start = Math.min(this.#start, position);
  }

  /** Everything written so far is in the file afterwards. */
  flush(): void {
    if (this.#length > 0) this.#store(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
  }

  #grow(): void {
    const larger = Buffer.allocUnsafeSlow(BUFFER_BYTES);
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }

  #store(bytes: Uint8Array): void {
    this.#hasher?.update(bytes);
    this.#file.write(bytes, this.#start);
    this.#start += bytes.length;
  }
}
