/** Fuzzed parsers of the protocol. */

import { type ByteSource, bytesSource } from "../../src/gitwire/protocol/byte-stream.ts";
import {
  collect,
  encodeCapabilityAdvertisement,
  formatCapabilities,
  parseCapabilities,
  readCapabilityAdvertisement,
} from "../../src/gitwire/protocol/capabilities.ts";
import { readCommandRequest } from "../../src/gitwire/protocol/command-request.ts";
import { parseFetchRequest, parseNegotiation, readUploadRequest } from "../../src/gitwire/protocol/fetch-request.ts";
import { parseLsRefsRequest, readLsRefs } from "../../src/gitwire/protocol/ls-refs.ts";
import { DELIM, FLUSH, type Packet, PktReader, pktLine, RESPONSE_END } from "../../src/gitwire/protocol/pkt-line.ts";
import { encodePushRequest, readPushRequest } from "../../src/gitwire/protocol/receive-commands.ts";
import { readGreeting } from "../../src/gitwire/protocol/ref-advertisement.ts";
import { encodeReport, readReport } from "../../src/gitwire/protocol/report-status.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { same, settled, type Target } from "./target.ts";

/** `bytes` in pieces of `step`. */
function pieces(bytes: Buffer, step: number): ByteSource {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += step) chunks.push(bytes.subarray(at, at + step));
  return bytesSource(...chunks);
}

function reader(bytes: Buffer, step = bytes.length || 1): PktReader {
  return new PktReader(pieces(bytes, step));
}

async function packets(source: PktReader): Promise<Packet[]> {
  const all: Packet[] = [];
  for (;;) {
    const packet = await source.read();
    if (packet.kind === "eof") return all;
    all.push(packet.kind === "data" ? { kind: "data", data: Buffer.from(packet.data) } : packet);
  }
}

const MARKS = { flush: FLUSH, delim: DELIM, "response-end": RESPONSE_END, eof: Buffer.alloc(0) };

const WIRE = ["PROTOCOL", "NETWORK", "LIMIT_EXCEEDED"] as const;

const pktLines: Target = {
  name: "pkt-line",
  rounds: 4_000,
  codes: WIRE,
  run: async (bytes) => {
    for (const step of [1, 7]) {
      const [whole, parts] = [
        await settled(() => packets(reader(bytes))),
        await settled(() => packets(reader(bytes, step))),
      ];
      same("in one piece and in many", whole, parts);
    }
    const all = await packets(reader(bytes));
    const written = Buffer.concat(all.map((one) => (one.kind === "data" ? pktLine(one.data) : MARKS[one.kind])));
    same("written and read", await packets(reader(written)), all);
  },
};

const capabilityLists: Target = {
  name: "capabilities",
  rounds: 4_000,
  codes: WIRE,
  run: async (bytes) => {
    const list = parseCapabilities(bytes.toString("utf8"));
    same("written and read", parseCapabilities(formatCapabilities(list)), list);
    const advertised = await readCapabilityAdvertisement(reader(bytes));
    const written = reader(encodeCapabilityAdvertisement(advertised));
    await written.read();
    same("advertised again", await readCapabilityAdvertisement(written), advertised);
    same("collected", collect([]), new Map());
  },
};

const pushCommands: Target = {
  name: "commands",
  rounds: 4_000,
  codes: [...WIRE, "UNSUPPORTED"],
  run: async (bytes) => {
    const request = await readPushRequest(reader(bytes), TEST_FORMAT);
    same("in pieces", await readPushRequest(reader(bytes, 3), TEST_FORMAT), request);
    if (request === undefined || request.refusal !== undefined) return;
    if (request.commands.some(({ ref }) => ref.endsWith("\n"))) return;
    const again = await readPushRequest(reader(encodePushRequest(request)), TEST_FORMAT);
    same("commands", again?.commands, request.commands);
    same("options", again?.pushOptions, request.pushOptions);
  },
};

/** A v0 request with its negotiation, and the same bytes as a v2 command. */
const uploadRequests: Target = {
  name: "upload-pack",
  rounds: 4_000,
  codes: [...WIRE, "UNSUPPORTED"],
  run: async (bytes) => {
    const v2 = await settled(async () => {
      const request = await readCommandRequest(reader(bytes));
      if (request?.command === "fetch") return parseFetchRequest(request.args, TEST_FORMAT);
      if (request?.command === "ls-refs") return parseLsRefsRequest(request.args);
      return request;
    });
    if (typeof v2 === "object") return;
    const from = reader(bytes);
    if ((await readUploadRequest(from, TEST_FORMAT)) === undefined) return;
    for (let packet = await from.read(); packet.kind !== "eof"; packet = await from.read()) {
      if (packet.kind === "data") parseNegotiation(TEST_FORMAT, packet.data);
    }
  },
};

/** What a client reads. */
const answers: Target = {
  name: "answers",
  rounds: 3_000,
  codes: [...WIRE, "UNSUPPORTED", "REMOTE_REJECTED", "NOT_A_REPOSITORY", "REF_INVALID"],
  run: async (bytes) => {
    await settled(() => readGreeting(reader(bytes)));
    await settled(() => readLsRefs(reader(bytes), TEST_FORMAT));
    const report = await readReport(reader(bytes));
    await readReport(reader(encodeReport(report, true)));
  },
};

export const WIRE_TARGETS: readonly Target[] = [pktLines, capabilityLists, pushCommands, uploadRequests, answers];
