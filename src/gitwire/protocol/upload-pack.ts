/**
 * The server's side of a fetch, protocol v0 and v1 (git: gitprotocol-pack "Fetching Data From a Server").
 *
 *     server: advertisement; client: wants, haves ... done; server: ACK / NAK ..., pack
 *
 * Stateless (HTTP), each request repeats the wants, and the server answers what one request holds.
 */

import { KvError } from "../../errors.ts";
import { TimeSlice } from "../../time-slice.ts";
import type { Oid } from "../object/oid.ts";
import type { ByteSink, Duplex } from "./byte-stream.ts";
import { agentToken, type Capabilities, type CapabilityEntry, capabilities } from "./capabilities.ts";
import { writeChunks } from "./chunk-writer.ts";
import { CommitGraph } from "./commit-graph.ts";
import { CommonCommits } from "./common-commits.ts";
import { type Boundary, findBoundary } from "./deepen.ts";
import { asksForDepth, parseNegotiation, readUploadRequest, type UploadRequest } from "./fetch-request.ts";
import { type AckStatus, encodeAck, encodeShallowLines, NAK } from "./fetch-response.ts";
import { type ObjectFilter, parseFilter } from "./object-filter.ts";
import { respondWithPack, sayError } from "./pack-response.ts";
import { FLUSH, PktReader } from "./pkt-line.ts";
import { encodeRefAdvertisement, encodeServiceLine } from "./ref-advertisement.ts";
import { SidebandWriter, sidebandLimit } from "./sideband-writer.ts";
import type { UploadPackHost } from "./upload-pack-host.ts";
import { uploadPackV2 } from "./upload-pack-v2.ts";
import type { VisibleRefs } from "./visible-refs.ts";
import { checkWants } from "./want-check.ts";

export interface UploadPackOptions {
  readonly host: UploadPackHost;
  /** Request and response (HTTP) rather than one connection. With `advertise: "only"` the service line comes first. */
  readonly stateless: boolean;
  /** Advertise and end; answer without advertising (HTTP's POST); or both (SSH, pipes). */
  readonly advertise: "only" | "skip" | "both";
  readonly version: 0 | 1 | 2;
  /** What we call ourselves. */
  readonly agent: string;
}

/**
 * Serves one fetch. Rejects where it could not be served to the end; the client has been told then if the connection
 * allowed it. The caller ends the connection and logs the error.
 */
export async function uploadPack(duplex: Duplex, options: UploadPackOptions): Promise<void> {
  if (options.version === 2) {
    await uploadPackV2(duplex, options);
    return;
  }
  const refs = options.host.refs();
  if (options.advertise !== "skip") await advertise(duplex.output, options, refs);
  if (options.advertise === "only") return;
  await new UploadSession(duplex, options, refs).run();
}

async function advertise(output: ByteSink, options: UploadPackOptions, refs: VisibleRefs): Promise<void> {
  const { policy, objects } = options.host;
  const { format } = objects;
  const { head } = refs;
  const list: CapabilityEntry[] = [
    ["multi_ack"],
    ["thin-pack"],
    ["side-band"],
    ["side-band-64k"],
    ["ofs-delta"],
    ["shallow"],
    ["deepen-since"],
    ["deepen-not"],
    ["deepen-relative"],
    ["no-progress"],
    ["include-tag"],
    ["multi_ack_detailed"],
  ];
  if (policy.hiddenTips) list.push(["allow-tip-sha1-in-want"]);
  if (policy.wants !== "tips") list.push(["allow-reachable-sha1-in-want"]);
  if (options.stateless) list.push(["no-done"]);
  if (head?.symref !== undefined) list.push(["symref", `HEAD:${head.symref}`]);
  if (policy.filters) list.push(["filter"]);
  list.push(["object-format", format.name], ["agent", agentToken(options.agent)]);
  if (options.stateless) await output.write(encodeServiceLine("git-upload-pack"));
  const chunks = encodeRefAdvertisement({
    version: options.version === 1 ? 1 : 0,
    format,
    capabilities: capabilities(...list),
    refs: head === undefined ? [] : [head],
    listed: refs.cursor(true),
    shallow: options.host.shallow(),
  });
  await writeChunks(output, chunks);
}

/** What a negotiation came to. */
interface Agreement {
  readonly wants: readonly Oid[];
  readonly capabilities: Capabilities;
  readonly haves: readonly Oid[];
  readonly boundary: Boundary;
  readonly filter: ObjectFilter | undefined;
}

