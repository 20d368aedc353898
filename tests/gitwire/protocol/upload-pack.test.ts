/** Upload-pack sessions in memory: who may have what, every turn of the negotiation, and what no client would say. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import type { Oid } from "../../../src/gitwire/object/oid.ts";
import { bytesSource } from "../../../src/gitwire/protocol/byte-stream.ts";
import { type Capabilities, capabilities } from "../../../src/gitwire/protocol/capabilities.ts";
import { encodeCommandRequest } from "../../../src/gitwire/protocol/command-request.ts";
import {
  type DepthRequest,
  DONE,
  encodeHave,
  encodeUploadRequest,
  formatFetchRequest,
} from "../../../src/gitwire/protocol/fetch-request.ts";
import { parseAcknowledgement, readFetchResponse } from "../../../src/gitwire/protocol/fetch-response.ts";
import { readLsRefs } from "../../../src/gitwire/protocol/ls-refs.ts";
import { FLUSH, PktReader, pktLine } from "../../../src/gitwire/protocol/pkt-line.ts";
import { readGreeting } from "../../../src/gitwire/protocol/ref-advertisement.ts";
import { demultiplex } from "../../../src/gitwire/protocol/sideband.ts";
import { uploadPack } from "../../../src/gitwire/protocol/upload-pack.ts";
import { repositoryUploadHost } from "../../../src/gitwire/protocol/upload-pack-host.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { LIMITS } from "../../../src/limits.ts";
import { git, tryGit } from "../../support/git.ts";
import { reach } from "../../support/served.ts";
import { serveUploadPack } from "../../support/sessions.ts";
import { codeOf, drain, memorySink } from "../../support/streams.ts";
import { OTHER_FORMAT, TEST_FORMAT } from "../../support/test-format.ts";

// On machines that may be busy.
setDefaultTimeout(60_000);

const v2 = (args: Parameters<typeof formatFetchRequest>[0]): Buffer =>
  encodeCommandRequest("fetch", capabilities(["object-format", TEST_FORMAT.name]), formatFetchRequest(args));

test("v0: as git has it, wants must be tips on a connection, reachable over HTTP", async () => {
  const { server, tip, old, blob, lostCommit } = reach();
  git(server, "config", "uploadpack.allowReachableSHA1InWant", "false");
  const repo = openRepository(server);
  const ask = async (oid: Oid, stateless: boolean): Promise<string> => {
    const request = Buffer.concat([encodeUploadRequest({ wants: [oid], capabilities: capabilities() }), DONE]);
    return (await serveUploadPack(repo, request, { stateless })).output.toString("latin1");
  };
  for (const stateless of [false, true]) {
    expect(await ask(tip, stateless)).toStartWith("0008NAK\nPACK");
    expect(await ask(lostCommit, stateless)).toBe(pktLine(`ERR upload-pack: not our ref ${lostCommit}\n`).toString());
    for (const oid of [old, blob]) expect((await ask(oid, stateless)).includes("PACK")).toBe(stateless);
  }
});

test("v0 stateless: rounds of haves, ready, no-done", async () => {
  const { server, tip, old } = reach();
  const repo = openRepository(server);
  const answers = async (list: readonly string[], haves: readonly Oid[], done: boolean): Promise<string[]> => {
    const request = encodeUploadRequest({
      wants: [tip],
      capabilities: capabilities(...list.map((name) => [name] as const)),
    });
    const bytes = Buffer.concat([request, ...haves.map(encodeHave), done ? DONE : FLUSH]);
    const { output, error } = await serveUploadPack(repo, bytes);
    expect(error).toBeUndefined();
    const reader = new PktReader(bytesSource(output));
    const lines: string[] = [];
    for (;;) {
      let packet: Awaited<ReturnType<PktReader["read"]>>;
      try {
        packet = await reader.read();
      } catch {
        return [...lines, "pack"];
      }
      if (packet.kind !== "data") return lines;
      if (packet.data[0] === 1 || packet.data[0] === 2) return [...lines, "pack"];
      const ack = parseAcknowledgement(TEST_FORMAT, packet.data);
      lines.push(ack.kind === "nak" ? "nak" : (ack.status ?? "ack"));
    }
  };
  const unknown = "1".repeat(TEST_FORMAT.hexSize);
  const detailed = ["multi_ack_detailed", "side-band-64k"];
  expect(await answers(detailed, [unknown], false)).toEqual(["nak"]);
  expect(await answers(detailed, [old], false)).toEqual(["common", "ready", "nak"]);
  expect(await answers(detailed, [old, unknown], false)).toEqual(["common", "ready", "nak"]);
  expect(await answers([...detailed, "no-done"], [old], false)).toEqual(["common", "ready", "nak", "ack", "pack"]);
  expect(await answers(detailed, [old], true)).toEqual(["common", "ack", "pack"]);
  expect(await answers(detailed, [unknown], true)).toEqual(["nak", "pack"]);
  expect(await answers(["multi_ack"], [old, unknown], true)).toEqual(["continue", "continue", "ack", "pack"]);
  expect(await answers([], [old, tip], true)).toEqual(["ack", "pack"]);
  expect(await answers([], [], true)).toEqual(["nak", "pack"]);
});

test("v2: acknowledgments, ready, wait-for-done, done", async () => {
  const { server, tip, old } = reach();
  const repo = openRepository(server);
  const ask = async (args: Parameters<typeof formatFetchRequest>[0]) => {
    const { output } = await serveUploadPack(repo, v2(args), { version: 2 });
    const reader = new PktReader(bytesSource(output));
    const response = await readFetchResponse(reader, TEST_FORMAT);
    const pack = response.packfile ? await drain(demultiplex(reader)) : undefined;
    return { acks: response.acks, ready: response.ready, objects: pack?.readUInt32BE(8) };
  };
  const unknown = "1".repeat(TEST_FORMAT.hexSize);
  expect(await ask({ wants: [tip], haves: [unknown] })).toEqual({ acks: [], ready: false, objects: undefined });
  expect(await ask({ wants: [tip], haves: [unknown, old] })).toEqual({ acks: [old], ready: true, objects: 2 });
  expect(await ask({ wants: [tip], haves: [old], waitForDone: true })).toEqual({
    acks: [old],
    ready: false,
    objects: undefined,
  });
  expect(await ask({ wants: [tip], haves: [old], done: true })).toEqual({ acks: undefined, ready: false, objects: 2 });
  expect(await ask({ wants: [tip] })).toEqual({ acks: undefined, ready: false, objects: 5 });
  expect(await ask({ wants: [tip], haves: [tip], done: true })).toEqual({ acks: undefined, ready: false, objects: 0 });
});

test("v2: ls-refs, several commands on one connection, odd commands", async () => {
  const { server, tip, blob } = reach();
  const repo = openRepository(server);
  const format = capabilities(["object-format", TEST_FORMAT.name]);
  const list = encodeCommandRequest("ls-refs", format, ["symrefs", "ref-prefix HEAD", "ref-prefix refs/heads/"]);
  const { output, error } = await serveUploadPack(
    repo,
    Buffer.concat([list, list, v2({ wants: [tip], done: true }), FLUSH]),
    {
      version: 2,
      stateless: false,
    },
  );
  expect(error).toBeUndefined();
  const reader = new PktReader(bytesSource(output));
  for (let n = 0; n < 2; n++) {
    expect(await readLsRefs(reader, TEST_FORMAT)).toEqual([
      { kind: "ref", name: "HEAD", oid: tip, symref: "refs/heads/main" },
      { kind: "ref", name: "refs/heads/main", oid: tip },
    ]);
  }
  expect((await readFetchResponse(reader, TEST_FORMAT)).packfile).toBe(true);
  await drain(demultiplex(reader));
  expect((await reader.read()).kind).toBe("eof");

  for (const [request, words] of [
    [encodeCommandRequest("rm", format, []), "invalid command 'rm'"],
    [encodeCommandRequest("fetch", format, ["what"]), "unexpected line: 'what'"],
    [
      encodeCommandRequest("fetch", capabilities(["object-format", OTHER_FORMAT.name]), []),
      `mismatched object format: server ${TEST_FORMAT.name}; client ${OTHER_FORMAT.name}`,
    ],
    [
      encodeCommandRequest("ls-refs", capabilities(["object-format", TEST_FORMAT.name], ["session-id", "x"]), []),
      "unknown capability 'session-id=x'",
    ],
    [v2({ wants: [tip], deepen: 0 }), "Invalid deepen: deepen 0"],
    [encodeCommandRequest("fetch", format, ["deepen -1"]), "Invalid deepen: deepen -1"],
    [encodeCommandRequest("fetch", format, ["deepen 9999999999999999"]), "Invalid deepen"],
    [encodeCommandRequest("fetch", format, ["deepen-since x"]), "Invalid deepen-since: deepen-since x"],
    [
      v2({ wants: [tip], deepen: 1, deepenSince: 1 }),
      "deepen and deepen-since (or deepen-not) cannot be used together",
    ],
    [v2({ wants: [tip], deepenSince: 4_000_000_000 }), "no commits selected for shallow requests"],
    [v2({ wants: [tip], deepenNot: ["nothing"] }), "ambiguous deepen-not: deepen-not nothing"],
    [v2({ wants: [tip], deepenNot: ["refs/secret/x"] }), "ambiguous deepen-not"],
    [v2({ wants: [tip], deepen: 1, shallow: [blob] }), `invalid shallow object ${blob}`],
    [v2({ wants: [tip], filter: "sparse:oid=main:x" }), "filter 'sparse:oid' not supported"],
    [encodeCommandRequest("fetch", format, ["filter tree:1", "filter tree:2"]), "multiple filter-specs"],
    [v2({ wants: [tip], wantRefs: ["refs/secret/x"] }), "unknown ref refs/secret/x"],
    [encodeCommandRequest("fetch", format, ["want-ref HEAD", "want-ref HEAD"]), "duplicate want-ref HEAD"],
  ] as const) {
    const answer = await serveUploadPack(repo, request, { version: 2 });
    expect(answer.output.toString()).toMatch(/^[0-9a-f]{4}ERR /);
    expect(answer.output.toString()).toContain(words);
    expect(await codeOf(() => Promise.reject(answer.error))).toBe("PROTOCOL");
  }
});

test("what git offers with the same config, we offer, v0 and v2", async () => {
  const { server } = reach();
  git(server, "tag", "-a", "-m", "t", "v1", "main");
  // Any comes first: to git, forbidding it takes back what was allowed before.
  const keys = [
    "allowAnySHA1InWant",
    "allowFilter",
    "allowReachableSHA1InWant",
    "allowTipSHA1InWant",
    "allowRefInWant",
  ];
  for (const on of [
    [],
    ["allowFilter"],
    ["allowReachableSHA1InWant", "allowRefInWant"],
    ["allowTipSHA1InWant"],
    keys,
  ]) {
    for (const key of keys) git(server, "config", `uploadpack.${key}`, String(on.includes(key)));
    const repo = openRepository(server);
    for (const version of [0, 2] as const) {
      const { output } = await serveUploadPack(repo, Buffer.alloc(0), { advertise: "only", version });
      const theirs = tryGit(server, ["upload-pack", "--http-backend-info-refs", "."], {
        env: { GIT_PROTOCOL: `version=${version}` },
      });
      const [mine, gits] = await Promise.all(
        [output, theirs.stdout].map((bytes) => readGreeting(new PktReader(bytesSource(bytes)))),
      );
      if (mine?.kind === "refs" && gits?.kind === "refs") expect([...mine.refs]).toEqual([...gits.refs]);
      // Git gives everything away in v2 whatever its config says, and the sizes of what nobody may fetch.
      const said = (list: Capabilities | undefined): string[] =>
        [...(list ?? [])].map(([name, values]) => (name === "agent" ? name : `${name}=${values}`)).sort();
      const words = (text: string): string => text.replace(/^fetch=.*/, (line) => line.split(/[= ]/).sort().join(" "));
      expect(said(mine?.capabilities).map(words)).toEqual(
        said(gits?.capabilities)
          .filter((line) => line !== "object-info=")
          .map(words),
      );
    }
  }
});

