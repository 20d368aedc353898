/** The bytes a chunker looks at: filled from the front, emptied from the front, and never copied except what is left over. */

import { assert } from "../errors.ts";

export class Window {
  #bytes: Buffer;
  #start = 0;
  #end = 0;

  /** Owns `bytes`. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The same bytes are found at `bytes` from now on. */
  moved(bytes: Buffer): void {
    this.#bytes = bytes;
  }

  /** What has been filled and not been cut off, as a view. */
  get filled(): Buffer {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  /** Where that begins. */
  get start(): number {
    return this.#start;
  }

  get isFull(): boolean {
    return this.#end === this.#bytes.length;
  }

  /** The rest of the window; what had not been cut off is moved to the front where there is none. */
  room(): Buffer {
    if (this.isFull) {
      this.#bytes.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    assert(!this.isFull, "the window of a chunker is larger than a piece");
    return this.#bytes.subarray(this.#end);
  }

  /** The first `count` bytes of the room have been filled. */
  fill(count: number): void {
    assert(count >= 0 && count <= this.#bytes.length - this.#end, "no more is filled than there is room");
    this.#end += count;
  }

  /** Cuts a piece off. */
  cut(size: number): Buffer {
    const from = this.#start;
    this.#start += size;
    assert(this.#start <= this.#end, "a piece is cut from what has been filled");
    return this.#bytes.subarray(from, this.#start);
  }
}
