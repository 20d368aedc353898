import { expect, test } from "bun:test";
import { SHA256 } from "../../../src/gitwire/object/oid.ts";
import { type ByteSource, bytesSource } from "../../../src/gitwire/protocol/byte-stream.ts";
import { capabilities } from "../../../src/gitwire/protocol/capabilities.ts";
import {
  type CommandRequest,
  encodeCommandRequest,
  readCommandRequest,
} from "../../../src/gitwire/protocol/command-request.ts";
import {
  encodeUploadRequest,
  type FetchRequest,
  formatFetchRequest,
  parseFetchRequest,
  parseNegotiation,
  readUploadRequest,
} from "../../../src/gitwire/protocol/fetch-request.ts";
import {
  encodeAck,
  encodeFetchResponse,
  type FetchResponse,
  NAK,
  parseAcknowledgement,
  readFetchResponse,
} from "../../../src/gitwire/protocol/fetch-response.ts";
import {
  encodeLsRefs,
  formatLsRefsRequest,
  type LsRefsLine,
  parseLsRefsRequest,
  readLsRefs,
} from "../../../src/gitwire/protocol/ls-refs.ts";
import { PktReader, pktLine } from "../../../src/gitwire/protocol/pkt-line.ts";
import { readGreeting } from "../../../src/gitwire/protocol/ref-advertisement.ts";
import { demultiplex } from "../../../src/gitwire/protocol/sideband.ts";
import { git } from "../../support/git.ts";
import { type Random, random } from "../../support/random.ts";
import { codeOf, drain, everyFlip, everyTruncation, splitSource } from "../../support/streams.ts";
import { tap } from "../../support/tap.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

const oids = (rnd: Random, most: number): string[] =>
  Array.from({ length: rnd.int(most + 1) }, () => rnd.bytes(TEST_FORMAT.rawSize).toString("hex"));

/** A repository with two commits and a clone that has the first one. */
function clonePair(format: string): { server: string; client: string; first: string; second: string } {
  const dir = tempDir("fetch");
  git(dir, "init", "-q", "-b", "main", `--object-format=${format}`, "server");
  const server = `${dir}/server`;
  git(server, "commit", "-q", "--allow-empty", "-m", "one");
  git(server, "tag", "-a", "-m", "t", "v1");
  git(dir, "clone", "-q", "server", "client");
  git(server, "commit", "-q", "--allow-empty", "-m", "two");
  const [first = "", second = ""] = [git(server, "rev-parse", "HEAD^"), git(server, "rev-parse", "HEAD")];
  return { server, client: `${dir}/client`, first, second };
}

test("a v2 fetch of real git, both directions", async () => {
  const { client, first, second } = clonePair("sha256");
  const { program, sent, received } = tap("upload-pack");
  git(client, "-c", "protocol.version=2", "fetch", "-q", `--upload-pack=${program}`, "origin");

  const asked = new PktReader(bytesSource(sent()));
  const lsRefs = await readCommandRequest(asked);
  expect(lsRefs?.command).toBe("ls-refs");
  expect(parseLsRefsRequest(lsRefs?.args ?? [])).toEqual({
    symrefs: true,
    peel: true,
    unborn: true,
    prefixes: ["refs/heads/", "refs/heads/main", "refs/tags/"],
  });
  const fetch = await readCommandRequest(asked);
  expect(fetch?.capabilities.get("object-format")).toEqual(["sha256"]);
  const request = parseFetchRequest(fetch?.args ?? [], SHA256);
  expect(request.wants).toEqual([second]);
  expect(request.haves).toContain(first);
  expect([request.thinPack, request.ofsDelta, request.includeTag]).toEqual([true, true, true]);
  // Git leaves out most line feeds, so the messages agree but for these.
  const again = encodeCommandRequest(fetch!.command, fetch!.capabilities, fetch!.args);
  expect(await readCommandRequest(new PktReader(bytesSource(again)))).toEqual(fetch);

  const answered = new PktReader(bytesSource(received()));
  await readGreeting(answered);
  const refs = await readLsRefs(answered, SHA256);
  expect(refs.map(({ name }) => name)).toEqual(["refs/heads/main", "refs/tags/v1"]);
  expect(refs[1]).toMatchObject({ peeled: first });
  const response = await readFetchResponse(answered, SHA256);
  expect(response).toMatchObject({ acks: [first], ready: true, packfile: true });
  expect((await drain(demultiplex(answered))).latin1Slice(0, 4)).toBe("PACK");
});

