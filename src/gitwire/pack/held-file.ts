/** A file that is being made and stays in memory while it is small: most packs of a server are of one key, and are written once they are let in. */

import { createTemp, type PackTemp, type TempFile } from "./temp-file.ts";

const FIRST_BYTES = 16 * 1024;
const EMPTY = Buffer.alloc(0);

export class HeldFile implements PackTemp {
  readonly #make: () => TempFile;
  readonly #most: number;
  readonly #first: number;
  #bytes = EMPTY;
  #length = 0;
  #file: TempFile | undefined;

  /** More than `most` bytes go to a file `<prefix>XXXXXX` in the folder that `dir` names then; memory is taken for `first` at first. */
  constructor(dir: () => string, prefix: string, most: number, first: number = FIRST_BYTES) {
    this.#make = () => createTemp(dir(), prefix);
    this.#most = most;
    this.#first = first;
  }

  /** All of it, where it is in memory. */
  get held(): Buffer | undefined {
    return this.#file === undefined ? this.#bytes.subarray(0, this.#length) : undefined;
  }

  write(bytes: Uint8Array, at: number): void {
    const end = at + bytes.length;
    if (this.#file !== undefined || end > this.#most) {
      this.#stored().write(bytes, at);
      return;
    }
    if (end > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, end, this.#first));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, at);
    this.#length = Math.max(this.#length, end);
  }

  read(into: Buffer, length: number, at: number): number {
    if (this.#file !== undefined) return this.#file.read(into, length, at);
    if (at >= this.#length) return 0;
    return this.#bytes.copy(into, 0, at, Math.min(at + length, this.#length));
  }

  truncate(length: number): void {
    if (this.#file !== undefined) this.#file.truncate(length);
    else this.#length = Math.min(this.#length, length);
  }

  commit(target: string, options: { fsync: boolean }): void {
    this.#stored().commit(target, options);
  }

  discard(): void {
    this.#file?.discard();
  }

  #stored(): TempFile {
    if (this.#file === undefined) {
      this.#file = this.#make();
      this.#file.write(this.#bytes.subarray(0, this.#length), 0);
      this.#bytes = EMPTY;
    }
    return this.#file;
  }
}
