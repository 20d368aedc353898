/**
 * The client's side of a fetch: which refs the server has, and the objects behind them (git: gitprotocol-v2 "ls-refs",
 * "fetch"; gitprotocol-pack "Packfile Negotiation" for v0 and v1; fetch-pack.c).
 *
 * What arrives goes into a quarantine, is checked to be complete, and only then becomes part of the repository.
 */

import * as fs from "node:fs";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { ObjectFormat, Oid } from "../object/oid.ts";
import { type IndexedPack, indexPack } from "../pack/index-pack.ts";
import type { ObjectStore } from "../store/object-store.ts";
import type { PackKeeps } from "../store/pack-keep.ts";
import { Quarantine } from "../store/quarantine.ts";
import { readShallow, updateShallow } from "../store/shallow-file.ts";
import type { ByteSource } from "./byte-stream.ts";
import { agentToken, type Capabilities, capabilities } from "./capabilities.ts";
import { encodeCommandRequest } from "./command-request.ts";
import { unconnectedTips } from "./connectivity.ts";
import { negotiateV0 } from "./fetch-negotiation-v0.ts";
import { negotiateV2 } from "./fetch-negotiation-v2.ts";
import { depthRequest, type FetchScope, type MovedEnds, moveEnds, parentsOf } from "./fetch-scope.ts";
import { checkFormat, ErrorLineReader, greetingOf } from "./greeting.ts";
import { formatLsRefsRequest, readLsRefs } from "./ls-refs.ts";
import type { Negotiated, NegotiationInput } from "./negotiation.ts";
import { Negotiator } from "./negotiator.ts";
import type { Greeting, RemoteRef } from "./ref-advertisement.ts";
import { bytesBody, type Transport } from "./transport.ts";

export interface LsRefsOptions {
  /** Name and version of this program. */
  readonly agent: string;
}

/** The other side's refs. */
export interface RemoteRefs {
  readonly format: ObjectFormat;
  /** In the order they came; HEAD first where it resolves. */
  readonly refs: readonly RemoteRef[];
  /** The branch HEAD names although it has no commit yet. */
  readonly unbornHead: string | undefined;
}

/**
 * Refs that begin with one of `prefixes`, or all. A server of v0 or v1 sends all of them in any case; here they are left out.
 */
export async function lsRefs(
  transport: Transport,
  prefixes: readonly string[],
  options: LsRefsOptions,
): Promise<RemoteRefs> {
  const greeting = await greetingOf(transport);
  const isWanted = (name: string): boolean => prefixes.length === 0 || prefixes.some((p) => name.startsWith(p));
  if (greeting.kind === "refs") {
    return { format: greeting.format, refs: wantedRefs(greeting.refs, isWanted), unbornHead: undefined };
  }
  const unborn = greeting.capabilities.get("ls-refs")?.some((value) => value.split(" ").includes("unborn")) === true;
  const args = formatLsRefsRequest({ symrefs: true, peel: true, unborn, prefixes });
  const list = commandCapabilities(greeting, options.agent);
  const answer = transport.request(bytesBody(encodeCommandRequest("ls-refs", list, args)));
  const lines = await readLsRefs(new ErrorLineReader(answer.reader), greeting.format);
  const refs = lines.filter((line) => line.kind === "ref" && isWanted(line.name));
  return {
    format: greeting.format,
    refs: refs.map((line) => withoutKind(line as RemoteRef & { kind: string })),
    unbornHead: lines.find((line) => line.kind === "unborn" && line.name === "HEAD")?.symref,
  };
}

function wantedRefs(refs: Iterable<RemoteRef>, isWanted: (name: string) => boolean): RemoteRef[] {
  const wanted: RemoteRef[] = [];
  for (const ref of refs) if (isWanted(ref.name)) wanted.push(ref);
  return wanted;
}

/** Values of the refs that are here too. */
function* valuesAtHand(refs: Iterable<RemoteRef>, objects: ObjectStore): Generator<Oid> {
  for (const { oid } of refs) if (objects.hasAtHand(oid)) yield oid;
}

function withoutKind({ kind: _, ...ref }: RemoteRef & { readonly kind: string }): RemoteRef {
  return ref;
}

/** Where fetched objects go; a Repository will do. */
export interface FetchDestination {
  readonly format: ObjectFormat;
  readonly objectsDir: string;
  readonly objects: ObjectStore;
  /** Where the shallow file is. */
  readonly commonDir: string;
}

export interface FetchOrder {
  /** Objects wanted, which the server must be ready to give: values of its refs, or any reachable one of it where it allows that. */
  readonly wants: readonly Oid[];
  /** Values of local refs: what is behind them need not be sent. */
  readonly haves: Iterable<Oid>;
  readonly destination: FetchDestination;
  readonly agent: string;
  /** Keeps what arrives from a `git gc` in another process until the caller has moved the refs. */
  readonly keeps?: PackKeeps | undefined;
  /** Also tags that point at what is sent. */
  readonly includeTag?: boolean;
  /** Text of the server for the person who waits, as it comes. */
  readonly progress?: ((text: string) => void) | undefined;
  /** Told how many bytes of the pack have arrived. */
  readonly onBytes?: (received: number) => void;
  /** Ends the fetch, with its reason, when it aborts; the connection is the caller's. */
  readonly signal?: AbortSignal | undefined;
  /** How much of it; everything where it is left out. */
  readonly scope?: FetchScope;
  /** Limits lower than LIMITS. */
  readonly limits?: FetchLimits;
}

export interface FetchLimits {
  readonly packBytes: number;
  readonly packObjects: number;
  readonly objectBytes: number;
  readonly deltaDepth: number;
}

