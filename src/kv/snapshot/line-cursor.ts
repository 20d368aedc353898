/** Lines of UTF-8 text, pulled one by one from bytes that arrive in portions. */

import { decodeUtf8, withoutMark } from "../../bytes.ts";
import type { ByteReader } from "../../lines.ts";
import { badInput } from "./item.ts";

const LF = 0x0a;

export class LineCursor {
  readonly #read: ByteReader;
  readonly #limit: number;
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;
  /** The beginning of a line whose end has not come. */
  #rest: Buffer[] = [];
  #held = 0;
  #ended = false;
  #number = 0;

  /** A line may have `limit` bytes. */
  constructor(read: ByteReader, limit: number) {
    this.#read = read;
    this.#limit = limit;
  }

  /** Number of the line taken last, from 1. */
  get number(): number {
    return this.#number;
  }

  /** The next line that is in memory whole, without its newline; undefined: {@link fill} first. Throws INPUT_INVALID where it is not UTF-8. */
  take(): string | undefined {
    const end = this.#chunk.indexOf(LF, this.#at);
    if (end >= 0) {
      const line = this.#emit(this.#chunk.subarray(this.#at, end));
      this.#at = end + 1;
      return line;
    }
    this.#keepRest();
    return this.#ended && this.#held > 0 ? this.#emit(Buffer.alloc(0)) : undefined;
  }

  /** Reads on; false where there is no further line. Throws INPUT_INVALID for a line that is too long. */
  async fill(): Promise<boolean> {
    if (this.#ended) return false;
    const chunk = await this.#read();
    if (chunk === undefined) {
      this.#ended = true;
      return this.#held > 0;
    }
    this.#chunk = chunk;
    this.#at = 0;
    return true;
  }

  #emit(bytes: Buffer): string {
    this.#number++;
    const whole = this.#held === 0 ? bytes : Buffer.concat([...this.#rest, bytes]);
    this.#rest = [];
    this.#held = 0;
    if (whole.length > this.#limit) throw this.#tooLong(this.#number);
    const line = decodeUtf8(this.#number === 1 ? withoutMark(whole) : whole);
    if (line === undefined) throw badInput(`line ${this.#number} is not UTF-8`);
    return line;
  }

  #keepRest(): void {
    const rest = this.#chunk.subarray(this.#at);
    if (rest.length === 0) return;
    this.#held += rest.length;
    if (this.#held > this.#limit) throw this.#tooLong(this.#number + 1);
    // The next read may overwrite it.
    this.#rest.push(Buffer.from(rest));
    this.#chunk = this.#chunk.subarray(0, 0);
    this.#at = 0;
  }

  #tooLong(number: number): Error {
    return badInput(`line ${number} is longer than ${this.#limit} bytes`);
  }
}
