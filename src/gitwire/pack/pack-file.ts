/** The file of a pack on disk: opened when needed, checked against its index, read in pieces. */

import * as fs from "node:fs";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { ObjectFormat } from "../object/oid.ts";
import { decodeEntryHeader, type EntryHeader } from "./pack-entry.ts";
import type { PackIndex } from "./pack-index.ts";

/** Bytes before the first entry. */
export const PACK_HEADER_BYTES = 12;

/** What is in memory of a pack that was just made. */
export interface HeldParts {
  readonly pack?: Buffer;
  readonly index?: PackIndex;
}

let openings = 0;

export class PackFile {
  readonly path: string;
  readonly format: ObjectFormat;
  #fd: number | undefined;
  /** All of it, where it need not be read. */
  readonly #held: Buffer | undefined;
  #end = 0;
  #opening = 0;

  constructor(path: string, format: ObjectFormat, held?: Buffer) {
    this.path = path;
    this.format = format;
    this.#held = held;
    if (held === undefined) return;
    this.#end = held.length - format.rawSize;
    this.#opening = ++openings;
  }

  get isOpen(): boolean {
    return this.#fd !== undefined || this.#held !== undefined;
  }

  /** Another number each time any pack is opened: what was read under one stays true under it. */
  get opening(): number {
    return this.#opening;
  }

  /** Where the last entry ends; known once the file was opened. */
  get end(): number {
    return this.#end;
  }

  /** Opens the file where it is not open. Throws ENOENT where it is gone, CORRUPT where it does not belong to `index`. */
  open(index: PackIndex): void {
    if (this.isOpen) return;
    const { rawSize } = this.format;
    const fd = fs.openSync(this.path, "r");
    try {
      const end = fs.fstatSync(fd).size - rawSize;
      const head = Buffer.alloc(PACK_HEADER_BYTES + rawSize);
      const got = end < PACK_HEADER_BYTES ? 0 : fs.readSync(fd, head, 0, PACK_HEADER_BYTES, 0);
      if (got < PACK_HEADER_BYTES || head.latin1Slice(0, 4) !== "PACK") throw this.#damage("it is not a pack");
      if (head.readUInt32BE(4) !== 2 && head.readUInt32BE(4) !== 3) throw this.#damage("its version is not known");
      if (head.readUInt32BE(8) !== index.count) throw this.#damage("its index is of another number of objects");
      fs.readSync(fd, head, PACK_HEADER_BYTES, rawSize, end);
      if (!head.subarray(PACK_HEADER_BYTES).equals(index.packChecksum)) {
        throw this.#damage("its index is of another pack");
      }
      this.#fd = fd;
      this.#end = end;
      this.#opening = ++openings;
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  }

  /** Gives back the descriptor. */
  release(): void {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
  }

  /**
   * Reads from `offset`, where an entry starts, to the start of `into`: `length` bytes, or what is there up to the end of the
   * entries. Returns how many.
   */
  readUpTo(into: Buffer, length: number, offset: number): number {
    if (!(offset >= PACK_HEADER_BYTES && offset < this.#end)) throw this.corrupt(offset, "it lies outside the pack");
    return this.#read(into, 0, Math.min(length, this.#end - offset), offset);
  }

  /** Reads `length` bytes from `start` on, of the entry at `offset`, to the start of `into`. */
  readFully(into: Buffer, length: number, start: number, offset: number): void {
    for (let done = 0; done < length; ) {
      const got = this.#read(into, done, length - done, start + done);
      if (got === 0) throw this.corrupt(offset, "it is cut short");
      done += got;
    }
  }

  #read(into: Buffer, to: number, length: number, at: number): number {
    if (this.#held !== undefined) return this.#held.copy(into, to, at, at + length);
    return fs.readSync(this.#fd!, into, to, length, at);
  }

  /** The header of the entry at `offset`, which is at `bytes[at]`, of which `bytes[0, end)` has been read. */
  header(offset: number, bytes: Buffer, at: number, end: number): EntryHeader {
    let header: EntryHeader | undefined;
    try {
      header = decodeEntryHeader(this.format, bytes, at, end);
    } catch (error) {
      throw this.located(offset, error);
    }
    if (header === undefined) throw this.corrupt(offset, "it is cut short");
    if (header.size > LIMITS.objectBytes) {
      const size = `${header.size} bytes, the limit is ${LIMITS.objectBytes}`;
      throw new KvError("LIMIT_EXCEEDED", `${this.place(offset)}: ${size}`);
    }
    return header;
  }

  /** Runs a decoder and turns its BAD_OBJECT into a CORRUPT that names the place. */
  decoding<T>(offset: number, decode: () => T): T {
    try {
      return decode();
    } catch (error) {
      throw this.located(offset, error);
    }
  }

  /** What a decoder of the entry at `offset` threw: a BAD_OBJECT as a CORRUPT that names the place, anything else as it is. */
  located(offset: number, error: unknown): unknown {
    const isBad = error instanceof KvError && error.code === "BAD_OBJECT";
    return isBad ? this.corrupt(offset, error.message, error) : error;
  }

  /** Names an entry in a message. */
  place(offset: number): string {
    return `${this.path}, entry at ${offset}`;
  }

  corrupt(offset: number, reason: string, cause?: unknown): KvError {
    return new KvError("CORRUPT", `${this.place(offset)}: ${reason}`, { cause });
  }

  #damage(reason: string): KvError {
    return new KvError("CORRUPT", `${this.path}: ${reason}`);
  }
}