test("hidden refs: their values may be wanted where the config says so, what they reach may not", async () => {
  const { server, tip, lostCommit, lostBlob } = reach();
  git(server, "config", "uploadpack.allowTipSHA1InWant", "true");
  const repo = openRepository(server);
  const ask = async (oid: Oid): Promise<string> =>
    (await serveUploadPack(repo, v2({ wants: [oid], done: true }), { version: 2 })).output.toString("latin1");
  for (const oid of [tip, lostCommit]) expect(await ask(oid)).toContain("PACK");
  expect(await ask(lostBlob)).toContain(`not our ref ${lostBlob}`);
  git(server, "config", "uploadpack.allowAnySHA1InWant", "true");
  const open = openRepository(server);
  const { output } = await serveUploadPack(open, v2({ wants: [lostBlob], done: true }), { version: 2 });
  expect(output.toString("latin1")).toContain("PACK");
});

test("filters and refs wanted by name, where the config forbids them", async () => {
  const { server, tip } = reach();
  const answer = async (request: Buffer, ...config: string[]): Promise<string> => {
    for (const line of config) git(server, "config", ...line.split("="));
    const repo = openRepository(server);
    return (await serveUploadPack(repo, request, { version: 2 })).output.toString();
  };
  const tree = v2({ wants: [tip], filter: "combine:tree:9+blob:none", done: true });
  expect(await answer(tree)).toContain("PACK");
  expect(await answer(tree, "uploadpackfilter.tree.maxDepth=3")).toContain("tree filter allows max depth 3, but got 9");
  expect(await answer(tree, "uploadpackfilter.blob:none.allow=false")).toContain("filter 'blob:none' not supported");
  expect(await answer(tree, "uploadpackfilter.allow=false")).toContain("filter 'combine' not supported");
  expect(await answer(tree, "uploadpack.allowFilter=false")).toContain("unexpected line: 'filter combine");
  const named = v2({ wantRefs: ["refs/heads/main"], done: true });
  expect(await answer(named)).toContain(`wanted-refs\n${pktLine(`${tip} refs/heads/main\n`)}`);
  expect(await answer(named, "uploadpack.allowRefInWant=false")).toContain(
    "unexpected line: 'want-ref refs/heads/main'",
  );
});

