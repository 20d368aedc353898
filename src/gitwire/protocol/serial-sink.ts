/** A sink several parts of a session write to: each write leaves whole, one after the other, in the order of the calls. */

import type { ByteSink } from "./byte-stream.ts";

/** Bytes of progress that may wait; what does not fit is dropped, so that a slow reader cannot fill our memory. */
const MAX_WAITING = 1024 * 1024;

export class SerialSink implements ByteSink {
  readonly #sink: ByteSink;
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** Resolves when the bytes are taken. Rejects where these or any earlier ones could not be written. */
  write(bytes: Uint8Array): Promise<void> {
    this.#waiting += bytes.length;
    const written = this.#last.then(async () => {
      await this.#sink.write(bytes);
      this.#waiting -= bytes.length;
    });
    this.#last = written;
    // Whoever waits for this write gets its error; nobody waiting is no unhandled rejection.
    written.catch(() => {});
    return written;
  }

  /** Writes what nobody waits for (progress, keep-alives). An error shows at the next {@link write}. */
  post(bytes: Uint8Array): void {
    if (this.#waiting + bytes.length <= MAX_WAITING) this.write(bytes);
  }

  /** True where nothing waits to be written. */
  get isIdle(): boolean {
    return this.#waiting === 0;
  }
}
