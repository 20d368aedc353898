/**
 * What a push asks for (git: gitprotocol-pack "Reference Update Request and Packfile Transfer").
 *
 *     update-requests  =  *shallow command-list [push-options]
 *     shallow          =  PKT-LINE("shallow" SP obj-id)
 *     command-list     =  PKT-LINE(command NUL capability-list) *PKT-LINE(command) flush-pkt
 *     command          =  old-id SP new-id SP refname       (the zero id: "must not exist" and "delete")
 *     push-options     =  *PKT-LINE(push-option) flush-pkt  (where the capability push-options was sent)
 *
 * The pack follows unless every command is a deletion. Push certificates are not taken (nor advertised).
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { isOid, type ObjectFormat, type Oid } from "../object/oid.ts";
import { type Capabilities, formatCapabilities, parseCapabilities } from "./capabilities.ts";
import { FLUSH, lineText, type PktReader, pktLine, quoted } from "./pkt-line.ts";

/** One ref update. The zero id as `oldOid` means the ref must not exist, as `newOid` that it goes away. */
export interface PushCommand {
  readonly ref: string;
  readonly oldOid: Oid;
  readonly newOid: Oid;
}

export interface PushRequest {
  readonly commands: readonly PushCommand[];
  readonly capabilities: Capabilities;
  readonly pushOptions: readonly string[];
  /** Why the push is refused for its options; they were read over then, so that the client can read a report. */
  readonly refusal?: KvError;
  /** Commits whose parents the client lacks. */
  readonly shallow: readonly Oid[];
}

/** Limits a server may set lower than LIMITS. */
export interface PushLimits {
  readonly refsPerPush: number;
  readonly pushOptions: number;
  readonly pushOptionBytes: number;
}

/** The request up to where the pack begins. At least one command; options only with the capability push-options. */
export function encodePushRequest(
  request: Omit<PushRequest, "shallow"> & { readonly shallow?: readonly Oid[] },
): Buffer {
  const lines = (request.shallow ?? []).map((oid) => pktLine(`shallow ${oid}`));
  let list = `\0 ${formatCapabilities(request.capabilities)}`;
  for (const { oldOid, newOid, ref } of request.commands) {
    lines.push(pktLine(`${oldOid} ${newOid} ${ref}${list}`));
    list = "";
  }
  lines.push(FLUSH);
  if (request.capabilities.has("push-options")) {
    for (const option of request.pushOptions) lines.push(pktLine(option));
    lines.push(FLUSH);
  }
  return Buffer.concat(lines);
}

/** True where a pack follows the request. */
export function sendsPack(commands: readonly PushCommand[], format: ObjectFormat): boolean {
  return commands.some(({ newOid }) => newOid !== format.zeroOid);
}

/**
 * Reads a push request up to the pack; undefined where the client has nothing to push (it sends a flush or hangs up).
 * Throws PROTOCOL, LIMIT_EXCEEDED, or UNSUPPORTED for a push certificate or another object format.
 */
export async function readPushRequest(
  reader: PktReader,
  format: ObjectFormat,
  limits: PushLimits = LIMITS,
): Promise<PushRequest | undefined> {
  const shallow: Oid[] = [];
  const commands: PushCommand[] = [];
  let chars = 0;
  let words = "";
  let last: string | undefined;
  for (;;) {
    const packet = await reader.read();
    if (packet.kind === "flush") break;
    if (packet.kind === "eof" && shallow.length + commands.length === 0) return undefined;
    if (packet.kind === "eof") throw new KvError("NETWORK", "the connection ended inside the command list");
    if (packet.kind !== "data") throw new KvError("PROTOCOL", `${packet.kind} inside the command list`);
    if (commands.length >= limits.refsPerPush || shallow.length >= LIMITS.refs) {
      throw new KvError("LIMIT_EXCEEDED", `a push moves at most ${limits.refsPerPush} refs`);
    }
    const { line, rest } = splitNul(packet.data);
    if (line.startsWith("shallow ")) {
      shallow.push(parseOid(format, line.slice(8), `shallow sha, got ${quoted(line.slice(8))}`));
      continue;
    }
    chars += line.length;
    if (chars > LIMITS.commandChars) throw new KvError("LIMIT_EXCEEDED", "the commands of the push are too long");
    if (rest !== undefined && rest !== last) {
      checkFormat(parseCapabilities(rest), format);
      // A list behind a later command counts too.
      words += ` ${rest}`;
      if (words.length > LIMITS.packet) throw new KvError("LIMIT_EXCEEDED", "the push names too many capabilities");
      last = rest;
    }
    if (line === "push-cert") throw new KvError("UNSUPPORTED", "push certificates are not taken");
    commands.push(parseCommand(format, line));
  }
  if (commands.length === 0) return undefined;
  const list = parseCapabilities(words);
  const options = list.has("push-options") ? await readPushOptions(reader, limits) : { pushOptions: [] };
  return { commands, capabilities: list, ...options, shallow };
}