test("v0: shallow lines come before the acknowledgements, a filter needs its capability", async () => {
  const { server, tip, old } = reach();
  const repo = openRepository(server);
  const ask = async (list: readonly string[], depth: Partial<DepthRequest>): Promise<string> => {
    const named = capabilities(...list.map((name) => [name] as const));
    const request = encodeUploadRequest({ wants: [tip], capabilities: named, ...depth });
    return (await serveUploadPack(repo, Buffer.concat([request, DONE]))).output.toString("latin1");
  };
  expect(await ask(["shallow"], { deepen: 1 })).toStartWith(`${pktLine(`shallow ${tip}\n`)}00000008NAK\nPACK`);
  expect(await ask(["shallow"], { deepen: 2, shallow: [tip] })).toStartWith(
    `${pktLine(`shallow ${old}\n`)}${pktLine(`unshallow ${tip}\n`)}00000008NAK\nPACK`,
  );
  expect(await ask(["deepen-relative"], { deepen: 1, shallow: [tip] })).toContain(`unshallow ${tip}`);
  expect(await ask([], { shallow: [tip] })).toStartWith("0008NAK\nPACK");
  expect(await ask(["filter"], { filter: "blob:none" })).toStartWith("0008NAK\nPACK");
  expect(await ask([], { filter: "blob:none" })).toContain("ERR git upload-pack: filtering capability not negotiated");
});

