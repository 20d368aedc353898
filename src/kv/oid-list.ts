/** Object ids in a row, kept raw: 20 bytes for each commit of a ledger instead of the 80 a string takes. */

import type { ObjectFormat, Oid } from "../gitwire/object/oid.ts";

export class OidList {
  readonly #format: ObjectFormat;
  #ids: Buffer;
  #length = 0;

  constructor(format: ObjectFormat) {
    this.#format = format;
    this.#ids = Buffer.allocUnsafe(1_024 * format.rawSize);
  }

  get length(): number {
    return this.#length;
  }

  push(oid: Oid): void {
    const { rawSize } = this.#format;
    const at = this.#length * rawSize;
    if (at === this.#ids.length) this.#ids = Buffer.concat([this.#ids, Buffer.allocUnsafe(this.#ids.length)]);
    this.#ids.write(oid, at, rawSize, "hex");
    this.#length++;
  }

  /** The id at `index`, negative from the end; undefined outside. */
  at(index: number): Oid | undefined {
    const position = index < 0 ? this.#length + index : index;
    if (position < 0 || position >= this.#length) return undefined;
    const { rawSize } = this.#format;
    return this.#ids.hexSlice(position * rawSize, (position + 1) * rawSize);
  }
}
