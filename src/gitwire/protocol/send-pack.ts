/**
 * The client's side of a push (git: gitprotocol-pack "Pushing Data To a Server"; send-pack.c).
 *
 *     server: advertisement; client: commands, capabilities, push options, pack; server: report-status
 *
 * Over HTTP a push can do without the advertisement: it is a single POST then. The old ids of the commands say what must be
 * there, and the server refuses where it is not. A stateful server speaks first anyway, and is listened to: what was sent
 * into a connection that never came about would else pass for a push of unknown outcome.
 */

import { KvError, toKvError } from "../../errors.ts";
import { hashBytes, type ObjectFormat } from "../object/oid.ts";
import { packHeader } from "../pack/pack-builder.ts";
import { agentToken, type Capabilities, type CapabilityEntry, capabilities } from "./capabilities.ts";
import { checkFormat, ErrorLineReader, greetingOf } from "./greeting.ts";
import { progressTo } from "./negotiation.ts";
import { PktReader } from "./pkt-line.ts";
import { encodePushRequest, type PushCommand, sendsPack } from "./receive-commands.ts";
import type { RefAdvertisement } from "./ref-advertisement.ts";
import { type PushReport, readReport } from "./report-status.ts";
import { demultiplex } from "./sideband.ts";
import type { Answer, RequestBody, Transport } from "./transport.ts";

/** What is to be pushed. */
export interface PushOrder {
  readonly commands: readonly PushCommand[];
  /** Undefined where no object is new. */
  readonly pack: (RequestBody & { readonly thin: boolean }) | undefined;
  readonly format: ObjectFormat;
  /** All refs move or none. */
  readonly atomic: boolean;
  readonly pushOptions: readonly string[];
  /**
   * False over HTTP: the server is taken to know report-status, side-band-64k, and atomic and push options where they are
   * used, as git's own and ours do.
   */
  readonly useAdvertisement: boolean;
  /** Name and version of this program. */
  readonly agent: string;
  /** Further capabilities of the client: a server passes over those it does not know. */
  readonly features?: readonly CapabilityEntry[];
  /** Text the server has for the person who pushes, as it comes. */
  readonly progress?: ((text: string) => void) | undefined;
}

export type PushOutcome = { readonly ok: true } | { readonly ok: false; readonly reason: string };

export interface PushResult {
  /** "ok", or why the pack was not taken. */
  readonly unpack: string;
  /** One for each command. */
  readonly refs: ReadonlyMap<string, PushOutcome>;
  /** The refs before the push, where the server showed them. */
  readonly advertised: RefAdvertisement | undefined;
}

/** The refs a push could move and what the server can do; the transport may be pushed to after that. */
export async function readPushAdvertisement(transport: Transport): Promise<RefAdvertisement> {
  const greeting = await greetingOf(transport);
  if (greeting.kind === "refs") return greeting;
  throw new KvError("PROTOCOL", `${transport.url} answers a push in protocol v2, which has none`);
}

/**
 * Pushes. Refusals of single refs are results. Throws NETWORK with `data.unknownOutcome` true where the server may have
 * taken the push although no report arrived, else NETWORK, REMOTE_REJECTED, UNAUTHENTICATED and so on: nothing was done then.
 */
export async function sendPack(transport: Transport, order: PushOrder): Promise<PushResult> {
  const listens = order.useAdvertisement || !transport.stateless;
  const advertised = listens ? await readPushAdvertisement(transport) : undefined;
  if (advertised !== undefined) checkServer(transport, advertised, order);
  const list = requestCapabilities(order, advertised?.capabilities);
  const answer = transport.request(requestBody(order, list));
  let report: PushReport;
  try {
    report = await readAnswer(answer, list, order);
  } catch (error) {
    throw unknownOutcome(toKvError(error), answer, transport);
  }
  return { unpack: report.unpack, refs: outcomes(order, report), advertised };
}

