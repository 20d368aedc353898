/**
 * Memory that one object after the other is inflated into or made in. Git's header fits before the data, so that one call hashes
 * both: 0.13 us for an object of 30 bytes, where a hasher's three calls take 0.4.
 */

import type { ObjectFormat, ObjectKind } from "./oid.ts";

/** Room for the longest header: the kind, a size and two separators. */
const HEAD = 32;
const WORDS = {
  commit: Buffer.from("commit "),
  tree: Buffer.from("tree "),
  blob: Buffer.from("blob "),
  tag: Buffer.from("tag "),
} as const;

export class ObjectBuffer {
  /** Where the data of an object begins. Replaced by {@link hold}. */
  data: Buffer;
  #bytes: Uint8Array;
  readonly #hash: (input: Uint8Array, into: Buffer) => unknown;
  readonly #id: Buffer;

  /** Has room for `room` bytes of data. */
  constructor(format: ObjectFormat, room: number) {
    this.#bytes = Buffer.allocUnsafeSlow(HEAD + room);
    this.data = Buffer.from(this.#bytes.buffer, HEAD);
    this.#hash = format.name === "sha1" ? Bun.SHA1.hash : Bun.SHA256.hash;
    this.#id = Buffer.alloc(format.rawSize);
  }

  /** Makes room for `room` bytes of data; what was there may be gone. */
  hold(room: number): void {
    if (room <= this.data.length) return;
    this.#bytes = Buffer.allocUnsafeSlow(HEAD + room);
    this.data = Buffer.from(this.#bytes.buffer, HEAD);
  }

  /** Raw id of the first `size` bytes of {@link data} as an object of `kind`; good until the next call. */
  id(kind: ObjectKind, size: number): Buffer {
    const bytes = this.#bytes;
    let at = HEAD - 1;
    bytes[at] = 0;
    for (let rest = size; ; ) {
      const tenth = Math.floor(rest / 10);
      bytes[--at] = 0x30 + rest - tenth * 10;
      rest = tenth;
      if (rest === 0) break;
    }
    const word = WORDS[kind];
    at -= word.length;
    for (let i = 0; i < word.length; i++) bytes[at + i] = word[i]!;
    this.#hash(bytes.subarray(at, HEAD + size), this.#id);
    return this.#id;
  }
}
