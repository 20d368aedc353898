/**
 * What a fetch asks for, in protocol v0/v1 (git: gitprotocol-pack "Packfile Negotiation") and v2 (gitprotocol-v2 "fetch").
 *
 *     v0:  upload-request  =  want-list *shallow-line *1depth-request [filter-request] flush-pkt
 *          want-list       =  PKT-LINE("want" SP obj-id SP capability-list LF) *PKT-LINE("want" SP obj-id LF)
 *          shallow-line    =  PKT-LINE("shallow" SP obj-id)
 *          depth-request   =  "deepen" SP depth / "deepen-since" SP timestamp / "deepen-not" SP ref
 *          filter-request  =  PKT-LINE("filter" SP filter-spec)
 *          upload-haves    =  *(*PKT-LINE("have" SP obj-id LF) flush-pkt) PKT-LINE("done")
 *     v2:  the same words as arguments of one command, and "thin-pack" "no-progress" "include-tag" "ofs-delta"
 *          "deepen-relative" "want-ref" SP ref, "sideband-all", "packfile-uris" SP list, "wait-for-done", "done"
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { TimeSlice } from "../../time-slice.ts";
import type { ObjectSource } from "../object/object.ts";
import { isOid, type ObjectFormat, type Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { type Capabilities, formatCapabilities, parseCapabilities } from "./capabilities.ts";
import { isAtHand } from "./common-commits.ts";
import { FLUSH, lineText, type PktReader, pktLine, quoted, startsWith } from "./pkt-line.ts";

/** How much of the history is asked for; absent parts mean all of it. */
export interface DepthRequest {
  /** Commits the client has without their parents. */
  readonly shallow: readonly Oid[];
  readonly deepen?: number;
  readonly deepenSince?: number;
  readonly deepenNot: readonly string[];
  readonly deepenRelative: boolean;
  readonly filter?: string;
}

/** True where the request says how far the history is to go. */
export function asksForDepth({ deepen, deepenSince, deepenNot }: DepthRequest): boolean {
  return deepen !== undefined || deepenSince !== undefined || deepenNot.length > 0;
}

/** The first part of a v0 conversation. */
export interface UploadRequest extends DepthRequest {
  readonly wants: readonly Oid[];
  readonly capabilities: Capabilities;
}

/** All of a v2 fetch command. */
export interface FetchRequest extends DepthRequest {
  readonly wants: readonly Oid[];
  readonly haves: readonly Oid[];
  readonly wantRefs: readonly string[];
  readonly done: boolean;
  readonly thinPack: boolean;
  readonly noProgress: boolean;
  readonly includeTag: boolean;
  readonly ofsDelta: boolean;
  readonly waitForDone: boolean;
}

/** A line of the v0 negotiation. */
export type Negotiation = { readonly kind: "have"; readonly oid: Oid } | { readonly kind: "done" };

/** The v0 request up to its flush. At least one want. */
export function encodeUploadRequest(
  request: Pick<UploadRequest, "wants" | "capabilities"> & Partial<DepthRequest>,
): Buffer {
  let list = ` ${formatCapabilities(request.capabilities)}`;
  const lines: Buffer[] = [];
  for (const oid of request.wants) {
    lines.push(pktLine(`want ${oid}${list}\n`));
    list = "";
  }
  for (const arg of formatDepth(request)) lines.push(pktLine(`${arg}\n`));
  lines.push(FLUSH);
  return Buffer.concat(lines);
}

/** One `have` line of v0. */
export function encodeHave(oid: Oid): Buffer {
  return pktLine(`have ${oid}\n`);
}

/** The v0 line that ends the negotiation. */
export const DONE: Buffer = pktLine("done\n");

