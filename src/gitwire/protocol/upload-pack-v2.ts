/**
 * The server's side of protocol v2 (git: gitprotocol-v2): capabilities, then commands (`ls-refs`, `fetch`) until the client
 * is done. Every command stands alone; stateless (HTTP) there is one a request.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { TimeSlice } from "../../time-slice.ts";
import { type Oid, SHA1, SHA256 } from "../object/oid.ts";
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
import { findBoundary } from "./deepen.ts";
import { asksForDepth, FetchArguments, type FetchRequest, parseFetchRequest } from "./fetch-request.ts";
import { encodeFetchResponse, type FetchResponse } from "./fetch-response.ts";
import { encodeLsRefs, type LsRefsLine, parseLsRefsRequest } from "./ls-refs.ts";
import { type ObjectFilter, parseFilter } from "./object-filter.ts";
import { type PackOrder, respondWithPack, sayError } from "./pack-response.ts";
import { PktReader, quoted } from "./pkt-line.ts";
import { SidebandWriter } from "./sideband-writer.ts";
import type { UploadPackHost } from "./upload-pack-host.ts";
import type { UploadPolicy } from "./upload-policy.ts";
import type { VisibleRefs } from "./visible-refs.ts";
import { checkWants } from "./want-check.ts";

export interface UploadPackV2Options {
  readonly host: UploadPackHost;
  readonly stateless: boolean;
  readonly advertise: "only" | "skip" | "both";
  readonly agent: string;
}

/** Serves v2 commands; see uploadPack. */
export async function uploadPackV2(duplex: Duplex, options: UploadPackV2Options): Promise<void> {
  if (options.advertise !== "skip") await duplex.output.write(encodeCapabilityAdvertisement(ourCapabilities(options)));
  if (options.advertise === "only") return;
  const reader = new PktReader(duplex.input);
  const { host } = options;
  const graph = new CommitGraph(host.objects, host.shallow());
  do {
    let pack: PackOrder | undefined;
    try {
      const named = new FetchArguments(host.objects.format, host.objects);
      const request = await readCommandRequest(reader, (argument) => named.take(argument));
      if (request === undefined) return;
      checkCapabilities(request.capabilities, host.objects.format.name);
      pack = await serve(request, named, host, graph, duplex.output);
    } catch (error) {
      await sayError(duplex.output, error);
      throw error;
    }
    if (pack !== undefined) {
      await respondWithPack(host, new SidebandWriter(duplex.output, LIMITS.packet, host.policy.keepAlive), pack);
    }
  } while (!options.stateless);
}

function ourCapabilities({ host, agent }: UploadPackV2Options): Capabilities {
  const features = ["shallow", "wait-for-done"];
  if (host.policy.filters) features.push("filter");
  if (host.policy.refInWant) features.push("ref-in-want");
  return capabilities(
    ["agent", agentToken(agent)],
    host.policy.unborn === "advertise" ? ["ls-refs", "unborn"] : ["ls-refs"],
    ["fetch", features.join(" ")],
    ["server-option"],
    ["object-format", host.objects.format.name],
  );
}

/** Capabilities that a client may send with a command. Of its options for the server nobody here knows any; git takes them too. */
const OF_CLIENTS = new Set(["agent", "object-format", "server-option"]);

/** A client may only use what was offered, and must speak the repository's object format. */
function checkCapabilities(list: Capabilities, ours: string): void {
  for (const [name, [value]] of list) {
    if (OF_CLIENTS.has(name)) continue;
    throw new KvError("PROTOCOL", `unknown capability ${quoted(value === undefined ? name : `${name}=${value}`)}`);
  }
  const theirs = capabilityValue(list, "object-format") ?? "sha1";
  if (ours === theirs) return;
  if (!FORMATS.has(theirs)) throw new KvError("PROTOCOL", `unknown object format ${quoted(theirs)}`);
  throw new KvError("PROTOCOL", `mismatched object format: server ${ours}; client ${theirs}`);
}

const FORMATS = new Set([SHA1.name, SHA256.name] as string[]);

/** Answers a command up to the pack that is to follow, if one is. */
async function serve(
  { command, args }: CommandRequest,
  named: FetchArguments,
  host: UploadPackHost,
  graph: CommitGraph,
  output: ByteSink,
): Promise<PackOrder | undefined> {
  if (command === "fetch") {
    const request = parseFetchRequest(args, host.objects.format, named);
    return fetch(request, named.haveLines > 0, host, graph, output);
  }
  if (command !== "ls-refs") throw new KvError("PROTOCOL", `invalid command ${quoted(command)}`);
  if (named.lines > 0) throw new KvError("PROTOCOL", "unexpected line: 'ls-refs' is asked for no objects");
  await lsRefs(args, host, output);
  return undefined;
}

