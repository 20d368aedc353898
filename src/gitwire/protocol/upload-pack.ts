/**
 * The server's side of a fetch, protocol v0 and v1 (git: gitprotocol-pack "Fetching Data From a Server").
 *
 *     server: advertisement; client: wants, haves ... done; server: ACK / NAK ..., pack
 *
 * Stateless (HTTP), each request repeats the wants, and the server answers what one request holds.
 */

import { KvError } from "../../errors.ts";
import type { Oid } from "../object/oid.ts";
import type { ByteSink, Duplex } from "./byte-stream.ts";
import { agentToken, type Capabilities, type CapabilityEntry, capabilities } from "./capabilities.ts";
import { writeChunks } from "./chunk-writer.ts";
import { CommitGraph } from "./commit-graph.ts";
import { CommonCommits } from "./common-commits.ts";
import { parseNegotiation, readUploadRequest } from "./fetch-request.ts";
import { type AckStatus, encodeAck, NAK } from "./fetch-response.ts";
import { notOurRef, refuseDepth, respondWithPack, sayError } from "./pack-response.ts";
import { PktReader } from "./pkt-line.ts";
import { findUnreachable } from "./reachability.ts";
import { encodeRefAdvertisement, encodeServiceLine, type RemoteRef } from "./ref-advertisement.ts";
import { SidebandWriter, sidebandLimit } from "./sideband-writer.ts";
import type { UploadPackHost } from "./upload-pack-host.ts";
import { uploadPackV2 } from "./upload-pack-v2.ts";

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

async function advertise(output: ByteSink, options: UploadPackOptions, refs: readonly RemoteRef[]): Promise<void> {
  const { format } = options.host.objects;
  const head = refs.find(({ name, symref }) => name === "HEAD" && symref !== undefined);
  const list: CapabilityEntry[] = [
    ["multi_ack"],
    ["thin-pack"],
    ["side-band"],
    ["side-band-64k"],
    ["ofs-delta"],
    ["no-progress"],
    ["include-tag"],
    ["multi_ack_detailed"],
  ];
  if (options.stateless) list.push(["no-done"]);
  if (head?.symref !== undefined) list.push(["symref", `HEAD:${head.symref}`]);
  list.push(["object-format", format.name], ["agent", agentToken(options.agent)]);
  if (options.stateless) await output.write(encodeServiceLine("git-upload-pack"));
  const chunks = encodeRefAdvertisement({
    version: options.version === 1 ? 1 : 0,
    format,
    capabilities: capabilities(...list),
    refs,
  });
  await writeChunks(output, chunks);
}

/** What a negotiation came to. */
interface Agreement {
  readonly wants: readonly Oid[];
  readonly capabilities: Capabilities;
  readonly haves: readonly Oid[];
}

class UploadSession {
  readonly #options: UploadPackOptions;
  readonly #refs: readonly RemoteRef[];
  readonly #output: ByteSink;
  readonly #reader: PktReader;
  readonly #graph: CommitGraph;

  constructor(duplex: Duplex, options: UploadPackOptions, refs: readonly RemoteRef[]) {
    this.#options = options;
    this.#refs = refs;
    this.#output = duplex.output;
    this.#reader = new PktReader(duplex.input);
    this.#graph = new CommitGraph(options.host.objects);
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
    const { wants, capabilities: list, haves } = agreed;
    const writer = new SidebandWriter(this.#output, sidebandLimit(list));
    await respondWithPack(this.#options.host, this.#graph, writer, {
      wants,
      haves,
      tags: list.has("include-tag") ? this.#refs : [],
      thin: list.has("thin-pack"),
      ofsDelta: list.has("ofs-delta"),
      progress: !list.has("no-progress"),
    });
  }

  /** All that is said before the pack; undefined where none is to follow. */
  async #agree(): Promise<Agreement | undefined> {
    const { objects } = this.#options.host;
    const request = await readUploadRequest(this.#reader, objects.format);
    if (request === undefined) return undefined;
    refuseDepth(request);
    await this.#checkWants(request.wants);
    const common = new CommonCommits(objects, this.#graph, request.wants);
    if (!(await this.#negotiate(request.capabilities, common))) return undefined;
    return { wants: request.wants, capabilities: request.capabilities, haves: common.oids };
  }

  /**
   * On a connection only what was advertised may be wanted. Over HTTP a ref may have moved since the advertisement, so
   * anything that can be reached will do.
   */
  async #checkWants(wants: readonly Oid[]): Promise<void> {
    const tips = new Set(this.#refs.map(({ oid }) => oid));
    const bad = this.#options.stateless
      ? await findUnreachable(this.#options.host.objects, this.#graph, this.#refs, wants)
      : wants.find((oid) => !tips.has(oid));
    if (bad !== undefined) throw notOurRef(bad);
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
    for (;;) {
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