test("a damaged repository: the client is told, and gets no pack", async () => {
  const { server, tip, old } = reach();
  const repo = openRepository(server);
  fs.rmSync(`${server}/objects/${old.slice(0, 2)}/${old.slice(2)}`);
  const { output, error } = await serveUploadPack(repo, v2({ wants: [tip], done: true }), { version: 2 });
  expect(await codeOf(() => Promise.reject(error))).toBe("CORRUPT");
  const reader = new PktReader(bytesSource(output));
  expect((await readFetchResponse(reader, TEST_FORMAT)).packfile).toBe(true);
  expect(await codeOf(() => drain(demultiplex(reader)))).toBe("REMOTE_REJECTED");
});

test("a damaged object that is asked for by its id: the same, before there is a pack", async () => {
  const { server, blob } = reach();
  const file = `${server}/objects/${blob.slice(0, 2)}/${blob.slice(2)}`;
  fs.chmodSync(file, 0o644);
  fs.writeFileSync(file, "damaged");
  const { output, error } = await serveUploadPack(openRepository(server), v2({ wants: [blob], done: true }), {
    version: 2,
  });
  expect(await codeOf(() => Promise.reject(error))).toBe("CORRUPT");
  const words = "aborting due to possible repository corruption on the remote side.";
  expect(output.toString()).toBe(pktLine(`ERR upload-pack: ${words}\n`).toString());
});