test("a v0 fetch of real git, both directions", async () => {
  const { client, first, second } = clonePair(TEST_FORMAT.name);
  const { program, sent, received } = tap("upload-pack");
  git(client, "-c", "protocol.version=0", "fetch", "-q", `--upload-pack=${program}`, "origin");

  const asked = new PktReader(bytesSource(sent()));
  const request = await readUploadRequest(asked, TEST_FORMAT);
  expect(request?.wants).toEqual([second]);
  expect(request?.capabilities.has("multi_ack_detailed")).toBe(true);
  expect(encodeUploadRequest(request!).toString()).toBe(
    sent().subarray(0, encodeUploadRequest(request!).length).toString(),
  );
  const lines: unknown[] = [];
  for (let packet = await asked.read(); packet.kind !== "eof"; packet = await asked.read()) {
    if (packet.kind === "data") lines.push(parseNegotiation(TEST_FORMAT, packet.data));
  }
  expect(lines).toEqual([{ kind: "have", oid: first }, { kind: "done" }]);

  const answered = new PktReader(bytesSource(received()));
  const greeting = await readGreeting(answered);
  if (greeting.kind !== "refs") throw new Error("no refs");
  expect([...greeting.refs][0]).toEqual({ name: "HEAD", oid: second, symref: "refs/heads/main" });
  const statuses: unknown[] = [];
  for (;;) {
    const packet = await answered.read();
    if (packet.kind !== "data") throw new Error("no acknowledgement");
    const ack = parseAcknowledgement(TEST_FORMAT, packet.data);
    statuses.push(ack.kind === "ack" ? ack.status : "nak");
    if (ack.kind === "ack" && ack.status === undefined) break;
  }
  expect(statuses).toEqual(["common", undefined]);
  expect((await drain(demultiplex(answered))).latin1Slice(0, 4)).toBe("PACK");
});

test("commands and their arguments survive any split", async () => {
  const rnd = random("commands");
  for (let round = 0; round < 40; round++) {
    const request: FetchRequest = {
      wants: oids(rnd, 20),
      haves: oids(rnd, 50),
      shallow: oids(rnd, 2),
      wantRefs: rnd.int(2) === 0 ? [] : ["refs/heads/é"],
      deepenNot: rnd.int(2) === 0 ? [] : ["refs/heads/x"],
      deepenRelative: rnd.int(2) === 0,
      done: rnd.int(2) === 0,
      thinPack: rnd.int(2) === 0,
      noProgress: rnd.int(2) === 0,
      includeTag: rnd.int(2) === 0,
      ofsDelta: rnd.int(2) === 0,
      waitForDone: rnd.int(2) === 0,
      ...(rnd.int(2) === 0 ? {} : { deepen: 1 + rnd.int(100), filter: "blob:none", deepenSince: rnd.int(1_000) }),
    };
    const list = capabilities(["agent", "x"], ["object-format", TEST_FORMAT.name]);
    const bytes = encodeCommandRequest("fetch", list, formatFetchRequest(request));
    const reader = new PktReader(splitSource(Buffer.concat([bytes, Buffer.from("0000")]), rnd));
    const got = await readCommandRequest(reader);
    expect(got?.capabilities).toEqual(list);
    expect(parseFetchRequest(got?.args ?? [], TEST_FORMAT)).toEqual(request);
    expect(await readCommandRequest(reader)).toBeUndefined();
    expect(await readCommandRequest(reader)).toBeUndefined();
  }
});

