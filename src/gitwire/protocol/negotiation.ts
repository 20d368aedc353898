/** What the negotiations of a fetch have in common, whatever the protocol version. */

import type { Oid } from "../object/oid.ts";
import type { ByteSource } from "./byte-stream.ts";
import type { DepthRequest } from "./fetch-request.ts";
import type { ShallowInfo } from "./fetch-response.ts";
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
  /** Deltas may be made against what we have. */
  readonly thin: boolean;
  readonly depth: DepthRequest;
  readonly progress: ((text: string) => void) | undefined;
}

/** What they end with: the pack, to be read to its end. */
export interface Negotiated {
  readonly pack: ByteSource;
  readonly common: readonly Oid[];
  /** Where the history ends from now on, as far as that changes. */
  readonly shallowInfo: ShallowInfo | undefined;
}

/** Options of a demultiplexer that hands progress on as text. */
export function progressTo(progress: ((text: string) => void) | undefined): { onProgress?: (bytes: Buffer) => void } {
  if (progress === undefined) return {};
  const decoder = new TextDecoder();
  return { onProgress: (bytes) => progress(decoder.decode(bytes, { stream: true })) };
}
