/**
 * The server's end of a conversation with sidebands: data, progress and errors, and a sign of life while nothing is said
 * (git: gitprotocol-capabilities "side-band, side-band-64k"). Without sidebands there is nothing but data.
 */

import { utf8 } from "../../bytes.ts";
import { LIMITS } from "../../limits.ts";
import type { ByteSink } from "./byte-stream.ts";
import type { Capabilities } from "./capabilities.ts";
import { FLUSH, pktLine } from "./pkt-line.ts";
import { SerialSink } from "./serial-sink.ts";
import { SMALL_SIDEBAND_PACKET, sidebandPacket, sidebandSink } from "./sideband.ts";

/** Milliseconds of silence after which an empty packet tells the client, and proxies on the way, that we are at work. */
export const KEEP_ALIVE = 5_000;

/** Longest error text: it has to fit into one packet of the small sideband. */
const MAX_ERROR = 900;

/** Longest sideband packet the client takes; undefined where it takes none. */
export function sidebandLimit(capabilities: Capabilities): number | undefined {
  if (capabilities.has("side-band-64k")) return LIMITS.packet;
  return capabilities.has("side-band") ? SMALL_SIDEBAND_PACKET : undefined;
}

export class SidebandWriter implements ByteSink {
  readonly #sink: SerialSink;
  readonly #data: ByteSink;
  readonly #maxPacket: number | undefined;
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #silent = true;

  /**
   * `maxPacket`: see {@link sidebandLimit}; `keepAlive`: milliseconds of silence before a sign of life, 0 for none. Ends with
   * {@link end}, {@link fatal} or {@link close}.
   */
  constructor(sink: ByteSink, maxPacket: number | undefined, keepAlive: number = KEEP_ALIVE) {
    this.#sink = new SerialSink(sink);
    this.#maxPacket = maxPacket;
    this.#data = maxPacket === undefined ? this.#sink : sidebandSink(this.#sink, 1, maxPacket);
    if (maxPacket !== undefined && keepAlive > 0) this.#timer = setInterval(() => this.#keepAlive(), keepAlive);
  }

  /** Writes data (band 1). */
  async write(bytes: Uint8Array): Promise<void> {
    this.#silent = false;
    await this.#data.write(bytes);
  }

  /** Text for the person at the other end (band 2); dropped without sidebands, or where the other side does not read. */
  progress(text: string | Uint8Array): void {
    if (this.#maxPacket === undefined) return;
    const bytes = typeof text === "string" ? utf8(text) : text;
    const most = this.#maxPacket - 5;
    for (let at = 0; at < bytes.length; at += most) {
      this.#sink.post(sidebandPacket(2, bytes.subarray(at, at + most)));
    }
    this.#silent = false;
  }

  /** Ends it in good order. */
  async end(): Promise<void> {
    this.close();
    if (this.#maxPacket !== undefined) await this.#sink.write(FLUSH);
  }

  /** Ends it with an error (band 3, or an `ERR` line without sidebands). Never throws: the other side may be gone. */
  async fatal(message: string): Promise<void> {
    this.close();
    const text = `${message.slice(0, MAX_ERROR / 3)}\n`;
    const packet = this.#maxPacket === undefined ? pktLine(`ERR ${text}`) : sidebandPacket(3, text);
    await this.#sink.write(packet).catch(() => {});
  }

  /** Stops the signs of life. */
  close(): void {
    clearInterval(this.#timer);
  }

  #keepAlive(): void {
    if (this.#silent && this.#sink.isIdle) this.#sink.post(sidebandPacket(1, ""));
    this.#silent = true;
  }
}
