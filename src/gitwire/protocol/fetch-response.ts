/**
 * The answer to a fetch: acknowledgements in v0/v1 (git: gitprotocol-pack "Packfile Negotiation"), sections in v2
 * (gitprotocol-v2 "fetch").
 *
 *     v0:  server-response  =  *ack-multi ack / nak
 *          ack-multi        =  PKT-LINE("ACK" SP obj-id SP ("continue" / "common" / "ready"))
 *          ack              =  PKT-LINE("ACK" SP obj-id)       nak = PKT-LINE("NAK")
 *          before it, after a depth request:  *PKT-LINE(("shallow" / "unshallow") SP obj-id) flush-pkt
 *     v2:  output           =  acknowledgments flush-pkt /
 *                              [acknowledgments delim-pkt] [shallow-info delim-pkt] [wanted-refs delim-pkt]
 *                              [packfile-uris delim-pkt] packfile flush-pkt
 *          acknowledgments  =  PKT-LINE("acknowledgments" LF) (nak / *PKT-LINE("ACK" SP obj-id LF)) [PKT-LINE("ready" LF)]
 *          shallow-info     =  PKT-LINE("shallow-info" LF) *PKT-LINE(("shallow" / "unshallow") SP obj-id)
 *          packfile         =  PKT-LINE("packfile" LF) *sideband-pkt
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { isOid, type ObjectFormat, type Oid } from "../object/oid.ts";
import { DELIM, FLUSH, lineText, type PktReader, pktLine, quoted } from "./pkt-line.ts";
import { throwIfErr } from "./ref-advertisement.ts";

/** The word behind an ACK; a bare ACK is the last one. */
export type AckStatus = "continue" | "common" | "ready";

/** A line of the v0 answer. */
export type Acknowledgement =
  | { readonly kind: "ack"; readonly oid: Oid; readonly status: AckStatus | undefined }
  | { readonly kind: "nak" };

/** A change of where the client's history ends. */
export interface ShallowInfo {
  readonly shallow: readonly Oid[];
  readonly unshallow: readonly Oid[];
}

/** The v2 answer up to where the pack begins, or all of it where none follows. */
export interface FetchResponse {
  /** Objects both sides have; undefined where the section is not there (the client said done). */
  readonly acks: readonly Oid[] | undefined;
  /** The server has enough to make a pack. */
  readonly ready: boolean;
  readonly shallowInfo: ShallowInfo | undefined;
  readonly wantedRefs: ReadonlyMap<string, Oid>;
  /** True where sideband packets with the pack follow. */
  readonly packfile: boolean;
}

export const NAK: Buffer = pktLine("NAK\n");

/** An ACK line of v0 (with a status under multi_ack) or v2 (without). */
export function encodeAck(oid: Oid, status?: AckStatus): Buffer {
  return pktLine(status === undefined ? `ACK ${oid}\n` : `ACK ${oid} ${status}\n`);
}

/** Parses a line of the v0 answer. */
export function parseAcknowledgement(format: ObjectFormat, data: Buffer): Acknowledgement {
  throwIfErr({ kind: "data", data });
  const line = lineText(data);
  if (line === "NAK") return { kind: "nak" };
  const [word, oid = "", status, ...more] = line.split(" ");
  if (word !== "ACK" || !isOid(format, oid) || more.length > 0) throw unexpected(line);
  if (status !== undefined && status !== "continue" && status !== "common" && status !== "ready")
    throw unexpected(line);
  return { kind: "ack", oid, status };
}

/** The v2 acknowledgments section without what ends it. */
function encodeAcknowledgments(acks: readonly Oid[], ready: boolean): Buffer {
  const lines = [pktLine("acknowledgments\n")];
  if (acks.length === 0) lines.push(NAK);
  for (const oid of acks) lines.push(encodeAck(oid));
  if (ready) lines.push(pktLine("ready\n"));
  return Buffer.concat(lines);
}

/** Shallow lines: the v2 section's content, or v0's before its flush. */
export function encodeShallowLines(info: ShallowInfo): Buffer {
  return Buffer.concat([
    ...info.shallow.map((oid) => pktLine(`shallow ${oid}\n`)),
    ...info.unshallow.map((oid) => pktLine(`unshallow ${oid}\n`)),
  ]);
}