/** Reads a v0 request up to its flush; undefined where the client wants nothing (a flush, or it hangs up). `source`: see {@link FetchArguments}. */
export async function readUploadRequest(
  reader: PktReader,
  format: ObjectFormat,
  source?: ObjectSource,
): Promise<UploadRequest | undefined> {
  const args = new FetchArguments(format, source);
  const slice = new TimeSlice();
  let [words, last] = ["", ""];
  for (let lines = 0; ; lines++) {
    if (slice.isOver()) await slice.pause();
    const packet = await reader.read();
    if (packet.kind === "flush" || (packet.kind === "eof" && lines === 0)) break;
    if (packet.kind === "eof") throw new KvError("NETWORK", "the connection ended inside the request");
    if (packet.kind !== "data") throw new KvError("PROTOCOL", `${packet.kind} inside the request`);
    if (lines >= LIMITS.fetchLines) throw new KvError("LIMIT_EXCEEDED", "the request is too long");
    const line = lineText(packet.data);
    const end = line.startsWith("want ") ? 5 + format.hexSize : line.length;
    const list = line.slice(end);
    if (line.startsWith("have ") || /^[^ ]/.test(list) || !args.addCommon(line.slice(0, end), NO_OBJECT_ID)) {
      throw new KvError("PROTOCOL", NO_OBJECT_ID(line));
    }
    // A list behind a later want counts too.
    if (list !== last) words += list;
    if (words.length > LIMITS.packet) throw new KvError("LIMIT_EXCEEDED", "the request is too long");
    last = list;
  }
  const wants = [...args.wants];
  if (wants.length === 0) return undefined;
  const list = parseCapabilities(words);
  return { wants, capabilities: list, ...args.depth(), deepenRelative: list.has("deepen-relative") };
}

/** Parses a line of the v0 negotiation. Throws PROTOCOL on anything else. */
export function parseNegotiation(format: ObjectFormat, data: Buffer): Negotiation {
  const line = lineText(data);
  if (line === "done") return { kind: "done" };
  if (line.startsWith("have ")) return { kind: "have", oid: oidOf(format, line.slice(5), line, NO_HAVE) };
  throw new KvError("PROTOCOL", `git upload-pack: expected SHA1 list, got ${quoted(line)}`);
}

/** The arguments of a v2 fetch command. */
export function formatFetchRequest(request: Partial<FetchRequest>): string[] {
  const args: string[] = [];
  if (request.thinPack === true) args.push("thin-pack");
  if (request.noProgress === true) args.push("no-progress");
  if (request.includeTag === true) args.push("include-tag");
  if (request.ofsDelta === true) args.push("ofs-delta");
  if (request.waitForDone === true) args.push("wait-for-done");
  if (request.deepenRelative === true) args.push("deepen-relative");
  args.push(...formatDepth(request));
  for (const oid of request.wants ?? []) args.push(`want ${oid}`);
  for (const ref of request.wantRefs ?? []) args.push(`want-ref ${ref}`);
  for (const oid of request.haves ?? []) args.push(`have ${oid}`);
  if (request.done === true) args.push("done");
  return args;
}

/**
 * Parses the arguments of a v2 fetch command, besides those already taken by `parsed`. Throws PROTOCOL on one that is not known.
 */
export function parseFetchRequest(
  args: readonly string[],
  format: ObjectFormat,
  parsed: FetchArguments = new FetchArguments(format),
): FetchRequest {
  const words = new Set<string>();
  const wantRefs: string[] = [];
  for (const arg of args) {
    if (FLAGS.has(arg)) words.add(arg);
    else if (arg.startsWith("want-ref ")) wantRefs.push(arg.slice(9));
    else if (!parsed.addCommon(arg)) throw unexpected(arg);
  }
  return {
    ...parsed.depth(),
    wants: [...parsed.wants],
    haves: [...parsed.haves],
    wantRefs,
    done: words.has("done"),
    thinPack: words.has("thin-pack"),
    noProgress: words.has("no-progress"),
    includeTag: words.has("include-tag"),
    ofsDelta: words.has("ofs-delta"),
    waitForDone: words.has("wait-for-done"),
    deepenRelative: words.has("deepen-relative"),
  };
}

const FLAGS = new Set([
  "done",
  "thin-pack",
  "no-progress",
  "include-tag",
  "ofs-delta",
  "wait-for-done",
  "deepen-relative",
]);

function formatDepth(request: Partial<DepthRequest>): string[] {
  const args = (request.shallow ?? []).map((oid) => `shallow ${oid}`);
  if (request.deepen !== undefined) args.push(`deepen ${request.deepen}`);
  if (request.deepenSince !== undefined) args.push(`deepen-since ${request.deepenSince}`);
  for (const ref of request.deepenNot ?? []) args.push(`deepen-not ${ref}`);
  if (request.filter !== undefined) args.push(`filter ${request.filter}`);
  return args;
}

/**
 * The words v0 and v2 share. With a source, what is not here takes no memory, however much of it is named: a want that is not
 * here is refused, other objects are passed over.
 */
