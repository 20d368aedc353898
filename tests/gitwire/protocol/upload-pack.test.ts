/** Upload-pack sessions in memory: who may have what, every turn of the negotiation, and what no client would say. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { type Oid, SHA1 } from "../../../src/gitwire/object/oid.ts";
import { bytesSource } from "../../../src/gitwire/protocol/byte-stream.ts";
import { capabilities } from "../../../src/gitwire/protocol/capabilities.ts";
import { encodeCommandRequest } from "../../../src/gitwire/protocol/command-request.ts";
import {
  DONE,
  encodeHave,
  encodeUploadRequest,
  formatFetchRequest,
} from "../../../src/gitwire/protocol/fetch-request.ts";
import { parseAcknowledgement, readFetchResponse } from "../../../src/gitwire/protocol/fetch-response.ts";
import { readLsRefs } from "../../../src/gitwire/protocol/ls-refs.ts";
import { FLUSH, PktReader } from "../../../src/gitwire/protocol/pkt-line.ts";
import { readGreeting } from "../../../src/gitwire/protocol/ref-advertisement.ts";
import { demultiplex } from "../../../src/gitwire/protocol/sideband.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { git, tryGit } from "../../support/git.ts";
import { reach } from "../../support/served.ts";
import { serveUploadPack } from "../../support/sessions.ts";
import { codeOf, drain } from "../../support/streams.ts";

const v2 = (args: Parameters<typeof formatFetchRequest>[0]): Buffer =>
  encodeCommandRequest("fetch", capabilities(["object-format", "sha1"]), formatFetchRequest(args));

test("v0: wants must be tips on a connection, reachable over HTTP", async () => {
  const { server, tip, old, blob, lostCommit } = reach();
  const repo = openRepository(server);
  const ask = async (oid: Oid, stateless: boolean): Promise<string> => {
    const request = Buffer.concat([encodeUploadRequest({ wants: [oid], capabilities: capabilities() }), DONE]);
    return (await serveUploadPack(repo, request, { stateless })).output.toString("latin1");
  };
  for (const stateless of [false, true]) {
    expect(await ask(tip, stateless)).toStartWith("0008NAK\nPACK");
    expect(await ask(lostCommit, stateless)).toBe(
      `004dERR upload-pack: not our ref ${lostCommit}\n`.replace("004d", "004a"),
    );
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
      const ack = parseAcknowledgement(SHA1, packet.data);
      lines.push(ack.kind === "nak" ? "nak" : (ack.status ?? "ack"));
    }
  };
  const unknown = "1".repeat(40);
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
    const response = await readFetchResponse(reader, SHA1);
    const pack = response.packfile ? await drain(demultiplex(reader)) : undefined;
    return { acks: response.acks, ready: response.ready, objects: pack?.readUInt32BE(8) };
  };
  const unknown = "1".repeat(40);
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
  const { server, tip } = reach();
  const repo = openRepository(server);
  const format = capabilities(["object-format", "sha1"]);
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
    expect(await readLsRefs(reader, SHA1)).toEqual([
      { kind: "ref", name: "HEAD", oid: tip, symref: "refs/heads/main" },
      { kind: "ref", name: "refs/heads/main", oid: tip },
    ]);
  }
  expect((await readFetchResponse(reader, SHA1)).packfile).toBe(true);
  await drain(demultiplex(reader));
  expect((await reader.read()).kind).toBe("eof");

  for (const [request, words] of [
    [encodeCommandRequest("rm", format, []), "invalid command 'rm'"],
    [encodeCommandRequest("fetch", capabilities(), ["what"]), "unexpected line: 'what'"],
    [
      encodeCommandRequest("fetch", capabilities(["object-format", "sha256"]), []),
      "mismatched object format: server sha1; client 'sha256'",
    ],
    [encodeCommandRequest("ls-refs", capabilities(["server-option", "x"]), []), "unknown capability 'server-option'"],
    [v2({ wants: [tip], deepen: 1 }), "shallow"],
    [v2({ wants: [tip], filter: "blob:none" }), "filters"],
    [v2({ wants: [tip], wantRefs: ["refs/heads/main"] }), "want-ref"],
  ] as const) {
    const answer = await serveUploadPack(repo, request, { version: 2 });
    expect(answer.output.toString()).toMatch(/^[0-9a-f]{4}ERR /);
    expect(answer.output.toString()).toContain(words);
    expect(await codeOf(() => Promise.reject(answer.error))).toBe("PROTOCOL");
  }
});

test("v0: what git advertises, we advertise", async () => {
  const { server } = reach();
  const repo = openRepository(server);
  git(server, "tag", "-a", "-m", "t", "v1", "main");
  const { output } = await serveUploadPack(repo, Buffer.alloc(0), { advertise: "only" });
  expect(output.toString()).toStartWith("001e# service=git-upload-pack\n0000");
  const ours = await readGreeting(new PktReader(bytesSource(output)));
  const theirs = await readGreeting(
    new PktReader(bytesSource(tryGit(server, ["upload-pack", "--http-backend-info-refs", "."]).stdout)),
  );
  if (ours.kind !== "refs" || theirs.kind !== "refs") throw new Error("no refs");
  expect(ours.refs).toEqual(theirs.refs);
  for (const name of ours.capabilities.keys()) expect([...theirs.capabilities.keys()]).toContain(name);
});

test("a damaged repository: the client is told, and gets no pack", async () => {
  const { server, tip, old } = reach();
  const repo = openRepository(server);
  fs.rmSync(`${server}/objects/${old.slice(0, 2)}/${old.slice(2)}`);
  const { output, error } = await serveUploadPack(repo, v2({ wants: [tip], done: true }), { version: 2 });
  expect(await codeOf(() => Promise.reject(error))).toBe("CORRUPT");
  const reader = new PktReader(bytesSource(output));
  expect((await readFetchResponse(reader, SHA1)).packfile).toBe(true);
  expect(await codeOf(() => drain(demultiplex(reader)))).toBe("REMOTE_REJECTED");
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
  const request = encodeCommandRequest("ls-refs", capabilities(["object-format", "sha1"]), []);
  const { output } = await serveUploadPack(repo, request, { version: 2 });
  clearInterval(timer);
  expect((await readLsRefs(new PktReader(bytesSource(output)), SHA1)).length).toBe(30_002);
  expect(turns).toBeGreaterThan(5);
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
    [2, encodeCommandRequest("ls-refs", capabilities(["object-format", "sha1"]), ["peel", "ref-prefix refs/"])],
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
