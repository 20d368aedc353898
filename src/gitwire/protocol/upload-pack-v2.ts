/**
 * The server's side of protocol v2 (git: gitprotocol-v2): capabilities, then commands (`ls-refs`, `fetch`) until the client
 * is done. Every command stands alone; stateless (HTTP) there is one a request.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { ByteSink, Duplex } from "./byte-stream.ts";
import {
  agentToken,
  type Capabilities,
  capabilities,
  capabilityValue,
  encodeCapabilityAdvertisement,
} from "./capabilities.ts";
import { writeChunks } from "./chunk-writer.ts";
import { type CommandRequest, readCommandRequest } from "./command-request.ts";
import { CommitGraph } from "./commit-graph.ts";
import { CommonCommits } from "./common-commits.ts";
import { type FetchRequest, parseFetchRequest } from "./fetch-request.ts";
import { encodeFetchResponse, type FetchResponse } from "./fetch-response.ts";
import { encodeLsRefs, type LsRefsLine, parseLsRefsRequest } from "./ls-refs.ts";
import { notOurRef, type PackRequest, refuseDepth, respondWithPack, sayError } from "./pack-response.ts";
import { PktReader, quoted } from "./pkt-line.ts";
import { findUnreachable } from "./reachability.ts";
import { SidebandWriter } from "./sideband-writer.ts";
import type { UploadPackHost } from "./upload-pack-host.ts";

export interface UploadPackV2Options {
  readonly host: UploadPackHost;
  readonly stateless: boolean;
  readonly advertise: "only" | "skip" | "both";
  readonly agent: string;
}

/** Serves v2 commands; see uploadPack. */
export async function uploadPackV2(duplex: Duplex, options: UploadPackV2Options): Promise<void> {
  const offer = ourCapabilities(options);
  if (options.advertise !== "skip") await duplex.output.write(encodeCapabilityAdvertisement(offer));
  if (options.advertise === "only") return;
  const reader = new PktReader(duplex.input);
  const graph = new CommitGraph(options.host.objects);
  do {
    let pack: PackRequest | undefined;
    try {
      const request = await readCommandRequest(reader);
      if (request === undefined) return;
      checkCapabilities(request.capabilities, offer);
      pack = await serve(request, options.host, graph, duplex.output);
    } catch (error) {
      await sayError(duplex.output, error);
      throw error;
    }
    if (pack !== undefined) {
      await respondWithPack(options.host, graph, new SidebandWriter(duplex.output, LIMITS.packet), pack);
    }
  } while (!options.stateless);
}

function ourCapabilities({ host, agent }: UploadPackV2Options): Capabilities {
  return capabilities(
    ["agent", agentToken(agent)],
    ["ls-refs", "unborn"],
    ["fetch", "wait-for-done"],
    ["object-format", host.objects.format.name],
  );
}

/** A client may only use what was offered, and must speak the repository's object format. */
function checkCapabilities(list: Capabilities, offer: Capabilities): void {
  for (const name of list.keys()) {
    if (!offer.has(name)) throw new KvError("PROTOCOL", `unknown capability ${quoted(name)}`);
  }
  const ours = capabilityValue(offer, "object-format");
  const theirs = capabilityValue(list, "object-format") ?? "sha1";
  if (ours !== theirs) {
    throw new KvError("PROTOCOL", `mismatched object format: server ${ours}; client ${quoted(theirs)}`);
  }
}

/** Answers a command up to the pack that is to follow, if one is. */
async function serve(
  { command, args }: CommandRequest,
  host: UploadPackHost,
  graph: CommitGraph,
  output: ByteSink,
): Promise<PackRequest | undefined> {
  if (command === "fetch") return fetch(parseFetchRequest(args, host.objects.format), host, graph, output);
  if (command !== "ls-refs") throw new KvError("PROTOCOL", `invalid command ${quoted(command)}`);
  await lsRefs(args, host, output);
  return undefined;
}

async function lsRefs(args: readonly string[], host: UploadPackHost, output: ByteSink): Promise<void> {
  const { symrefs, peel, unborn, prefixes } = parseLsRefsRequest(args);
  const lines: LsRefsLine[] = host.refs(prefixes).map(({ name, oid, symref, peeled }) => ({
    kind: "ref",
    name,
    oid,
    ...(symrefs && symref !== undefined ? { symref } : {}),
    ...(peel && peeled !== undefined ? { peeled } : {}),
  }));
  const head = unborn && isAsked("HEAD", prefixes) ? host.unbornHead() : undefined;
  if (head !== undefined) lines.unshift({ kind: "unborn", name: "HEAD", symref: head.symref });
  await writeChunks(output, encodeLsRefs(lines));
}

function isAsked(name: string, prefixes: readonly string[]): boolean {
  return prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix));
}

async function fetch(
  request: FetchRequest,
  host: UploadPackHost,
  graph: CommitGraph,
  output: ByteSink,
): Promise<PackRequest | undefined> {
  refuseDepth(request);
  const [wantRef] = request.wantRefs;
  if (wantRef !== undefined) throw new KvError("PROTOCOL", `unexpected line: ${quoted(`want-ref ${wantRef}`)}`);
  if (request.wants.length === 0 && !request.waitForDone) return undefined;
  const refs = host.refs();
  const bad = await findUnreachable(host.objects, graph, refs, request.wants);
  if (bad !== undefined) throw notOurRef(bad);
  const common = new CommonCommits(host.objects, graph, request.wants);
  for (const oid of request.haves) common.add(oid);
  const response = await negotiate(request, common);
  await output.write(encodeFetchResponse(response));
  if (!response.packfile) return undefined;
  return {
    wants: request.wants,
    haves: common.oids,
    tags: request.includeTag ? refs : [],
    thin: request.thinPack,
    ofsDelta: request.ofsDelta,
    progress: !request.noProgress,
  };
}

/** Haves are acknowledged until the client is done, or until there is enough in common to end it ourselves. */
async function negotiate(request: FetchRequest, common: CommonCommits): Promise<FetchResponse> {
  const base = { shallowInfo: undefined, wantedRefs: new Map(), ready: false };
  if (request.done || (request.haves.length === 0 && !request.waitForDone))
    return { ...base, acks: undefined, packfile: true };
  const ready = !request.waitForDone && (await common.isEnough());
  return { ...base, acks: common.oids, ready, packfile: ready };
}