export class FetchArguments {
  readonly wants: OidTable;
  readonly haves: OidTable;
  /** Number of `have` lines, of whatever objects. */
  haveLines = 0;
  /** Number of lines taken by {@link take}. */
  lines = 0;
  readonly #shallow: OidTable;
  readonly #deepenNot: string[] = [];
  #deepen: number | undefined;
  #deepenSince: number | undefined;
  #filter: string | undefined;

  constructor(
    readonly format: ObjectFormat,
    readonly source?: ObjectSource,
  ) {
    this.wants = new OidTable(format);
    this.haves = new OidTable(format);
    this.#shallow = new OidTable(format);
  }

  /** Takes a line that names an object, of which there may be very many; false for others. */
  take(argument: Buffer): boolean {
    if (!NAMES_OBJECT.some((word) => startsWith(argument, word))) return false;
    this.lines++;
    return this.addCommon(lineText(argument));
  }

  /** False where the word is not one of them. `noWant`: what is said of a want that names no object. */
  addCommon(line: string, noWant = NO_OID): boolean {
    const space = line.indexOf(" ");
    const value = line.slice(space + 1);
    switch (space < 0 ? "" : line.slice(0, space)) {
      case "want":
        this.wants.add(this.#wanted(oidOf(this.format, value, line, noWant)));
        return true;
      case "have":
        this.haveLines++;
        this.#addKnown(this.haves, oidOf(this.format, value, line, NO_HAVE));
        return true;
      case "shallow":
        this.#addKnown(this.#shallow, oidOf(this.format, value, line, NO_SHALLOW));
        return true;
      case "deepen":
        this.#deepen = number(value, `Invalid deepen: ${line}`);
        return true;
      case "deepen-since":
        this.#deepenSince = number(value, `Invalid deepen-since: ${line}`, 0);
        return true;
      case "deepen-not":
        this.#deepenNot.push(value);
        return true;
      case "filter":
        if (this.#filter !== undefined) {
          throw new KvError("PROTOCOL", "multiple filter-specs cannot be combined");
        }
        this.#filter = value;
        return true;
      default:
        return false;
    }
  }

  #wanted(oid: Oid): Oid {
    if (this.source !== undefined && !this.source.has(oid)) throw notOurRef(oid);
    return oid;
  }

  #addKnown(table: OidTable, oid: Oid): void {
    if (this.source === undefined || isAtHand(this.source, oid)) table.add(oid);
  }

  depth(): DepthRequest {
    return {
      shallow: [...this.#shallow],
      deepenNot: this.#deepenNot,
      deepenRelative: false,
      ...(this.#deepen === undefined ? {} : { deepen: this.#deepen }),
      ...(this.#deepenSince === undefined ? {} : { deepenSince: this.#deepenSince }),
      ...(this.#filter === undefined ? {} : { filter: this.#filter }),
    };
  }
}

const NAMES_OBJECT = ["want ", "have ", "shallow "];

/** Git's words for a wanted object that may not be had. */
export function notOurRef(oid: Oid): KvError {
  return new KvError("PROTOCOL", `upload-pack: not our ref ${oid}`);
}

/** A number from `least` on; git refuses anything else in these words. */
function number(text: string, complaint: string, least = 1): number {
  const value = Number(text);
  if (!/^[0-9]{1,15}$/.test(text) || value < least) throw new KvError("PROTOCOL", complaint.slice(0, 200));
  return value;
}

/** An object id, which git takes in capitals too. Throws PROTOCOL with what `complain` says of the line. */
function oidOf(format: ObjectFormat, text: string, line: string, complain: (line: string) => string): Oid {
  if (isOid(format, text)) return text;
  const lower = text.toLowerCase();
  if (isOid(format, lower)) return lower;
  throw new KvError("PROTOCOL", complain(line));
}

const NO_OBJECT_ID = (line: string): string =>
  `git upload-pack: protocol error, expected to get object ID, not ${quoted(line)}`;
const NO_OID = (line: string): string => `git upload-pack: protocol error, expected to get oid, not ${quoted(line)}`;
const NO_HAVE = (line: string): string => `git upload-pack: expected SHA1 object, got ${quoted(line.slice(5))}`;
const NO_SHALLOW = (line: string): string => `invalid shallow line: ${quoted(line).slice(1, -1)}`;

function unexpected(line: string): KvError {
  return new KvError("PROTOCOL", `unexpected line: ${quoted(line)}`);
}
