/** Standard input. Read asynchronously, so that Ctrl-C is heard while nothing arrives. */

import { KvError } from "../errors.ts";
import { isTerminal } from "../fd.ts";

export class Stdin {
  readonly #signal: AbortSignal;
  readonly #onTerminal: () => void;
  #reader: AsyncIterator<Uint8Array> | undefined;

  /**
   * Reading ends with the reason of `signal` when it aborts: nobody may ever write to the other end. `onTerminal` is called before
   * the first read where somebody is to type.
   */
  constructor(signal: AbortSignal, onTerminal: () => void) {
    this.#signal = signal;
    this.#onTerminal = onTerminal;
  }

  /**
   * The next bytes (at least one), undefined at the end.
   *
   * @throws KvError IO
   */
  async read(): Promise<Buffer | undefined> {
    if (this.#reader === undefined && isTerminal(0)) this.#onTerminal();
    this.#reader ??= Bun.stdin.stream()[Symbol.asyncIterator]();
    try {
      for (;;) {
        const { value, done } = await unlessAborted(this.#signal, this.#reader.next());
        if (done === true) return undefined;
        if (value.length > 0) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      }
    } catch (error) {
      this.#signal.throwIfAborted();
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

async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