class UploadSession {
  readonly #options: UploadPackOptions;
  readonly #refs: VisibleRefs;
  readonly #output: ByteSink;
  readonly #reader: PktReader;
  readonly #graph: CommitGraph;

  constructor(duplex: Duplex, options: UploadPackOptions, refs: VisibleRefs) {
    this.#options = options;
    this.#refs = refs;
    this.#output = duplex.output;
    this.#reader = new PktReader(duplex.input);
    this.#graph = new CommitGraph(options.host.objects, options.host.shallow());
  }

  async run(): Promise<void> {
    let agreed: Agreement | undefined;
    try {
      agreed = await this.#agree();
    } catch (error) {
      await sayError(this.#output, error);
      throw error;
    }
    if (agreed === undefined) return;
    const { wants, capabilities: list, haves, boundary, filter } = agreed;
    const { host } = this.#options;
    const writer = new SidebandWriter(this.#output, sidebandLimit(list), host.policy.keepAlive);
    await respondWithPack(host, writer, {
      graph: boundary.graph,
      wants: [...wants, ...boundary.wants],
      haves: [...haves, ...boundary.haves],
      filter,
      tags: list.has("include-tag") ? this.#refs.tags() : [],
      thin: list.has("thin-pack"),
      ofsDelta: list.has("ofs-delta"),
      progress: !list.has("no-progress"),
    });
  }

  /** All that is said before the pack; undefined where none is to follow. */
  async #agree(): Promise<Agreement | undefined> {
    const { host, stateless } = this.#options;
    const { objects } = host;
    const request = await readUploadRequest(this.#reader, objects.format, objects);
    if (request === undefined) return undefined;
    const { wants, capabilities: list } = request;
    const filter = this.#filter(request);
    await checkWants(host, this.#graph, this.#refs, wants, !stateless);
    const boundary = await findBoundary(objects, this.#graph, request, wants, this.#refs);
    if (asksForDepth(request)) await this.#output.write(Buffer.concat([encodeShallowLines(boundary.info), FLUSH]));
    const common = new CommonCommits(objects, this.#graph, wants);
    if (!(await this.#negotiate(list, common))) return undefined;
    return { wants, capabilities: list, haves: common.oids, boundary, filter };
  }

  /** The filter asked for, which the client must have said it would use. */
  #filter({ filter: spec, capabilities: list }: UploadRequest): ObjectFilter | undefined {
    if (spec === undefined) return undefined;
    const { policy } = this.#options.host;
    if (!policy.filters || !list.has("filter")) {
      throw new KvError("PROTOCOL", "git upload-pack: filtering capability not negotiated");
    }
    const filter = parseFilter(spec);
    policy.checkFilter(filter);
    return filter;
  }

  /** Answers the haves; true where a pack is to follow, false where the client will come again or went away. */
  async #negotiate(list: Capabilities, common: CommonCommits): Promise<boolean> {
    const detailed = list.has("multi_ack_detailed");
    const multi = detailed || list.has("multi_ack");
    const status = (word: AckStatus): AckStatus => (detailed ? word : "continue");
    let last: Oid | undefined;
    let ready = false;
    let news = { common: false, other: false };
    const ack = (oid: Oid, word?: AckStatus): Promise<void> => this.#output.write(encodeAck(oid, word));
    const slice = new TimeSlice();
    for (;;) {
      if (slice.isOver()) await slice.pause();
      const packet = await this.#reader.read();
      if (packet.kind === "eof") return false;
      if (packet.kind === "flush") {
        if (detailed && news.common && !news.other && last !== undefined && (await common.isEnough())) {
          ready = true;
          await ack(last, "ready");
        }
        if (common.size === 0 || multi) await this.#output.write(NAK);
        if (ready && list.has("no-done") && last !== undefined) {
          await ack(last);
          return true;
        }
        if (this.#options.stateless) return false;
        news = { common: false, other: false };
        continue;
      }
      if (packet.kind !== "data") throw new KvError("PROTOCOL", `${packet.kind} inside the negotiation`);
      const line = parseNegotiation(this.#options.host.objects.format, packet.data);
      if (line.kind === "done") {
        if (last === undefined) await this.#output.write(NAK);
        else if (multi) await ack(last);
        return true;
      }
      if (common.add(line.oid)) {
        news.common = true;
        last = line.oid;
        if (multi) await ack(line.oid, status("common"));
        else if (common.size === 1) await ack(line.oid);
      } else {
        news.other = true;
        if (multi && (await common.isEnough())) {
          ready = true;
          await ack(line.oid, status("ready"));
        }
      }
    }
  }
}
