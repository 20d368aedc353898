/** What the negotiations of a fetch have in common, whatever the protocol version. */

import type { Oid } from "../object/oid.ts";
import type { ByteSource } from "./byte-stream.ts";
import type { Negotiator } from "./negotiator.ts";
import type { Greeting } from "./ref-advertisement.ts";
import type { Transport } from "./transport.ts";

/** What the negotiations of all versions are given. */
export interface NegotiationInput {
  readonly transport: Transport;
  readonly greeting: Greeting;
  readonly wants: readonly Oid[];
  readonly negotiator: Negotiator;
  readonly agent: string;
  readonly includeTag: boolean;
  readonly progress: ((text: string) => void) | undefined;
}

/** What they end with: the pack, to be read to its end. */
export interface Negotiated {
  readonly pack: ByteSource;
  readonly common: readonly Oid[];
}

/** Options of a demultiplexer that hands progress on as text. */
export function progressTo(progress: ((text: string) => void) | undefined): { onProgress?: (bytes: Buffer) => void } {
  if (progress === undefined) return {};
  const decoder = new TextDecoder();
  return { onProgress: (bytes) => progress(decoder.decode(bytes, { stream: true })) };
}
