/** The stateful transport over any two-way stream of bytes: one conversation, one reader. */

import { toKvError } from "../../errors.ts";
import type { ByteSink, ByteSource } from "../protocol/byte-stream.ts";
import { FLUSH, PktReader } from "../protocol/pkt-line.ts";
import type { Service } from "../protocol/ref-advertisement.ts";
import type { Answer, RequestBody, Transport } from "../protocol/transport.ts";

/** A two-way stream somebody opened for us. */
export interface Connection {
  readonly input: ByteSource;
  readonly output: ByteSink;
  /** Why the other side ended without a word: asked once where `input` ends before its first byte. */
  explainSilence(): Promise<Error>;
  /** Ends it: in good order, or, where something is still under way, at once. */
  close(inOrder: boolean): Promise<void>;
}

export class StreamTransport implements Transport {
  readonly url: string;
  readonly service: Service;
  readonly stateless = false;
  readonly #connection: Connection;
  readonly #reader: PktReader;
  #heard = false;
  #requests = 0;
  #unsent = 0;
  #writeError: Error | undefined;
  #closed = false;

  constructor(url: string, service: Service, connection: Connection) {
    this.url = url;
    this.service = service;
    this.#connection = connection;
    this.#reader = new PktReader({ read: () => this.#read() });
  }

  async greeting(): Promise<PktReader> {
    return this.#reader;
  }

  request(body: RequestBody): Answer {
    let sent = false;
    this.#requests++;
    this.#unsent++;
    this.#send(body).then(
      () => {
        sent = true;
        this.#unsent--;
      },
      (error: unknown) => {
        this.#writeError ??= toKvError(error);
      },
    );
    return { reader: this.#reader, isSent: () => sent };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // Without a request the server is still waiting for one: a flush tells it that none comes, where silence would be an error.
    if (this.#requests === 0 && this.#heard) await this.#connection.output.write(FLUSH).catch(() => {});
    await this.#connection.close(this.#unsent === 0).catch(() => {});
  }

  async #send(body: RequestBody): Promise<void> {
    for (const chunk of body.chunks()) await this.#connection.output.write(chunk);
  }

  /** What was received counts before what could not be sent: a server that hangs up often says why first. */
  async #read(): Promise<Buffer | undefined> {
    const chunk = await this.#connection.input.read();
    if (chunk !== undefined) {
      this.#heard = true;
      return chunk;
    }
    if (!this.#heard) throw await this.#connection.explainSilence();
    if (this.#writeError !== undefined) throw this.#writeError;
    return undefined;
  }
}
