/** Request and response bodies as the protocol sessions see them: a source with a limit, a sink with back-pressure. */

import { asBuffer } from "../bytes.ts";
import { KvError } from "../errors.ts";
import type { ByteSink, ByteSource } from "../gitwire/protocol/byte-stream.ts";

/** Bytes of a response that may wait for a slow client. */
const HIGH_WATER = 256 * 1024;

/** Bytes of a response up to which it may be sent in one piece. */
const SHORT = 64 * 1024;

/**
 * Bytes written after which the garbage they make is collected. By itself the runtime waits until there is as much of it as of
 * everything else, and an index of 85 MB is in memory during a large clone.
 */
const COLLECT_AFTER = 32 * 1024 * 1024;

/** How slow a client may be. The time we need ourselves does not count. */
export interface Patience {
  /** In every so many milliseconds of waiting at least `bytes` have to arrive. */
  readonly window: number;
  readonly bytes: number;
  /** Milliseconds a client may take nothing of an answer. */
  readonly stall: number;
}

/** Slower than any link that still works: 17 bytes a second. */
export const PATIENCE: Patience = { window: 60_000, bytes: 1_024, stall: 600_000 };

/** The bytes of a request body, `most` at the most (after unpacking); more is LIMIT_EXCEEDED, slower NETWORK. */
export function bodySource(
  body: ReadableStream<Uint8Array> | null,
  gzip: boolean,
  most: number,
  patience: Patience = PATIENCE,
): ByteSource {
  if (body === null) return { read: async () => undefined };
  const plain = gzip ? body.pipeThrough(new DecompressionStream("gzip") as never) : body;
  const reader = plain.getReader() as unknown as BodyReader;
  const pace = new Pace(patience);
  let taken = 0;
  return {
    read: async () => {
      for (;;) {
        const { value, done } = await pace.wait(next(reader, gzip), () => reader.cancel());
        if (done) return undefined;
        pace.arrived(value.length);
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

/** Holds a client to {@link Patience}: what arrived in how much waiting. */
class Pace {
  readonly #patience: Patience;
  #waited = 0;
  #bytes = 0;

  constructor(patience: Patience) {
    this.#patience = patience;
  }

  arrived(bytes: number): void {
    this.#bytes += bytes;
  }

  /** `work`, or NETWORK where a window ends with too little; `giveUp` then ends the work. */
  async wait<T>(work: Promise<T>, giveUp: () => Promise<unknown>): Promise<T> {
    const { window, bytes } = this.#patience;
    const began = performance.now();
    for (;;) {
      const left = window - this.#waited - (performance.now() - began);
      const outcome = await within(work, Math.max(0, left));
      if (outcome !== LATE) {
        this.#waited += performance.now() - began;
        return outcome;
      }
      if (this.#bytes < bytes) {
        work.catch(() => {});
        giveUp().catch(() => {});
        throw new KvError("NETWORK", `the client sends less than ${bytes} bytes in ${window / 1_000} seconds`);
      }
      this.#waited = began - performance.now();
      this.#bytes = 0;
    }
  }
}

const LATE = Symbol("late");

/** What `work` comes to, or LATE where that takes longer than `most` milliseconds. */
async function within<T>(work: Promise<T>, most: number): Promise<T | typeof LATE> {
  const { promise, resolve } = Promise.withResolvers<typeof LATE>();
  const timer = setTimeout(() => resolve(LATE), most);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
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
  /**
   * Resolves when {@link content} can be sent: a response that is complete in the same turn of the event loop in which it begins goes
   * out in one piece, which takes a third of the calls of a stream.
   */
  readonly begun: Promise<void>;
  readonly #stream: ReadableStream<Uint8Array>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  readonly #begin: () => void;
  /** All there is so far, as long as nothing of it is sent. */
  #held: Uint8Array[] | undefined = [];
  #heldBytes = 0;
  #wake: (() => void) | undefined;
  #isGone = false;
  readonly #stall: number;
  #uncollected = 0;

  constructor(patience: Patience = PATIENCE) {
    this.#stall = patience.stall;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.begun = promise;
    this.#begin = resolve;
    this.#stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#wake?.(),
        cancel: () => this.hangUp(),
      },
      { highWaterMark: HIGH_WATER, size: (chunk) => chunk?.byteLength ?? 0 },
    );
  }

  /** What is sent, once it has begun. */
  get content(): ReadableStream<Uint8Array> | Uint8Array {
    return this.#held === undefined ? this.#stream : Buffer.concat(this.#held);
  }

  /** The client is gone. */
  hangUp(): void {
    this.#isGone = true;
    this.#wake?.();
    this.#begin();
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#requireClient();
    if (bytes.length === 0) return;
    // The writer may use its memory again, while this still waits to be sent.
    this.#take(new Uint8Array(bytes));
    this.#uncollected += bytes.length;
    if (this.#uncollected > COLLECT_AFTER) {
      this.#uncollected = 0;
      Bun.gc(false);
    }
    while (!this.#isGone && (this.#controller.desiredSize ?? 0) <= 0) {
      const taken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      if ((await within(taken, this.#stall)) === LATE) {
        this.abort(new Error("the client does not read"));
        throw new KvError("NETWORK", `the client read nothing for ${this.#stall / 1_000} seconds`);
      }
    }
    this.#requireClient();
  }

  #take(bytes: Uint8Array): void {
    if (this.#held === undefined) {
      this.#controller.enqueue(bytes);
      return;
    }
    if (this.#held.push(bytes) === 1) setImmediate(() => this.#send());
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > SHORT) this.#send();
  }

  /** Sends what is held, and from now on whatever comes. */
  #send(): void {
    const held = this.#held;
    if (this.#isGone || held === undefined) return;
    this.#held = undefined;
    for (const bytes of held) this.#controller.enqueue(bytes);
    this.#begin();
  }

  /** The response is complete. */
  end(): void {
    if (!this.#isGone && this.#held === undefined) this.#controller.close();
    this.#isGone = true;
    this.#begin();
  }

  /** The response cannot be completed: the connection is broken off, so that the client does not take it for whole. */
  abort(error: Error): void {
    if (!this.#isGone) {
      this.#held = undefined;
      this.#controller.error(error);
    }
    this.#isGone = true;
    this.#begin();
  }

  #requireClient(): void {
    if (this.#isGone) throw new KvError("NETWORK", "the client has hung up");
  }
}