/** Reads the shallow lines of v0, up to their flush. */
export async function readShallowLines(reader: PktReader, format: ObjectFormat): Promise<ShallowInfo> {
  const response = new ResponseBuilder(format);
  response.begin("shallow-info");
  for (let lines = 0; ; lines++) {
    const packet = await reader.read();
    throwIfErr(packet);
    if (packet.kind === "flush") return response.finish(false).shallowInfo!;
    if (packet.kind === "eof") throw new KvError("NETWORK", "the connection ended inside the answer to a fetch");
    if (packet.kind !== "data") throw new KvError("PROTOCOL", `${packet.kind} inside the answer to a fetch`);
    if (lines > LIMITS.fetchLines) throw new KvError("LIMIT_EXCEEDED", "the answer to a fetch is too long");
    response.add("shallow-info", lineText(packet.data));
  }
}

/** Encodes a v2 answer up to its pack: behind it sideband packets and a flush follow where `packfile` is true. */
export function encodeFetchResponse(response: FetchResponse): Buffer {
  const sections: Buffer[] = [];
  if (response.acks !== undefined) sections.push(encodeAcknowledgments(response.acks, response.ready));
  if (response.shallowInfo !== undefined) {
    sections.push(Buffer.concat([pktLine("shallow-info\n"), encodeShallowLines(response.shallowInfo)]));
  }
  if (response.wantedRefs.size > 0) {
    const lines = [...response.wantedRefs].map(([ref, oid]) => pktLine(`${oid} ${ref}\n`));
    sections.push(Buffer.concat([pktLine("wanted-refs\n"), ...lines]));
  }
  if (response.packfile) sections.push(pktLine("packfile\n"));
  const parts = sections.flatMap((section, i) => (i === 0 ? [section] : [DELIM, section]));
  if (!response.packfile) parts.push(FLUSH);
  return Buffer.concat(parts);
}

/** Reads a v2 answer up to its pack. Throws REMOTE_REJECTED on an ERR line, PROTOCOL, NETWORK or LIMIT_EXCEEDED. */
export async function readFetchResponse(reader: PktReader, format: ObjectFormat): Promise<FetchResponse> {
  const response = new ResponseBuilder(format);
  let section = "";
  for (let lines = 0; ; lines++) {
    const packet = await reader.read();
    throwIfErr(packet);
    if (packet.kind === "eof") throw new KvError("NETWORK", "the connection ended inside the answer to a fetch");
    if (packet.kind === "response-end") throw new KvError("PROTOCOL", "response-end inside the answer to a fetch");
    if (lines > LIMITS.fetchLines) throw new KvError("LIMIT_EXCEEDED", "the answer to a fetch is too long");
    if (packet.kind === "flush") return response.finish(false);
    if (packet.kind === "delim") {
      section = "";
      continue;
    }
    const line = lineText(packet.data);
    if (section !== "") {
      response.add(section, line);
      continue;
    }
    if (line === "packfile") return response.finish(true);
    if (!SECTIONS.has(line)) throw new KvError("PROTOCOL", `unknown section ${quoted(line)} in the answer to a fetch`);
    section = line;
    response.begin(section);
  }
}

const SECTIONS = new Set(["acknowledgments", "shallow-info", "wanted-refs"]);

class ResponseBuilder {
  #acks: Oid[] | undefined;
  #ready = false;
  #shallowInfo: { shallow: Oid[]; unshallow: Oid[] } | undefined;
  readonly #wantedRefs = new Map<string, Oid>();

  constructor(readonly format: ObjectFormat) {}

  begin(section: string): void {
    if (section === "acknowledgments") this.#acks ??= [];
    if (section === "shallow-info") this.#shallowInfo ??= { shallow: [], unshallow: [] };
  }

  add(section: string, line: string): void {
    const [first = "", second = "", ...more] = line.split(" ");
    if (more.length > 0) throw unexpected(line);
    if (section === "acknowledgments") {
      if (line === "ready") this.#ready = true;
      else if (first === "ACK") this.#acks?.push(this.#oid(second, line));
      else if (line !== "NAK") throw unexpected(line);
    } else if (section === "shallow-info") {
      if (first !== "shallow" && first !== "unshallow") throw unexpected(line);
      this.#shallowInfo?.[first].push(this.#oid(second, line));
    } else {
      this.#wantedRefs.set(second, this.#oid(first, line));
    }
  }

  #oid(text: string, line: string): Oid {
    if (isOid(this.format, text)) return text;
    throw unexpected(line);
  }

  finish(packfile: boolean): FetchResponse {
    return {
      acks: this.#acks,
      ready: this.#ready,
      shallowInfo: this.#shallowInfo,
      wantedRefs: this.#wantedRefs,
      packfile,
    };
  }
}

function unexpected(line: string): KvError {
  return new KvError("PROTOCOL", `unexpected line in the answer to a fetch: ${quoted(line)}`);
}
