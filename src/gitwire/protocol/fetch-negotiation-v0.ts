/**
 * Finding out what both sides have, protocol v0 and v1 (git: gitprotocol-pack "Packfile Negotiation"), with multi_ack_detailed.
 * A server without that is sent no haves: it answers with everything, which is right if wasteful.
 *
 * A stateless server forgets: each request says again what is wanted and what was found common.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { Oid } from "../object/oid.ts";
import { agentToken, type Capabilities, type CapabilityEntry, capabilities } from "./capabilities.ts";
import { asksForDepth, DONE, encodeHave, encodeUploadRequest } from "./fetch-request.ts";
import { type Acknowledgement, parseAcknowledgement, readShallowLines, type ShallowInfo } from "./fetch-response.ts";
import { ErrorLineReader } from "./greeting.ts";
import { type HaveBatch, HaveBatches } from "./have-batches.ts";
import { type Negotiated, type NegotiationInput, progressTo } from "./negotiation.ts";
import { FLUSH } from "./pkt-line.ts";
import { demultiplex } from "./sideband.ts";
import { bytesBody } from "./transport.ts";

/** Asks until the server sends the pack. Throws PROTOCOL where its answers make no sense. */
export async function negotiateV0(input: NegotiationInput, offered: Capabilities): Promise<Negotiated> {
  return new NegotiationV0(input, offered).run();
}

class NegotiationV0 {
  readonly #input: NegotiationInput;
  readonly #list: Capabilities;
  readonly #wants: Buffer;
  readonly #stateless: boolean;
  readonly #common: Oid[] = [];
  #ready = false;
  #first = true;
  #reader: ErrorLineReader | undefined;
  /** The next answer begins with where the history ends. */
  #depthDue: boolean;
  #shallowInfo: ShallowInfo | undefined;

  constructor(input: NegotiationInput, offered: Capabilities) {
    this.#input = input;
    this.#stateless = input.transport.stateless;
    this.#list = requestCapabilities(input, offered);
    this.#wants = encodeUploadRequest({ ...input.depth, wants: input.wants, capabilities: this.#list });
    this.#depthDue = asksForDepth(input.depth);
  }

  async run(): Promise<Negotiated> {
    const batches = new HaveBatches(this.#input.negotiator, this.#stateless);
    const detailed = this.#list.has("multi_ack_detailed");
    for (let rounds = 0; detailed && rounds < LIMITS.fetchLines; rounds++) {
      const batch = batches.next();
      if (batch.isLast) return this.#finish(batch, batches);
      this.#send(batch.haves, FLUSH);
      await this.#readRound(batches);
      if (!this.#ready) continue;
      // With no-done the pack follows at once, behind one more ACK.
      if (!this.#list.has("no-done")) break;
      if ((await this.#readAck()).kind !== "ack") throw this.#confused("NAK after ready");
      return this.#pack();
    }
    return this.#finish({ haves: [], isLast: true }, batches);
  }

  /** Says done, and reads up to the pack. */
  async #finish(batch: HaveBatch, batches: HaveBatches): Promise<Negotiated> {
    this.#send(batch.haves, DONE);
    for (let lines = 0; lines < LIMITS.fetchLines; lines++) {
      const ack = await this.#readAck();
      if (ack.kind === "nak") return this.#pack();
      this.#take(ack, batches);
      if (ack.status === undefined) return this.#pack();
    }
    throw this.#confused("endless acknowledgements");
  }

  #send(haves: readonly Oid[], end: Buffer): void {
    const parts: Buffer[] = [];
    if (this.#first || this.#stateless) parts.push(this.#wants);
    if (this.#stateless) for (const oid of this.#common) parts.push(encodeHave(oid));
    for (const oid of haves) parts.push(encodeHave(oid));
    parts.push(end);
    if (this.#stateless) this.#depthDue = asksForDepth(this.#input.depth);
    this.#first = false;
    this.#reader = new ErrorLineReader(this.#input.transport.request(bytesBody(Buffer.concat(parts))).reader);
  }

  /** Reads the acknowledgements of one batch, up to its NAK. */
  async #readRound(batches: HaveBatches): Promise<void> {
    for (let lines = 0; lines < LIMITS.fetchLines; lines++) {
      const ack = await this.#readAck();
      if (ack.kind === "nak") return;
      this.#take(ack, batches);
      if (ack.status === "ready") this.#ready = true;
      if (ack.status === undefined) throw this.#confused("a last ACK before done");
    }
    throw this.#confused("endless acknowledgements");
  }

  /** A `ready` names the have it comes after, which need not be common. */
  #take(ack: Acknowledgement & { readonly kind: "ack" }, batches: HaveBatches): void {
    if (ack.status !== "ready" && batches.acknowledge(ack.oid)) this.#common.push(ack.oid);
  }

  async #readAck(): Promise<Acknowledgement> {
    if (this.#depthDue) {
      this.#shallowInfo = await readShallowLines(this.#reader!, this.#input.greeting.format);
      this.#depthDue = false;
    }
    const packet = await this.#reader!.read();
    if (packet.kind === "eof") throw new KvError("NETWORK", "the connection ended inside the negotiation");
    if (packet.kind !== "data") throw this.#confused(packet.kind);
    return parseAcknowledgement(this.#input.greeting.format, packet.data);
  }

  #pack(): Negotiated {
    const reader = this.#reader!;
    const hasBands = this.#list.has("side-band-64k") || this.#list.has("side-band");
    const pack = hasBands ? demultiplex(reader, progressTo(this.#input.progress)) : reader.rest();
    return { pack, common: this.#common, shallowInfo: this.#shallowInfo };
  }

  #confused(what: string): KvError {
    return new KvError("PROTOCOL", `${what} inside the negotiation with ${this.#input.transport.url}`);
  }
}

function requestCapabilities(input: NegotiationInput, offered: Capabilities): Capabilities {
  const entries: CapabilityEntry[] = [];
  const take = (name: string): boolean => {
    const has = offered.has(name);
    if (has) entries.push([name]);
    return has;
  };
  // no-done is for requests that stand alone: on one connection the server could not tell a have from what comes next.
  if (take("multi_ack_detailed") && input.transport.stateless) take("no-done");
  if (!take("side-band-64k")) take("side-band");
  if (input.thin) take("thin-pack");
  take("ofs-delta");
  if (input.progress === undefined) take("no-progress");
  if (input.includeTag) take("include-tag");
  if (input.depth.deepenRelative) take("deepen-relative");
  if (input.depth.filter !== undefined) take("filter");
  if (offered.has("object-format")) entries.push(["object-format", input.greeting.format.name]);
  if (offered.has("agent")) entries.push(["agent", agentToken(input.agent)]);
  return capabilities(...entries);
}