test("lists of refs survive any split", async () => {
  const rnd = random("ls-refs");
  for (let round = 0; round < 20; round++) {
    const lines: LsRefsLine[] = [{ kind: "unborn", name: "HEAD", symref: "refs/heads/main" }];
    for (let i = rnd.int(2_000); i > 0; i--) {
      const [oid = "", peeled = ""] = [
        rnd.bytes(TEST_FORMAT.rawSize).toString("hex"),
        rnd.bytes(TEST_FORMAT.rawSize).toString("hex"),
      ];
      const extra = rnd.pick([{}, { peeled }, { symref: "refs/heads/a" }]);
      lines.push({ kind: "ref", name: `refs/tags/ü${i}`, oid, ...extra });
    }
    const bytes = Buffer.concat([...encodeLsRefs(lines)]);
    expect(await readLsRefs(new PktReader(splitSource(bytes, rnd)), TEST_FORMAT)).toEqual(lines);
  }
  const request = { symrefs: true, peel: false, unborn: true, prefixes: ["refs/heads/", "HEAD"] };
  expect(parseLsRefsRequest(formatLsRefsRequest(request))).toEqual(request);
  const many = Array.from({ length: 65_537 }, (_, i) => `ref-prefix ${i}`);
  expect(parseLsRefsRequest(many).prefixes).toEqual([]);
});

test("answers to a fetch survive any split", async () => {
  const rnd = random("fetch response");
  for (let round = 0; round < 60; round++) {
    const packfile = rnd.int(2) === 0;
    const sent: FetchResponse = {
      acks: packfile && rnd.int(2) === 0 ? undefined : oids(rnd, 10),
      ready: false,
      shallowInfo: rnd.int(2) === 0 ? undefined : { shallow: oids(rnd, 3), unshallow: oids(rnd, 3) },
      wantedRefs: new Map(oids(rnd, 3).map((oid, i) => [`refs/heads/${i}`, oid])),
      packfile,
    };
    const ready = sent.acks !== undefined && rnd.int(2) === 0;
    const bytes = Buffer.concat([encodeFetchResponse({ ...sent, ready }), pktLine("\x01PACK")]);
    const reader = new PktReader(splitSource(bytes, rnd));
    expect(await readFetchResponse(reader, TEST_FORMAT)).toEqual({ ...sent, ready });
    expect(await reader.read()).toEqual({ kind: "data", data: Buffer.from("\x01PACK") });
  }
});

test("cut messages are broken connections; flipped ones never an untyped error", async () => {
  const a = "a".repeat(TEST_FORMAT.hexSize);
  const command = (source: ByteSource): Promise<CommandRequest | undefined> =>
    readCommandRequest(new PktReader(source));
  const upload = (source: ByteSource): Promise<unknown> => readUploadRequest(new PktReader(source), TEST_FORMAT);
  const response = (source: ByteSource): Promise<unknown> => readFetchResponse(new PktReader(source), TEST_FORMAT);
  const refs = (source: ByteSource): Promise<unknown> => readLsRefs(new PktReader(source), TEST_FORMAT);
  const samples: [Buffer, (source: ByteSource) => Promise<unknown>][] = [
    [encodeCommandRequest("fetch", capabilities(["agent", "x"]), [`want ${a}`, "done"]), command],
    [encodeUploadRequest({ wants: [a, a], capabilities: capabilities(["ofs-delta"]), deepen: 1 }), upload],
    [
      encodeFetchResponse({ acks: [a], ready: true, shallowInfo: undefined, wantedRefs: new Map(), packfile: true }),
      response,
    ],
    [Buffer.concat([...encodeLsRefs([{ kind: "ref", name: "HEAD", oid: a, symref: "refs/heads/x" }])]), refs],
  ];
  for (const [bytes, parse] of samples) {
    await everyTruncation(bytes, parse, ["NETWORK"]);
    expect(await everyFlip(bytes, parse)).toBeGreaterThan(20);
  }
});

