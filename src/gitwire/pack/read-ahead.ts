/** What was read of a file beyond what was asked for, during a sweep through it. */

/** Bytes read at once; more than the window of a look-up (pack-index.ts). */
const AHEAD_BYTES = 64 * 1024;

/** A piece of a file. */
export class ReadAhead {
  #buffer: Buffer | undefined;
  start = 0;
  #end = 0;

  get buffer(): Buffer {
    this.#buffer ??= Buffer.allocUnsafeSlow(AHEAD_BYTES);
    return this.#buffer;
  }

  /** Whether bytes `[at, at + length)` of the file are in it. */
  holds(at: number, length: number): boolean {
    return at >= this.start && at + length <= this.#end;
  }

  moved(start: number, length: number): void {
    this.start = start;
    this.#end = start + length;
  }
}
