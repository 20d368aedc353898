/**
 * Packets: the framing of every git conversation (git: gitprotocol-common "pkt-line Format", gitprotocol-v2 "Packet-Line
 * Framing").
 *
 *     pkt-line     =  data-pkt / flush-pkt / delim-pkt / response-end-pkt
 *     data-pkt     =  pkt-len pkt-payload          pkt-len counts its own four digits: 0004 to fff0
 *     pkt-len      =  4*(HEXDIG)
 *     flush-pkt    =  "0000"       delim-pkt = "0001"       response-end-pkt = "0002"
 */

import { decodeUtf8, utf8 } from "../../bytes.ts";
import { assert, KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { ByteSource } from "./byte-stream.ts";

/** One packet, or the end of the conversation. `data` is the payload: never longer than LIMITS.packetPayload. */
export type Packet =
  | { readonly kind: "data"; readonly data: Buffer }
  | { readonly kind: "flush" }
  | { readonly kind: "delim" }
  | { readonly kind: "response-end" }
  | { readonly kind: "eof" };

export const FLUSH: Buffer = Buffer.from("0000");
export const DELIM: Buffer = Buffer.from("0001");
export const RESPONSE_END: Buffer = Buffer.from("0002");

const FLUSH_PACKET: Packet = { kind: "flush" };
const DELIM_PACKET: Packet = { kind: "delim" };
const RESPONSE_END_PACKET: Packet = { kind: "response-end" };
const EOF_PACKET: Packet = { kind: "eof" };
const EMPTY = Buffer.alloc(0);

/** A data packet of `payload` (text as UTF-8). The payload is at most LIMITS.packetPayload bytes. */
export function pktLine(payload: string | Uint8Array): Buffer {
  const bytes = typeof payload === "string" ? utf8(payload) : payload;
  assert(bytes.length <= LIMITS.packetPayload, "a packet payload is too long");
  const packet = Buffer.allocUnsafe(4 + bytes.length);
  writePacketLength(packet, packet.length);
  packet.set(bytes, 4);
  return packet;
}

/** Writes the four length digits at the start of `packet`; `length` counts them. */
export function writePacketLength(packet: Buffer, length: number): void {
  packet.latin1Write(length.toString(16).padStart(4, "0"), 0);
}

/** Text of a payload without the one line feed that may end it. Throws PROTOCOL where it is not UTF-8. */
export function lineText(data: Buffer): string {
  const text = tryLineText(data);
  if (text === undefined) throw new KvError("PROTOCOL", "a line of the protocol is not UTF-8");
  return text;
}

/** As {@link lineText}, undefined where it is not UTF-8. */
export function tryLineText(data: Buffer): string | undefined {
  const end = data.length > 0 && data[data.length - 1] === 0x0a ? data.length - 1 : data.length;
  return decodeUtf8(data.subarray(0, end));
}

/** True where the payload begins with the ASCII text. */
export function startsWith(data: Buffer, text: string): boolean {
  return data.length >= text.length && data.latin1Slice(0, text.length) === text;
}

/** The text in quotes for an error message: control characters escaped, at most 200 characters (two sha256 ids are 129). */
export function quoted(text: string): string {
  return `'${JSON.stringify(text.slice(0, 200)).slice(1, -1)}'`;
}

/** Splits a byte source into packets. Payloads are views of what the source gave wherever they lie in one piece. */
export class PktReader {
  readonly #source: ByteSource;
  #pending: Buffer = EMPTY;
  #ended = false;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /**
   * The next packet; eof only between packets. Throws PROTOCOL on a malformed length and NETWORK where the bytes end
   * inside a packet.
   */
  async read(): Promise<Packet> {
    for (;;) {
      const packet = this.#buffered();
      if (packet !== undefined) return packet;
      if (!(await this.#more())) {
        if (this.#pending.length === 0) return EOF_PACKET;
        throw new KvError("NETWORK", "the connection ended in the middle of a packet");
      }
    }
  }

  /** What follows the packets read so far, raw (a pack, usually). The reader is not used after that. */
  rest(): ByteSource {
    return {
      read: async () => {
        const chunk = this.#pending;
        this.#pending = EMPTY;
        if (chunk.length > 0) return chunk;
        return this.#ended ? undefined : this.#source.read();
      },
    };
  }

  /** The next packet where all of it has arrived. */
  #buffered(): Packet | undefined {
    const pending = this.#pending;
    if (pending.length < 4) return undefined;
    const length = packetLength(pending);
    if (length < 4) {
      this.#pending = pending.subarray(4);
      if (length === 0) return FLUSH_PACKET;
      return length === 1 ? DELIM_PACKET : RESPONSE_END_PACKET;
    }
    if (pending.length < length) return undefined;
    this.#pending = pending.subarray(length);
    return { kind: "data", data: pending.subarray(4, length) };
  }

  /** Reads until the packet begun is whole, or a chunk where none is; false at the end of the source. */
  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    let need = this.#pending.length >= 4 ? packetLength(this.#pending) : 4;
    const parts = this.#pending.length > 0 ? [this.#pending] : [];
    let have = this.#pending.length;
    // One concatenation for a packet that arrives in many small pieces.
    do {
      const chunk = await this.#source.read();
      if (chunk === undefined) {
        this.#ended = true;
        break;
      }
      parts.push(chunk);
      have += chunk.length;
      if (need === 4 && have >= 4) need = Math.max(4, packetLength(Buffer.concat(parts)));
    } while (have < need);
    const grew = have > this.#pending.length;
    this.#pending = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    return grew;
  }
}

/** The length in the first four bytes: 0 to 2 for the special packets, else 4 to LIMITS.packet. */
function packetLength(bytes: Buffer): number {
  let length = 0;
  for (let i = 0; i < 4; i++) {
    const digit = HEX_DIGIT[bytes[i]!]!;
    if (digit === NOT_HEX) throw badLength(`character: ${quoted(bytes.latin1Slice(0, 4)).slice(1, -1)}`);
    length = length * 16 + digit;
  }
  if (length === 3) throw badLength("3");
  // Git says how long the payload is then.
  if (length > LIMITS.packet) throw badLength(String(length - 4));
  return length;
}

function badLength(what: string): KvError {
  return new KvError("PROTOCOL", `protocol error: bad line length ${what}`, {
    hint: "the other side did not answer with git's protocol",
  });
}

const NOT_HEX = 0xff;
const HEX_DIGIT = new Uint8Array(256).fill(NOT_HEX);
for (let digit = 0; digit < 16; digit++) {
  HEX_DIGIT[digit.toString(16).charCodeAt(0)] = digit;
  HEX_DIGIT[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}
