/** Standard input. Read asynchronously, so that Ctrl-C is heard while nothing arrives. */

import { KvError } from "../errors.ts";
import { isTerminal } from "../fd.ts";

export class Stdin {
  #reader: AsyncIterator<Uint8Array> | undefined;

  get isTerminal(): boolean {
    return isTerminal(0);
  }

  /**
   * The next bytes (at least one), undefined at the end.
   *
   * @throws KvError IO
   */
  async read(): Promise<Buffer | undefined> {
    this.#reader ??= Bun.stdin.stream()[Symbol.asyncIterator]();
    try {
      for (;;) {
        const { value, done } = await this.#reader.next();
        if (done === true) return undefined;
        if (value.length > 0) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      }
    } catch (error) {
      throw new KvError("IO", `cannot read standard input: ${(error as Error).message}`, { cause: error });
    }
  }

  /**
   * Everything up to the end.
   *
   * @throws KvError LIMIT_EXCEEDED past `limit` bytes, IO
   */
  async bytes(limit: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let size = 0;
    for (let chunk = await this.read(); chunk !== undefined; chunk = await this.read()) {
      size += chunk.length;
      if (size > limit) throw new KvError("LIMIT_EXCEEDED", `standard input is longer than ${limit} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks, size);
  }
}