/** What arrived. */
export interface FetchResult {
  readonly objectCount: number;
  /** Of the stored pack. */
  readonly byteLength: number;
  /** Commits both sides had, as the server acknowledged them. */
  readonly common: readonly Oid[];
  /** Objects may have been left out, as the filter says; the pack is marked as one whose objects lead to missing ones. */
  readonly isPartial: boolean;
}

/**
 * Fetches `wants` and what they need into the destination. The refs are the caller's to move afterwards. Throws BAD_PACK,
 * BAD_OBJECT or LIMIT_EXCEEDED for what arrives, REMOTE_REJECTED, NETWORK and so on; the repository is as it was then.
 */
export async function fetchPack(transport: Transport, order: FetchOrder): Promise<FetchResult> {
  const greeting = await greetingOf(transport);
  checkFormat(transport, greeting, order.destination.format);
  const wants = [...new Set(order.wants)];
  if (wants.length === 0) return { objectCount: 0, byteLength: 0, common: [], isPartial: false };
  const { destination, scope = {} } = order;
  const advertised = greeting.kind === "refs" ? valuesAtHand(greeting.refs, destination.objects) : [];
  const shallow = readShallow(destination.commonDir, destination.format);
  const depth = depthRequest(scope, shallow, greeting, transport.url);
  const isPartial = scope.partial === true || depth.filter !== undefined;
  const input: NegotiationInput = {
    transport,
    greeting,
    wants,
    negotiator: new Negotiator(destination.objects, order.haves, advertised, shallow),
    agent: order.agent,
    includeTag: order.includeTag ?? false,
    progress: order.progress,
    // What a delta is made against may be missing here.
    thin: !isPartial,
    depth,
  };
  const negotiated = await (greeting.kind === "refs"
    ? negotiateV0(input, greeting.capabilities)
    : negotiateV2(input, commandCapabilities(greeting, order.agent)));
  const theirs = greeting.kind === "refs" ? greeting.shallow : [];
  const stored = await storePack(negotiated, { wants, shallow, theirs, isPartial }, order);
  const { objectCount = 0, byteLength = 0 } = stored ?? {};
  return { objectCount, byteLength, common: negotiated.common, isPartial };
}

/** What is known of a fetch when its pack arrives. */
interface Arrival {
  readonly wants: readonly Oid[];
  /** Where our history ends, and where the server's does. */
  readonly shallow: readonly Oid[];
  readonly theirs: readonly Oid[];
  readonly isPartial: boolean;
}

async function storePack(
  { pack: source, shallowInfo }: Negotiated,
  arrival: Arrival,
  order: FetchOrder,
): Promise<IndexedPack | undefined> {
  const { format, objectsDir, objects, commonDir } = order.destination;
  const quarantine = Quarantine.create(objectsDir);
  try {
    const indexed = await indexPack(counted(source, order.onBytes), {
      format,
      dir: quarantine.packDir,
      bases: objects,
      limits: order.limits ?? LIMITS,
      signal: order.signal,
    });
    // What follows is progress and the packet that ends the answer.
    while ((await source.read()) !== undefined);
    const moved = moveEnds(arrival.shallow, shallowInfo, arrival.theirs, quarantine.source(objects));
    await checkConnected(indexed, arrival, moved, quarantine, order);
    if (indexed !== undefined) {
      if (arrival.isPartial) fs.writeFileSync(indexed.packPath.replace(/\.pack$/, ".promisor"), "");
      quarantine.migrate(objects, { keep: order.keeps });
    }
    const before = new Set(arrival.shallow);
    // What another fetch did to the file meanwhile stays.
    const update = (now: readonly Oid[]): Oid[] => [...moved.ends, ...now.filter((oid) => !before.has(oid))];
    if (moved.changed) await updateShallow(commonDir, format, update);
    return indexed;
  } finally {
    quarantine.discard();
  }
}

/** The same source; `onBytes` is told of what is read. */
function counted(source: ByteSource, onBytes: FetchOrder["onBytes"]): ByteSource {
  if (onBytes === undefined) return source;
  let received = 0;
  return {
    async read() {
      const bytes = await source.read();
      received += bytes?.length ?? 0;
      onBytes(received);
      return bytes;
    },
  };
}

/** All that the wants lead to must be here now. */
async function checkConnected(
  indexed: IndexedPack | undefined,
  { wants, isPartial }: Arrival,
  { ends, opened }: MovedEnds,
  quarantine: Quarantine,
  { destination: { objects }, signal }: FetchOrder,
): Promise<void> {
  try {
    const source = quarantine.source(objects);
    const view = {
      objects: source,
      newKind: (bytes: Buffer, at: number) => indexed?.objects.kindOf(bytes, at),
      oldKind: (oid: Oid) => objects.kind(oid),
      fsck: undefined,
      isEnd: (oid: Oid) => ends.has(oid),
      isPartial,
      signal,
    };
    const below = opened.flatMap((oid) => parentsOf(source, oid));
    const [problem] = (await unconnectedTips(view, [...wants, ...below])).values();
    if (problem === undefined) return;
    throw new KvError("BAD_PACK", `the server did not send all that was asked for: ${problem}`);
  } catch (cause) {
    if (!(cause instanceof KvError) || cause.code !== "BAD_OBJECT") throw cause;
    throw new KvError("BAD_PACK", `the server sent an unsound object: ${cause.message}`, { cause });
  }
}

/** What every v2 command says about us. */
export function commandCapabilities(greeting: Greeting, agent: string): Capabilities {
  const offered = greeting.capabilities;
  return capabilities(
    ...(offered.has("agent") ? [["agent", agentToken(agent)] as const] : []),
    ...(offered.has("object-format") ? [["object-format", greeting.format.name] as const] : []),
  );
}
