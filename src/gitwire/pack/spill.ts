/** A long run of bytes that is appended to, cut back and read again: in memory at first, beyond a limit in a file. */

import * as fs from "node:fs";
import { createTemp, type TempFile, writeParts } from "./temp-file.ts";

const FIRST_CHUNK = 16 * 1024;
const CHUNK = 1024 * 1024;
const READ_BYTES = 256 * 1024;
/** What is at least this long goes from where it is to the file, once there is one. */
const DIRECT = 32 * 1024;

export class Spill {
  readonly #dir: string;
  readonly #memory: number;
  /** Bytes that are in the file; they come before everything in memory. */
  #stored = 0;
  #file: TempFile | undefined;
  /** Chunks in memory; all but the last are full to their length. */
  #chunks: Buffer[] = [];
  #held = 0;
  /** The chunk being filled and how far. */
  #last: Buffer | undefined;
  #lastLength = 0;

  /** More than `memory` bytes go to a file made in `dir`. */
  constructor(dir: string, memory: number) {
    this.#dir = dir;
    this.#memory = memory;
  }

  get length(): number {
    return this.#stored + this.#held + this.#lastLength;
  }

  /** Appends a copy of what the parts hold. */
  append(...parts: readonly Uint8Array[]): void {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const isFull = this.#file !== undefined || this.#held + this.#lastLength + length > this.#memory;
    if (isFull && length >= DIRECT) this.#store(parts, length);
    else for (const part of parts) this.#keep(part);
  }

  /** As {@link append}, for the many that are short. */
  appendShort(bytes: Uint8Array): void {
    this.#keep(bytes);
  }

  #keep(bytes: Uint8Array): void {
    if (this.#last === undefined || this.#lastLength + bytes.length > this.#last.length) this.#newChunk(bytes.length);
    this.#last!.set(bytes, this.#lastLength);
    this.#lastLength += bytes.length;
  }

  /** Forgets everything from `length` on. */
  truncate(length: number): void {
    if (length <= this.#stored) {
      if (this.#file !== undefined && length < this.#stored) fs.ftruncateSync(this.#file.fd, length);
      this.#stored = length;
      this.#dropMemory();
      return;
    }
    const keep: Buffer[] = [];
    let rest = length - this.#stored;
    for (const chunk of this.#memoryChunks()) {
      if (rest === 0) break;
      keep.push(chunk.subarray(0, rest));
      rest -= Math.min(rest, chunk.length);
    }
    this.#dropMemory();
    this.#chunks = keep;
    this.#held = length - this.#stored;
  }

  /** All bytes in order. Nothing may be appended or cut while they are read. */
  *read(): Generator<Buffer> {
    for (let at = 0; at < this.#stored; ) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, this.#stored - at));
      const got = fs.readSync(this.#file!.fd, buffer, 0, buffer.length, at);
      if (got === 0) throw new Error(`${this.#file!.path} was cut short`);
      yield buffer.subarray(0, got);
      at += got;
    }
    yield* this.#memoryChunks();
  }

  /** Frees memory and file. */
  dispose(): void {
    this.#dropMemory();
    this.#stored = 0;
    this.#file?.discard();
    this.#file = undefined;
  }

  #memoryChunks(): Buffer[] {
    if (this.#last === undefined || this.#lastLength === 0) return this.#chunks;
    return [...this.#chunks, this.#last.subarray(0, this.#lastLength)];
  }

  #dropMemory(): void {
    this.#chunks = [];
    this.#held = 0;
    this.#last = undefined;
    this.#lastLength = 0;
  }

  #newChunk(least: number): void {
    this.#chunks = this.#memoryChunks();
    this.#held += this.#lastLength;
    this.#last = undefined;
    this.#lastLength = 0;
    if (this.#held + least > this.#memory) this.#store([], 0);
    const size = this.#held + this.#stored === 0 ? FIRST_CHUNK : CHUNK;
    this.#last = Buffer.allocUnsafeSlow(Math.max(size, least));
  }

  /** Moves what is in memory to the file, and `parts` of `length` bytes after it. */
  #store(parts: readonly Uint8Array[], length: number): void {
    const all = [...this.#memoryChunks(), ...parts];
    const total = this.#held + this.#lastLength + length;
    if (total === 0) return;
    this.#file ??= createTemp(this.#dir, "tmp_pack_", { anonymous: true });
    writeParts(this.#file.fd, all, this.#stored);
    this.#stored += total;
    this.#dropMemory();
  }
}
