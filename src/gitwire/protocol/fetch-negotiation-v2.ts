/**
 * Finding out what both sides have, protocol v2 (git: gitprotocol-v2 "fetch"). Every round is a command of its own that says
 * all over again what is wanted and what was found common, so stateful and stateless transports are the same here.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { Oid } from "../object/oid.ts";
import type { Capabilities } from "./capabilities.ts";
import { encodeCommandRequest } from "./command-request.ts";
import { formatFetchRequest } from "./fetch-request.ts";
import { readFetchResponse } from "./fetch-response.ts";
import { ErrorLineReader } from "./greeting.ts";
import { HaveBatches } from "./have-batches.ts";
import { type Negotiated, type NegotiationInput, progressTo } from "./negotiation.ts";
import { demultiplex } from "./sideband.ts";
import { bytesBody } from "./transport.ts";

/** Asks until the server sends the pack. Throws PROTOCOL where it never does. */
export async function negotiateV2(input: NegotiationInput, list: Capabilities): Promise<Negotiated> {
  const { transport, greeting, wants } = input;
  if (!greeting.capabilities.has("fetch")) throw new KvError("UNSUPPORTED", `${transport.url} does not offer 'fetch'`);
  const batches = new HaveBatches(input.negotiator, true);
  const common: Oid[] = [];
  for (let rounds = 0; rounds < LIMITS.fetchLines; rounds++) {
    const batch = batches.next();
    const args = formatFetchRequest({
      ...input.depth,
      thinPack: input.thin,
      ofsDelta: true,
      noProgress: input.progress === undefined,
      includeTag: input.includeTag,
      wants,
      haves: [...common, ...batch.haves],
      done: batch.isLast,
    });
    const answer = transport.request(bytesBody(encodeCommandRequest("fetch", list, args)));
    const reader = new ErrorLineReader(answer.reader);
    const response = await readFetchResponse(reader, greeting.format);
    for (const oid of response.acks ?? []) if (batches.acknowledge(oid)) common.push(oid);
    if (response.packfile) {
      const { shallowInfo } = response;
      return { pack: demultiplex(reader, progressTo(input.progress)), common, shallowInfo };
    }
    if (batch.isLast || response.ready) throw new KvError("PROTOCOL", `${transport.url} sends no pack when it is due`);
  }
  throw new KvError("PROTOCOL", `${transport.url} does not come to an end with the negotiation`);
}
