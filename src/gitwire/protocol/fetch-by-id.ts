/**
 * Fetches objects by their ids, and no more than those: trees without what is in them, single blobs, a commit without its
 * history (git: gitprotocol-v2 "fetch" with "filter", "deepen" and "want-ref"). For readers that keep no repository: nothing is
 * negotiated, no ref is moved, and what the objects lead to may be missing.
 *
 * A server of v2 gives any object that it has or that its refs reach; one of v0 only what its refs point at, so those are not asked.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { Oid } from "../object/oid.ts";
import { indexPack } from "../pack/index-pack.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { encodeCommandRequest } from "./command-request.ts";
import { commandCapabilities, type FetchLimits } from "./fetch-pack.ts";
import { formatFetchRequest } from "./fetch-request.ts";
import { readFetchResponse } from "./fetch-response.ts";
import { checkFormat, ErrorLineReader, greetingOf } from "./greeting.ts";
import { progressTo } from "./negotiation.ts";
import type { Greeting } from "./ref-advertisement.ts";
import { demultiplex } from "./sideband.ts";
import { bytesBody, type Transport } from "./transport.ts";

export interface ByIdOrder {
  readonly wants: readonly Oid[];
  /** Refs whose values are wanted, whatever they are. */
  readonly wantRefs?: readonly string[];
  /** Commits that are here with all that they lead to, as far as `filter` goes. */
  readonly haves?: readonly Oid[];
  /** Commits of the history from each wanted one on; all of it where it is left out. */
  readonly depth?: number;
  /** What is left out of that which the wanted objects lead to. */
  readonly filter?: string;
  /** Where the objects go, as one pack. */
  readonly store: ObjectStore;
  readonly agent: string;
  readonly progress?: ((text: string) => void) | undefined;
  readonly limits?: FetchLimits;
}

export interface ByIdResult {
  readonly objectCount: number;
  readonly byteLength: number;
  /** Values of the wanted refs. */
  readonly wantedRefs: ReadonlyMap<string, Oid>;
}

/**
 * Fetches. What arrives is hashed: an object is stored under the id that its bytes have. Throws UNSUPPORTED where the server
 * does not speak v2, REMOTE_REJECTED where it refuses, BAD_PACK where a wanted object did not come, LIMIT_EXCEEDED, NETWORK.
 */
export async function fetchById(transport: Transport, order: ByIdOrder): Promise<ByIdResult> {
  const greeting = await greetingOf(transport);
  checkFormat(transport, greeting, order.store.format);
  if (greeting.kind === "refs") throw new KvError("UNSUPPORTED", `${transport.url} does not speak protocol v2`);
  let result = await fetchOnce(transport, greeting, order);
  // Git gives a wanted tree only with the one that names it where that is wanted too, and a filter may leave it out there.
  for (let wants = order.wants; ; ) {
    const missing = [...wants, ...result.wantedRefs.values()].filter((oid) => !order.store.has(oid));
    if (missing.length === 0) return result;
    if (missing.length >= wants.length) {
      throw new KvError("BAD_PACK", `the server did not send ${missing[0]}, which was asked for`);
    }
    wants = missing;
    const { objectCount, byteLength } = await fetchOnce(transport, greeting, { ...order, wants, wantRefs: [] });
    const { wantedRefs } = result;
    result = { objectCount: result.objectCount + objectCount, byteLength: result.byteLength + byteLength, wantedRefs };
  }
}

/** One request, and its answer put into the store. */
async function fetchOnce(transport: Transport, greeting: Greeting, order: ByIdOrder): Promise<ByIdResult> {
  const { wants, wantRefs = [], haves = [], depth, filter, store, agent, progress } = order;
  const args = formatFetchRequest({
    ofsDelta: true,
    noProgress: progress === undefined,
    ...(depth !== undefined && { deepen: depth }),
    ...(filter !== undefined && { filter }),
    wants: [...new Set(wants)],
    wantRefs,
    haves,
    done: true,
  });
  const request = encodeCommandRequest("fetch", commandCapabilities(greeting, agent), args);
  const reader = new ErrorLineReader(transport.request(bytesBody(request)).reader);
  const response = await readFetchResponse(reader, store.format);
  if (!response.packfile) throw new KvError("PROTOCOL", `${transport.url} sends no pack when it is due`);
  const pack = demultiplex(reader, progressTo(progress));
  const limits = order.limits ?? LIMITS;
  const indexed = await indexPack(pack, { format: store.format, dir: store.packDir, bases: undefined, limits });
  while ((await pack.read()) !== undefined);
  if (indexed !== undefined) store.addPack(indexed);
  const { objectCount = 0, byteLength = 0 } = indexed ?? {};
  return { objectCount, byteLength, wantedRefs: response.wantedRefs };
}
