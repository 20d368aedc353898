/**
 * Sideband: three streams in one sequence of packets (git: gitprotocol-pack "Packfile Data", gitprotocol-capabilities
 * "side-band, side-band-64k").
 *
 *     sideband-pkt  =  pkt-len stream-code data
 *     stream-code   =  1 (pack or report) / 2 (progress for the user) / 3 (the fatal error)
 */

import { asBuffer, utf8 } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { ByteSink, ByteSource } from "./byte-stream.ts";
import { type PktReader, writePacketLength } from "./pkt-line.ts";

/** 1 = data, 2 = progress, 3 = fatal error. */
export type Band = 1 | 2 | 3;

/** Longest packet of plain `side-band`; `side-band-64k` has LIMITS.packet. */
export const SMALL_SIDEBAND_PACKET = 1_000;

/** A sink whose bytes leave on `band` of `sink`, in packets of at most `maxPacket` bytes (header included). */
export function sidebandSink(sink: ByteSink, band: Band, maxPacket: number = LIMITS.packet): ByteSink {
  const most = maxPacket - 5;
  // One packet's memory for all of them, unless two are written at a time: a sink has taken what it was given when it says so.
  let free = Buffer.alloc(0);
  return {
    write: async (bytes) => {
      const needed = 5 + Math.min(most, bytes.length);
      const memory = free.length >= needed ? free : Buffer.allocUnsafeSlow(needed);
      free = Buffer.alloc(0);
      for (let at = 0; at < bytes.length; at += most) {
        await sink.write(packetIn(memory, band, bytes.subarray(at, at + most)));
      }
      free = memory;
    },
  };
}

/** One sideband packet; `data` is at most LIMITS.packet - 5 bytes. */
export function sidebandPacket(band: Band, data: string | Uint8Array): Buffer {
  const bytes = typeof data === "string" ? utf8(data) : data;
  return packetIn(Buffer.allocUnsafe(5 + bytes.length), band, bytes);
}

/** The packet, at the start of `memory`. */
function packetIn(memory: Buffer, band: Band, data: Uint8Array): Buffer {
  const packet = memory.subarray(0, 5 + data.length);
  writePacketLength(packet, packet.length);
  packet[4] = band;
  packet.set(data, 5);
  return packet;
}

export interface DemultiplexOptions {
  /** Called with each piece of band 2 as it arrives; a piece may end in the middle of a line or of a character. */
  readonly onProgress?: ((bytes: Buffer) => void) | undefined;
}

/**
 * The bytes of band 1 up to the flush packet. Throws REMOTE_REJECTED with the peer's words on band 3, PROTOCOL on any
 * other band, NETWORK where the packets end without a flush. After the end `reader` stands behind the flush packet.
 */
export function demultiplex(reader: PktReader, options: DemultiplexOptions = {}): ByteSource {
  let ended = false;
  return {
    read: async () => {
      while (!ended) {
        const packet = await reader.read();
        switch (packet.kind) {
          case "flush":
          case "response-end":
            ended = true;
            return undefined;
          case "eof":
            throw new KvError("NETWORK", "the connection ended before the answer was complete");
          case "delim":
            throw new KvError("PROTOCOL", "a delimiter packet inside sideband data");
          case "data": {
            const data = bandOne(packet.data, options);
            if (data !== undefined) return data;
          }
        }
      }
      return undefined;
    },
  };
}

/** The payload where it is band 1's and not empty; progress is passed on. */
function bandOne(packet: Buffer, options: DemultiplexOptions): Buffer | undefined {
  const payload = packet.subarray(1);
  switch (packet[0]) {
    case 1:
      return payload.length > 0 ? payload : undefined;
    case 2:
      options.onProgress?.(asBuffer(payload));
      return undefined;
    case 3:
      throw new KvError("REMOTE_REJECTED", `remote error: ${payload.toString("utf8").trim()}`);
    default:
      // Git sends keep-alives as empty packets on band 1; a packet without a band is nothing it knows.
      throw new KvError("PROTOCOL", packet.length === 0 ? "a sideband packet is empty" : `no sideband ${packet[0]}`);
  }
}