test("malformed messages are refused", async () => {
  const a = "a".repeat(TEST_FORMAT.hexSize);
  const lines = (list: string[], tail = "0000"): PktReader =>
    new PktReader(bytesSource(Buffer.concat([...list.map((line) => pktLine(line)), Buffer.from(tail)])));
  const upload = (list: string[]): Promise<string> => codeOf(() => readUploadRequest(lines(list), TEST_FORMAT));
  expect(await upload([`want ${a} ofs-delta\n`, `want ${a}\n`, "deepen 3"])).toBe("no error");
  const twice = [`want ${a} ofs-delta`, `want ${"A".repeat(TEST_FORMAT.hexSize)} ofs-delta thin-pack`];
  expect((await readUploadRequest(lines(twice), TEST_FORMAT))?.wants).toEqual([a]);
  expect([...(await readUploadRequest(lines(twice), TEST_FORMAT))!.capabilities.keys()]).toEqual([
    "ofs-delta",
    "thin-pack",
  ]);
  const long = Array.from({ length: 3 }, (_, i) => `want ${a} ${`${i}`.repeat(30_000)}`);
  expect(await upload(long)).toBe("LIMIT_EXCEEDED");
  for (const bad of [[`want ${a}x`], ["deepen 0"], ["deepen 1e3"], ["give me"], [`have ${a}`]]) {
    expect(await upload(bad)).toBe("PROTOCOL");
  }
  for (const bad of [`have ${a}0`, "have", "done it", ""]) {
    expect(await codeOf(() => parseNegotiation(TEST_FORMAT, Buffer.from(bad)))).toBe("PROTOCOL");
  }
  for (const bad of ["ACK", `ACK ${a} maybe`, `ACK ${a} common x`, "NAK NAK"]) {
    expect(await codeOf(() => parseAcknowledgement(TEST_FORMAT, Buffer.from(bad)))).toBe("PROTOCOL");
  }
  expect(await codeOf(() => parseAcknowledgement(TEST_FORMAT, Buffer.from("ERR no\n")))).toBe("REMOTE_REJECTED");
  expect(parseAcknowledgement(TEST_FORMAT, NAK.subarray(4))).toEqual({ kind: "nak" });
  expect(parseAcknowledgement(TEST_FORMAT, encodeAck(a, "ready").subarray(4))).toEqual({
    kind: "ack",
    oid: a,
    status: "ready",
  });
  for (const bad of [["fetch"], ["command=a", "command=b"], ["command=a", "\xff"]]) {
    expect(await codeOf(() => readCommandRequest(lines(bad)))).toBe(bad[1] === "\xff" ? "no error" : "PROTOCOL");
  }
  expect(await codeOf(() => readCommandRequest(lines(["command=a"], "000100010000")))).toBe("PROTOCOL");
  for (const bad of [["what"], ["acknowledgments", "ACK x"], ["shallow-info", `deep ${a}`], ["wanted-refs", "x y"]]) {
    expect(await codeOf(() => readFetchResponse(lines(bad), TEST_FORMAT))).toBe("PROTOCOL");
  }
  expect(await codeOf(() => readFetchResponse(lines(["ERR upload-pack: not our ref"]), TEST_FORMAT))).toBe(
    "REMOTE_REJECTED",
  );
  for (const bad of [a, `${a} `, `${a} HEAD peeled:x`, "unborn HEAD", "x y"]) {
    expect(await codeOf(() => readLsRefs(lines([bad]), TEST_FORMAT))).toBe("PROTOCOL");
  }
  expect(await codeOf(() => parseFetchRequest(["sideband-all"], TEST_FORMAT))).toBe("PROTOCOL");
  expect(await codeOf(() => parseLsRefsRequest(["peeled"]))).toBe("PROTOCOL");
});