async function lsRefs(args: readonly string[], host: UploadPackHost, output: ByteSink): Promise<void> {
  const request = parseLsRefsRequest(args);
  const { symrefs, peel, prefixes } = request;
  const unborn = request.unborn && symrefs && host.policy.unborn !== "ignore";
  const refs = host.refs(prefixes);
  const lines: LsRefsLine[] = [];
  const unbornHead = unborn && isAsked("HEAD", prefixes) ? host.unbornHead() : undefined;
  if (unbornHead !== undefined) lines.push({ kind: "unborn", name: "HEAD", symref: unbornHead.symref });
  if (refs.head !== undefined) {
    const { name, oid, symref } = refs.head;
    lines.push({ kind: "ref", name, oid, ...(symrefs && symref !== undefined ? { symref } : {}) });
  }
  await writeChunks(output, encodeLsRefs(lines, refs.cursor(peel), symrefs));
}

function isAsked(name: string, prefixes: readonly string[]): boolean {
  return prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix));
}

async function fetch(
  request: FetchRequest,
  saysHaves: boolean,
  host: UploadPackHost,
  graph: CommitGraph,
  output: ByteSink,
): Promise<PackOrder | undefined> {
  const { objects, policy } = host;
  const filter = filterOf(request, policy);
  const refs = host.refs();
  const wantedRefs = refsWanted(request, policy, refs);
  const wants = [...new Set([...request.wants, ...wantedRefs.values()])];
  if (wants.length === 0 && !request.waitForDone) return undefined;
  await checkWants(host, graph, refs, wants, false);
  const common = new CommonCommits(objects, graph, wants);
  await addHaves(common, request.haves);
  const answer = await negotiate(request, saysHaves, common);
  if (!answer.packfile) {
    await output.write(encodeFetchResponse({ ...answer, shallowInfo: undefined, wantedRefs: new Map() }));
    return undefined;
  }
  const boundary = await findBoundary(objects, graph, request, wants, refs);
  const isDue = asksForDepth(request) || request.shallow.length > 0 || graph.isShallow;
  await output.write(encodeFetchResponse({ ...answer, shallowInfo: isDue ? boundary.info : undefined, wantedRefs }));
  return {
    graph: boundary.graph,
    wants: [...wants, ...boundary.wants],
    haves: [...common.oids, ...boundary.haves],
    filter,
    tags: request.includeTag ? refs.tags() : [],
    thin: request.thinPack,
    ofsDelta: request.ofsDelta,
    progress: !request.noProgress,
  };
}

async function addHaves(common: CommonCommits, haves: readonly Oid[]): Promise<void> {
  const slice = new TimeSlice();
  for (const oid of haves) {
    common.add(oid);
    if (slice.isOver()) await slice.pause();
  }
}

function filterOf({ filter: spec }: FetchRequest, policy: UploadPolicy): ObjectFilter | undefined {
  if (spec === undefined) return undefined;
  if (!policy.filters) throw new KvError("PROTOCOL", `unexpected line: ${quoted(`filter ${spec}`)}`);
  const filter = parseFilter(spec);
  policy.checkFilter(filter);
  return filter;
}

/** Values of the refs that are wanted by name. */
function refsWanted({ wantRefs }: FetchRequest, policy: UploadPolicy, refs: VisibleRefs): Map<string, Oid> {
  const wanted = new Map<string, Oid>();
  if (wantRefs.length === 0) return wanted;
  if (!policy.refInWant) throw new KvError("PROTOCOL", `unexpected line: ${quoted(`want-ref ${wantRefs[0]}`)}`);
  for (const name of wantRefs) {
    const oid = refs.find(name)?.oid;
    if (oid === undefined) throw new KvError("PROTOCOL", `unknown ref ${name.slice(0, 200)}`);
    if (wanted.has(name)) throw new KvError("PROTOCOL", `duplicate want-ref ${name.slice(0, 200)}`);
    wanted.set(name, oid);
  }
  return wanted;
}

/** Haves are acknowledged until the client is done, or until there is enough in common to end it ourselves. */
async function negotiate(
  request: FetchRequest,
  saysHaves: boolean,
  common: CommonCommits,
): Promise<Pick<FetchResponse, "acks" | "ready" | "packfile">> {
  if (request.done || !saysHaves) return { acks: undefined, ready: false, packfile: true };
  const ready = !request.waitForDone && (await common.isEnough());
  return { acks: common.oids, ready, packfile: ready };
}
