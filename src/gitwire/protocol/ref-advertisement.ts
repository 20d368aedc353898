/**
 * The reference discovery of protocol v0 and v1 (git: gitprotocol-pack "Reference Discovery"; for smart HTTP
 * gitprotocol-http "Smart Server Response").
 *
 *     advertised-refs  =  *1("version 1" LF) (no-refs / list-of-refs) *shallow flush-pkt
 *     no-refs          =  PKT-LINE(zero-id SP "capabilities^{}" NUL capability-list)
 *     list-of-refs     =  first-ref *other-ref
 *     first-ref        =  PKT-LINE(obj-id SP refname NUL capability-list)
 *     other-ref        =  PKT-LINE(obj-id SP refname) / PKT-LINE(obj-id SP refname "^{}")
 *     shallow          =  PKT-LINE("shallow" SP obj-id)
 *     over HTTP, before it:  PKT-LINE("# service=" service LF) flush-pkt
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { isOid, type ObjectFormat, type Oid, SHA1 } from "../object/oid.ts";
import type { RefCursor } from "../refs/ref-snapshot.ts";
import { AdvertisedRefs } from "./advertised-refs.ts";
import {
  type Capabilities,
  capabilityFormat,
  formatCapabilities,
  parseCapabilities,
  readCapabilityAdvertisement,
} from "./capabilities.ts";
import { PktBlock } from "./pkt-block.ts";
import { FLUSH, lineText, type Packet, type PktReader, pktLine, quoted, startsWith, tryLineText } from "./pkt-line.ts";

export type Service = "git-receive-pack" | "git-upload-pack";

/** A ref of the other side. */
export interface RemoteRef {
  readonly name: string;
  readonly oid: Oid;
  /** What an annotated tag points at in the end. */
  readonly peeled?: Oid;
  /** The ref a symbolic ref points at. */
  readonly symref?: string;
}

/** The advertisement of v0 or v1. */
export interface RefAdvertisement {
  readonly version: 0 | 1;
  readonly format: ObjectFormat;
  readonly capabilities: Capabilities;
  readonly refs: AdvertisedRefs;
  /** Tips of the other side's alternates (`.have` lines): objects it has under no ref of its own. */
  readonly haves: readonly Oid[];
  readonly shallow: readonly Oid[];
}

/** What a server says first: refs (v0, v1) or its capabilities (v2). */
export type Greeting =
  | ({ readonly kind: "refs" } & RefAdvertisement)
  | { readonly kind: "capabilities"; readonly capabilities: Capabilities; readonly format: ObjectFormat };

/**
 * Yields the advertisement in pieces of about 64 KiB, flush included: `refs`, then what `listed` goes over, then the values
 * `haves` as `.have`. Symbolic refs go into `symref` capabilities by the caller.
 */
export function* encodeRefAdvertisement(advertisement: {
  readonly version: 0 | 1;
  readonly format: ObjectFormat;
  readonly capabilities: Capabilities;
  readonly refs: Iterable<RemoteRef>;
  readonly listed?: RefCursor;
  readonly haves?: Iterable<Oid>;
  readonly shallow?: Iterable<Oid>;
}): Generator<Buffer> {
  const { listed } = advertisement;
  const block = new PktBlock();
  let capabilities = `\0${formatCapabilities(advertisement.capabilities)}`;
  const add = (line: string): void => {
    block.begin();
    block.text(`${line}${capabilities}\n`);
    block.end();
    capabilities = "";
  };
  if (advertisement.version === 1) block.add(pktLine("version 1\n"));
  for (const ref of advertisement.refs) {
    add(`${ref.oid} ${ref.name}`);
    if (ref.peeled !== undefined) add(`${ref.peeled} ${ref.name}^{}`);
    if (block.isFull) yield block.take();
  }
  while (listed?.next() === true) {
    addListed(block, listed, capabilities, advertisement.format);
    capabilities = "";
    if (block.isFull) yield block.take();
  }
  for (const oid of advertisement.haves ?? []) {
    add(`${oid} .have`);
    if (block.isFull) yield block.take();
  }
  if (capabilities !== "") add(`${advertisement.format.zeroOid} capabilities^{}`);
  for (const oid of advertisement.shallow ?? []) {
    add(`shallow ${oid}`);
    if (block.isFull) yield block.take();
  }
  block.add(FLUSH);
  yield block.take();
}

const LF = Buffer.from("\n");
const SPACE = Buffer.from(" ");
const PEELED_END = Buffer.from("^{}\n");

/** Adds the lines of the ref that the cursor stands at. */
function addListed(block: PktBlock, cursor: RefCursor, capabilities: string, format: ObjectFormat): void {
  const { bytes, start, nameStart, end, peeledStart } = cursor;
  block.begin();
  block.copy(bytes, start, end);
  if (capabilities !== "") block.text(capabilities);
  block.append(LF);
  block.end();
  if (peeledStart < 0) return;
  block.begin();
  block.copy(bytes, peeledStart, peeledStart + format.hexSize);
  block.append(SPACE);
  block.copy(bytes, nameStart, end);
  block.append(PEELED_END);
  block.end();
}

