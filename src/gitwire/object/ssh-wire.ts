/**
 * The data types of the SSH protocols (RFC 4251, section 5), as keys, signatures and the agent protocol use them.
 *
 *   uint32 = four bytes, most significant first
 *   string = uint32 length, that many bytes
 *   mpint  = string of a two's complement number, most significant byte first, as short as can be
 */

import { KvError } from "../../errors.ts";

/** Reads values one after the other; never beyond the bytes it was given. Throws BAD_SIGNATURE where they end early. */
export class SshReader {
  readonly #data: Buffer;
  readonly #what: string;
  #at = 0;

  /** `what` is what the bytes are, for messages. */
  constructor(data: Buffer, what: string) {
    this.#data = data;
    this.#what = what;
  }

  byte(): number {
    return this.bytes(1)[0]!;
  }

  uint32(): number {
    return this.bytes(4).readUInt32BE(0);
  }

  bytes(length: number): Buffer {
    if (length > this.#data.length - this.#at) throw this.wrong("ends early");
    this.#at += length;
    return this.#data.subarray(this.#at - length, this.#at);
  }

  string(): Buffer {
    return this.bytes(this.uint32());
  }

  text(): string {
    return this.string().latin1Slice();
  }

  /** A positive number: its bytes without the leading zero. Refuses zero, negative numbers and needless zeros. */
  positive(): Buffer {
    const bytes = this.string();
    const [first, second] = bytes;
    if (first === undefined || first >= 0x80) throw this.wrong("holds a number that is not positive");
    if (first !== 0) return bytes;
    if (second === undefined || second < 0x80) throw this.wrong("holds a number with needless zeros");
    return bytes.subarray(1);
  }

  get atEnd(): boolean {
    return this.#at === this.#data.length;
  }

  end(): void {
    if (!this.atEnd) throw this.wrong(`has ${this.#data.length - this.#at} bytes too many`);
  }

  wrong(problem: string): KvError {
    return new KvError("BAD_SIGNATURE", `the ${this.#what} ${problem}`);
  }
}

/** A number of 32 bits. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A string: text (one byte a character) or bytes. */
export function sshString(value: string | Buffer): Buffer {
  const bytes = typeof value === "string" ? Buffer.from(value, "latin1") : value;
  return Buffer.concat([uint32(bytes.length), bytes]);
}

/** A positive number from its bytes, most significant first, as an mpint. */
export function sshPositive(magnitude: Buffer): Buffer {
  let start = 0;
  while (start < magnitude.length && magnitude[start] === 0) start++;
  const bytes = magnitude.subarray(start);
  return sshString((bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes);
}
