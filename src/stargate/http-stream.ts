/** Request and response bodies as the protocol sessions see them: a source with a limit, a sink with back-pressure. */

import { asBuffer } from "../bytes.ts";
import { KvError } from "../errors.ts";
import type { ByteSink, ByteSource } from "../gitwire/protocol/byte-stream.ts";

/** Bytes of a response that may wait for a slow client. */
const HIGH_WATER = 256 * 1024;

/** The bytes of a request body, `most` at the most (after unpacking); more is LIMIT_EXCEEDED. */
export function bodySource(body: ReadableStream<Uint8Array> | null, gzip: boolean, most: number): ByteSource {
  if (body === null) return { read: async () => undefined };
  const plain = gzip ? body.pipeThrough(new DecompressionStream("gzip") as never) : body;
  const reader = plain.getReader() as unknown as BodyReader;
  let taken = 0;
  return {
    read: async () => {
      for (;;) {
        const { value, done } = await next(reader, gzip);
        if (done) return undefined;
        taken += value.length;
        if (taken > most) {
          reader.cancel().catch(() => {});
          throw new KvError("LIMIT_EXCEEDED", `the request is longer than ${most} bytes`);
        }
        if (value.length > 0) return asBuffer(value);
      }
    },
  };
}

interface BodyReader {
  read(): Promise<{ done: true; value?: undefined } | { done: false; value: Uint8Array }>;
  cancel(): Promise<void>;
}

async function next(
  reader: BodyReader,
  gzip: boolean,
): Promise<{ done: true; value?: undefined } | { done: false; value: Uint8Array }> {
  try {
    return await reader.read();
  } catch (cause) {
    const what = gzip ? "the request could not be unpacked" : "the connection broke";
    throw new KvError("NETWORK", `${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** A response body that a session writes. */
export class ResponseBody implements ByteSink {
  readonly stream: ReadableStream<Uint8Array>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #wake: (() => void) | undefined;
  #isGone = false;

  constructor() {
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#wake?.(),
        cancel: () => {
          this.#isGone = true;
          this.#wake?.();
        },
      },
      { highWaterMark: HIGH_WATER, size: (chunk) => chunk?.byteLength ?? 0 },
    );
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#requireClient();
    if (bytes.length === 0) return;
    // The writer may use its memory again, while this still waits to be sent.
    this.#controller.enqueue(new Uint8Array(bytes));
    while (!this.#isGone && (this.#controller.desiredSize ?? 0) <= 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#requireClient();
  }

  /** The response is complete. */
  end(): void {
    if (!this.#isGone) this.#controller.close();
    this.#isGone = true;
  }

  /** The response cannot be completed: the connection is broken off, so that the client does not take it for whole. */
  abort(error: Error): void {
    if (!this.#isGone) this.#controller.error(error);
    this.#isGone = true;
  }

  #requireClient(): void {
    if (this.#isGone) throw new KvError("NETWORK", "the client has hung up");
  }
}