/** The line that comes before the advertisement over HTTP, with its flush. */
export function encodeServiceLine(service: Service): Buffer {
  return Buffer.concat([pktLine(`# service=${service}\n`), FLUSH]);
}

/**
 * Reads what a server says first, the HTTP service line included where there is one. Throws REMOTE_REJECTED on an `ERR`
 * line, NETWORK where the connection ends, PROTOCOL and LIMIT_EXCEEDED otherwise.
 */
export async function readGreeting(reader: PktReader): Promise<Greeting> {
  let packet = await reader.read();
  if (packet.kind === "data" && startsWith(packet.data, "# service=")) {
    const flush = await reader.read();
    if (flush.kind !== "flush") throw new KvError("PROTOCOL", "no flush after the service line");
    packet = await reader.read();
  }
  throwIfErr(packet);
  if (packet.kind === "data" && packet.data.length < 16) {
    const line = lineText(packet.data);
    if (line === "version 2") {
      const capabilities = await readCapabilityAdvertisement(reader);
      return { kind: "capabilities", capabilities, format: capabilityFormat(capabilities) };
    }
    if (line === "version 1") return readRefs(reader, await reader.read(), 1);
    if (line.startsWith("version ")) throw new KvError("UNSUPPORTED", `the server speaks protocol ${quoted(line)}`);
  }
  return readRefs(reader, packet, 0);
}

/** Throws REMOTE_REJECTED where the packet is an error line (`ERR` SP explanation), which may come in place of any other. */
export function throwIfErr(packet: Packet): void {
  if (packet.kind !== "data" || !startsWith(packet.data, "ERR ")) return;
  throw new KvError("REMOTE_REJECTED", `remote error: ${packet.data.toString("utf8", 4).trim()}`);
}

async function readRefs(reader: PktReader, first: Packet, version: 0 | 1): Promise<Greeting> {
  const list = new RefList();
  for (let packet = first; packet.kind !== "flush"; packet = await reader.read()) {
    throwIfErr(packet);
    if (packet.kind === "eof") throw new KvError("NETWORK", "the connection ended inside the ref advertisement");
    if (packet.kind !== "data") throw new KvError("PROTOCOL", `${packet.kind} inside the ref advertisement`);
    list.add(packet.data);
  }
  return { kind: "refs", version, ...list.finish() };
}

/** Collects the lines of an advertisement. */
class RefList {
  #capabilities: Capabilities | undefined;
  #format: ObjectFormat | undefined;
  readonly #refs = new AdvertisedRefs();
  readonly #haves: Oid[] = [];
  readonly #shallow: Oid[] = [];
  #lines = 0;

  add(data: Buffer): void {
    if (++this.#lines > 2 * LIMITS.refs) throw new KvError("LIMIT_EXCEEDED", "the server advertises too many refs");
    const nul = this.#capabilities === undefined ? data.indexOf(0) : -1;
    if (nul >= 0) {
      this.#capabilities = parseCapabilities(lineText(data.subarray(nul + 1)));
      this.#format = capabilityFormat(this.#capabilities);
    }
    // A name that is not UTF-8 cannot be named in this program: such a ref is as if it were not there.
    const line = tryLineText(nul >= 0 ? data.subarray(0, nul) : data);
    if (line === undefined) return;
    if (line.startsWith("shallow ")) this.#shallow.push(this.#oid(line.slice(8), line));
    else this.#addRef(line);
  }

  #addRef(line: string): void {
    const space = line.indexOf(" ");
    const oid = this.#oid(space < 0 ? line : line.slice(0, space), line);
    const name = line.slice(space + 1);
    if (space < 0 || name === "" || name.length > LIMITS.refName + 3) {
      throw new KvError("PROTOCOL", `malformed ref line ${quoted(line)}`);
    }
    if (name === "capabilities^{}") return;
    if (name === ".have") {
      this.#haves.push(oid);
      return;
    }
    if (!name.endsWith("^{}")) {
      this.#refs.add(name, oid);
      return;
    }
    if (this.#refs.last !== name.slice(0, -3))
      throw new KvError("PROTOCOL", `peeled ref without its ref: ${quoted(line)}`);
    this.#refs.addPeeled(oid);
  }

  #oid(text: string, line: string): Oid {
    if (isOid(this.#format ?? SHA1, text)) return text;
    throw new KvError("PROTOCOL", `malformed ref line ${quoted(line)}`);
  }

  finish(): Omit<RefAdvertisement, "version"> {
    const capabilities = this.#capabilities ?? new Map<string, readonly string[]>();
    for (const symref of capabilities.get("symref") ?? []) {
      const colon = symref.indexOf(":");
      this.#refs.setSymref(symref.slice(0, colon), symref.slice(colon + 1));
    }
    const format = this.#format ?? capabilityFormat(capabilities);
    return { format, capabilities, refs: this.#refs, haves: this.#haves, shallow: this.#shallow };
  }
}