test("a client that hangs up in between is no error of ours", async () => {
  const { server, tip } = reach();
  const repo = openRepository(server);
  expect((await serveUploadPack(repo, Buffer.alloc(0), { version: 2 })).error).toBeUndefined();
  expect((await serveUploadPack(repo, FLUSH)).error).toBeUndefined();
  const wants = encodeUploadRequest({ wants: [tip], capabilities: capabilities() });
  expect((await serveUploadPack(repo, Buffer.concat([wants, FLUSH]))).output.toString()).toBe("0008NAK\n");
  expect(await codeOf(async () => Promise.reject((await serveUploadPack(repo, wants.subarray(0, 30))).error))).toBe(
    "NETWORK",
  );
});

test("a long answer lets others run meanwhile", async () => {
  const { server, tip } = reach();
  const refs = Array.from({ length: 30_000 }, (_, i) => `${tip} refs/tags/t${String(i).padStart(6, "0")}\n`);
  fs.appendFileSync(`${server}/packed-refs`, refs.join(""));
  const repo = openRepository(server);
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  const request = encodeCommandRequest("ls-refs", capabilities(["object-format", TEST_FORMAT.name]), []);
  const { output } = await serveUploadPack(repo, request, { version: 2 });
  clearInterval(timer);
  expect((await readLsRefs(new PktReader(bytesSource(output)), TEST_FORMAT)).length).toBe(30_002);
  expect(turns).toBeGreaterThan(5);
});

test("thirty thousand haves, wants and shallow commits of nobody's: bounded memory, and others run meanwhile", async () => {
  const { server, tip } = reach();
  const repo = openRepository(server);
  const many = (word: string): string[] =>
    Array.from({ length: 30_000 }, (_, i) => `${word} ${i.toString(16).padStart(TEST_FORMAT.hexSize, "0")}`);
  const request = (...args: string[]): Buffer =>
    encodeCommandRequest("fetch", capabilities(["object-format", TEST_FORMAT.name]), args);
  for (const [bytes, words] of [
    [request(`want ${tip}`, ...many("have")), "acknowledgments\n0008NAK\n0000"],
    [request(`want ${tip}`, ...many("shallow")), "000dpackfile\n"],
    [request(...many("want")), `ERR upload-pack: not our ref ${"0".repeat(TEST_FORMAT.hexSize)}`],
  ] as const) {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const { output } = await serveUploadPack(repo, bytes, { version: 2 });
    clearInterval(timer);
    expect(output.toString("latin1")).toContain(words);
    if (!words.startsWith("ERR")) expect(turns).toBeGreaterThan(2);
  }
});

test("more bytes than the limit are refused, and read no further", async () => {
  const { server, tip } = reach();
  const block = pktLine(`deepen-not ${"x".repeat(65_000)}\n`);
  const head = v2({ wants: [tip] }).subarray(0, -4);
  let blocks = 0;
  const input = {
    read: async () => {
      blocks++;
      return blocks === 1 ? head : block;
    },
  };
  const output = memorySink();
  const host = repositoryUploadHost(openRepository(server));
  const options = { host, stateless: true, advertise: "skip", version: 2, agent: "git-kv/test" } as const;
  expect(await codeOf(() => uploadPack({ input, output }, options))).toBe("LIMIT_EXCEEDED");
  expect(blocks).toBeLessThan(LIMITS.requestBody / 65_000 + 10);
  expect(output.bytes().toString()).toContain("ERR the request is too long");
});

test("any byte of a request may be another: an answer or a typed error, never a bug", async () => {
  const { server, tip, old } = reach();
  const repo = openRepository(server);
  const v0 = encodeUploadRequest({
    wants: [tip],
    capabilities: capabilities(["multi_ack_detailed"], ["side-band-64k"]),
  });
  const requests = [
    [0, Buffer.concat([v0, encodeHave(old), FLUSH, DONE])],
    [2, v2({ wants: [tip], haves: [old], done: true, ofsDelta: true })],
    [
      2,
      encodeCommandRequest("ls-refs", capabilities(["object-format", TEST_FORMAT.name]), ["peel", "ref-prefix refs/"]),
    ],
  ] as const;
  for (const [version, request] of requests) {
    for (let at = 0; at < request.length; at++) {
      const bytes = Buffer.from(request);
      bytes[at] = bytes[at]! ^ (at % 2 === 0 ? 0x01 : 0x80);
      const { error } = await serveUploadPack(repo, bytes, { version });
      if (error !== undefined) expect(["PROTOCOL", "NETWORK"]).toContain(await codeOf(() => Promise.reject(error)));
    }
  }
});