function splitNul(data: Buffer): { line: string; rest: string | undefined } {
  const nul = data.indexOf(0);
  if (nul < 0) return { line: lineText(data), rest: undefined };
  return { line: lineText(data.subarray(0, nul)), rest: lineText(data.subarray(nul + 1)) };
}

function parseCommand(format: ObjectFormat, line: string): PushCommand {
  const { hexSize } = format;
  const ref = line.slice(2 * hexSize + 2);
  const expected = `old/new/ref, got ${quoted(line)}`;
  if (line[hexSize] !== " " || line[2 * hexSize + 1] !== " " || ref === "") {
    throw new KvError("PROTOCOL", `protocol error: expected ${expected}`);
  }
  if (ref.length > LIMITS.refName) {
    throw new KvError("LIMIT_EXCEEDED", `a ref name is at most ${LIMITS.refName} bytes long`);
  }
  const oldOid = parseOid(format, line.slice(0, hexSize), expected);
  return { ref, oldOid, newOid: parseOid(format, line.slice(hexSize + 1, 2 * hexSize + 1), expected) };
}

function parseOid(format: ObjectFormat, text: string, expected: string): Oid {
  const oid = text.toLowerCase();
  if (!isOid(format, oid)) throw new KvError("PROTOCOL", `protocol error: expected ${expected}`);
  return oid;
}

function checkFormat(list: Capabilities, format: ObjectFormat): void {
  const name = list.get("object-format")?.[0] ?? "sha1";
  if (name === format.name) return;
  throw new KvError("UNSUPPORTED", `the client speaks ${quoted(name)}, the repository is ${format.name}`);
}

/** Options read over after a refusal, before the connection is given up. */
const MOST_READ_OVER = 10_000;

async function readPushOptions(
  reader: PktReader,
  limits: PushLimits,
): Promise<Pick<PushRequest, "pushOptions" | "refusal">> {
  const pushOptions: string[] = [];
  let refusal: KvError | undefined;
  for (let count = 0; ; count++) {
    const packet = await reader.read();
    if (packet.kind === "flush") return refusal === undefined ? { pushOptions } : { pushOptions: [], refusal };
    if (packet.kind === "eof") throw new KvError("NETWORK", "the connection ended inside the push options");
    if (packet.kind !== "data") throw new KvError("PROTOCOL", `${packet.kind} inside the push options`);
    refusal ??= optionFault(packet.data, count, limits);
    if (refusal === undefined) pushOptions.push(lineText(packet.data));
    else if (count >= MOST_READ_OVER) throw refusal;
  }
}

function optionFault(data: Buffer, count: number, limits: PushLimits): KvError | undefined {
  if (count >= limits.pushOptions || data.length > limits.pushOptionBytes) {
    const most = `${limits.pushOptions} push options of ${limits.pushOptionBytes} bytes`;
    return new KvError("LIMIT_EXCEEDED", `at most ${most} are taken`);
  }
  const option = lineText(data);
  if (!UNPRINTABLE.test(option)) return undefined;
  return new KvError("PROTOCOL", `unprintable push option ${quoted(option)}`);
}

const UNPRINTABLE = /[\x00-\x1f\x7f]/;
