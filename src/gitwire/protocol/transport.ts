/**
 * What the client sessions (send-pack, fetch-pack) need of a connection, whatever carries it.
 *
 * A stateful transport (ssh, a local repository) is one conversation: every answer comes from the same reader. A stateless
 * one (HTTP) is a request and its answer at a time, and the server forgets what was said before.
 */

import type { PktReader } from "./pkt-line.ts";
import type { Service } from "./ref-advertisement.ts";

/** Bytes of one request. */
export interface RequestBody {
  /** Number of bytes of all chunks. */
  readonly byteLength: number;
  /** The chunks from the start; asked for again where the request must be repeated (after HTTP authentication). */
  chunks(): Iterable<Uint8Array>;
}

/** What comes back for a request. */
export interface Answer {
  /** Rejects with NETWORK where the connection breaks, and with what an HTTP status means. */
  readonly reader: PktReader;
  /** Whether all of the request has left, so that the other side may have acted on it. */
  isSent(): boolean;
}

export interface Transport {
  /** The address as messages may show it, without its password. */
  readonly url: string;
  readonly service: Service;
  readonly stateless: boolean;
  /** What the server says first: its refs or its capabilities. Asked for at most once. */
  greeting(): Promise<PktReader>;
  /**
   * Sends one request. Sending goes on while the answer is read. A stateful transport's greeting is read before; over HTTP a push
   * that knows what it needs can do without.
   */
  request(body: RequestBody): Answer;
  /** Says goodbye where the other side waits for it, and lets go of everything. Never throws; safe to call twice. */
  close(): Promise<void>;
}

/** A request body of bytes in memory. */
export function bytesBody(...chunks: readonly Uint8Array[]): RequestBody {
  return { byteLength: chunks.reduce((sum, chunk) => sum + chunk.length, 0), chunks: () => chunks };
}