function checkServer(transport: Transport, advertised: RefAdvertisement, order: PushOrder): void {
  checkFormat(transport, { kind: "refs", ...advertised }, order.format);
  const needed: [name: string, isNeeded: boolean][] = [
    ["report-status", true],
    ["atomic", order.atomic],
    ["push-options", order.pushOptions.length > 0],
    ["delete-refs", order.commands.some(({ newOid }) => newOid === order.format.zeroOid)],
  ];
  for (const [name, isNeeded] of needed) {
    if (!isNeeded || advertised.capabilities.has(name)) continue;
    throw new KvError("UNSUPPORTED", `${transport.url} does not offer '${name}', which this push needs`);
  }
  if (order.pack?.thin === true && advertised.capabilities.has("no-thin")) {
    throw new KvError("UNSUPPORTED", `${transport.url} takes no thin packs`);
  }
}

/** `offered` is undefined where the advertisement was not looked at. */
function requestCapabilities(order: PushOrder, offered: Capabilities | undefined): Capabilities {
  const has = (name: string): boolean => offered === undefined || offered.has(name);
  const entries: CapabilityEntry[] = [[offered?.has("report-status-v2") ? "report-status-v2" : "report-status"]];
  if (has("side-band-64k")) entries.push(["side-band-64k"]);
  if (order.atomic) entries.push(["atomic"]);
  if (order.progress === undefined && has("quiet")) entries.push(["quiet"]);
  if (order.pushOptions.length > 0) entries.push(["push-options"]);
  if (has("object-format")) entries.push(["object-format", order.format.name]);
  if (has("agent")) entries.push(["agent", agentToken(order.agent)]);
  return capabilities(...entries, ...(order.features ?? []));
}

/** Commands, options and pack in one go. */
function requestBody(order: PushOrder, list: Capabilities): RequestBody {
  const head = encodePushRequest({ commands: order.commands, capabilities: list, pushOptions: order.pushOptions });
  const pack = sendsPack(order.commands, order.format) ? (order.pack ?? emptyPack(order.format)) : undefined;
  return {
    byteLength: head.length + (pack?.byteLength ?? 0),
    *chunks() {
      yield head;
      if (pack !== undefined) yield* pack.chunks();
    },
  };
}

/** The server waits for a pack even where every object is there already. */
function emptyPack(format: ObjectFormat): RequestBody {
  const header = packHeader(0);
  const pack = Buffer.concat([header, hashBytes(format, header)]);
  return { byteLength: pack.length, chunks: () => [pack] };
}

async function readAnswer(answer: Answer, list: Capabilities, order: PushOrder): Promise<PushReport> {
  const reader = new ErrorLineReader(answer.reader);
  if (!list.has("side-band-64k")) return readReport(reader);
  const inner = demultiplex(reader, progressTo(order.progress));
  const report = await readReport(new PktReader(inner));
  // Words may come after the report; it is the report that counts, so a connection that ends here is no failure.
  try {
    while ((await inner.read()) !== undefined);
  } catch {
    // As above.
  }
  return report;
}

/** After all of the request has left, an error that is not the server's refusal leaves open what became of the push. */
function unknownOutcome(error: KvError, answer: Answer, transport: Transport): KvError {
  const isRefusal = error.code === "BUSY" || (error.code === "REMOTE_REJECTED" && error.data?.errorLine === true);
  if (isRefusal || !answer.isSent()) return error;
  const data = { ...error.data, unknownOutcome: true };
  if (error.code === "REMOTE_REJECTED") return new KvError("REMOTE_REJECTED", error.message, { data, cause: error });
  return new KvError("NETWORK", `${transport.url} gave no report of the push: ${error.message}`, {
    data,
    cause: error,
    hint: "the push may have been taken: look at the remote's refs before trying again",
  });
}

function outcomes(order: PushOrder, report: PushReport): Map<string, PushOutcome> {
  const byRef = new Map(report.refs.map((result) => [result.ref, result]));
  return new Map(
    order.commands.map(({ ref }): [string, PushOutcome] => {
      const result = byRef.get(ref);
      if (result === undefined) return [ref, { ok: false, reason: "the server did not report on it" }];
      return [ref, result.status === "ok" ? { ok: true } : { ok: false, reason: result.reason }];
    }),
  );
}
