/** A pipe in memory: what is written at one end is read at the other, with back-pressure. */

import { KvError } from "../../errors.ts";
import type { ByteSink, ByteSource } from "../protocol/byte-stream.ts";

/** Bytes that may wait in a pipe before a writer is held back. */
const HIGH_WATER = 1024 * 1024;

export class MemoryPipe implements ByteSource, ByteSink {
  #chunks: Buffer[] = [];
  #waiting = 0;
  #ended = false;
  #error: Error | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  async read(): Promise<Buffer | undefined> {
    while (this.#chunks.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
    const chunk = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#waiting = 0;
    this.#wakeWriter?.();
    return chunk;
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    if (this.#ended) throw this.#error ?? new KvError("NETWORK", "the other side has hung up");
    // The writer may use its bytes again after this, while the reader still holds what it was given.
    this.#chunks.push(Buffer.from(bytes));
    this.#waiting += bytes.length;
    this.#wakeReader?.();
    while (this.#waiting > HIGH_WATER && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve;
      });
    }
  }

  /** Nothing more is written; with an error, the reader gets it after what was written before. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }
}
