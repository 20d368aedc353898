import { expect, test } from "bun:test";
import { SHA256 } from "../../../src/gitwire/object/oid.ts";
import { type ByteSource, bytesSource } from "../../../src/gitwire/protocol/byte-stream.ts";
import { capabilities } from "../../../src/gitwire/protocol/capabilities.ts";
import { PktReader, pktLine } from "../../../src/gitwire/protocol/pkt-line.ts";
import {
  encodePushRequest,
  type PushRequest,
  readPushRequest,
  sendsPack,
} from "../../../src/gitwire/protocol/receive-commands.ts";
import { readGreeting } from "../../../src/gitwire/protocol/ref-advertisement.ts";
import {
  encodeReport,
  type PushReport,
  type RefResult,
  readReport,
} from "../../../src/gitwire/protocol/report-status.ts";
import { demultiplex } from "../../../src/gitwire/protocol/sideband.ts";
import { LIMITS } from "../../../src/limits.ts";
import { git, tryGit } from "../../support/git.ts";
import { type Random, random } from "../../support/random.ts";
import { codeOf, everyFlip, everyTruncation, splitSource } from "../../support/streams.ts";
import { tap } from "../../support/tap.ts";
import { tempDir } from "../../support/temp.ts";
import { OTHER_FORMAT, TEST_FORMAT } from "../../support/test-format.ts";

const request = (source: ByteSource): Promise<PushRequest | undefined> =>
  readPushRequest(new PktReader(source), TEST_FORMAT);
const report = (source: ByteSource): Promise<PushReport> => readReport(new PktReader(source));

/** What a client says of its object ids. */
const FORMAT = `object-format=${TEST_FORMAT.name}`;

function randomRequest(rnd: Random): PushRequest {
  const oid = (): string => (rnd.int(4) === 0 ? TEST_FORMAT.zeroOid : rnd.bytes(TEST_FORMAT.rawSize).toString("hex"));
  const options = rnd.int(2) === 0;
  return {
    commands: Array.from({ length: 1 + rnd.int(50) }, (_, i) => ({
      ref: `refs/kv/ü${i}`,
      oldOid: oid(),
      newOid: oid(),
    })),
    capabilities: capabilities(
      ["report-status"],
      ["object-format", TEST_FORMAT.name],
      ["agent", "x"],
      ...(options ? ([["push-options"]] as const) : []),
    ),
    pushOptions: options ? Array.from({ length: rnd.int(5) }, (_, i) => `expect-tree=${i} é`) : [],
    shallow: Array.from({ length: rnd.int(3) }, oid),
  };
}

test("a push request reads the same however it is split, and leaves the pack alone", async () => {
  const rnd = random("push request");
  for (let round = 0; round < 60; round++) {
    const sent = randomRequest(rnd);
    const reader = new PktReader(splitSource(Buffer.concat([encodePushRequest(sent), Buffer.from("PACK")]), rnd));
    expect(await readPushRequest(reader, TEST_FORMAT)).toEqual(sent);
    expect((await reader.rest().read())?.[0]).toBe(0x50);
  }
});

test("a push of real git: request and report", async () => {
  const dir = tempDir("push");
  git(dir, "init", "-q", "--bare", "--object-format=sha256", "server.git");
  git(`${dir}/server.git`, "config", "receive.advertisePushOptions", "true");
  git(`${dir}/server.git`, "config", "receive.denyDeletes", "true");
  git(dir, "init", "-q", "-b", "main", "--object-format=sha256", "client");
  const client = `${dir}/client`;
  git(client, "commit", "-q", "--allow-empty", "-m", "one");
  git(client, "push", "-q", "../server.git", "main:refs/heads/old");
  const { program, sent, received } = tap("receive-pack");
  const args = ["push", "--atomic", "-o", "a=b", "-o", "ü", `--receive-pack=${program}`, "../server.git"];
  tryGit(client, [...args, "main:refs/kv/main", ":refs/heads/old"]);

  const oid = git(client, "rev-parse", "main");
  const got = await readPushRequest(new PktReader(bytesSource(sent())), SHA256);
  expect(got?.commands).toEqual([
    { ref: "refs/heads/old", oldOid: oid, newOid: SHA256.zeroOid },
    { ref: "refs/kv/main", oldOid: SHA256.zeroOid, newOid: oid },
  ]);
  expect(got?.pushOptions).toEqual(["a=b", "ü"]);
  expect([...(got?.capabilities.keys() ?? [])]).toEqual([
    "report-status-v2",
    "side-band-64k",
    "quiet",
    "atomic",
    "push-options",
    "object-format",
    "agent",
  ]);
  // Git's own line for these commands, byte for byte.
  expect(sent().subarray(0, encodePushRequest(got!).length).toString()).toBe(encodePushRequest(got!).toString());

  const reader = new PktReader(bytesSource(received()));
  await readGreeting(reader);
  const answer = await readReport(new PktReader(demultiplex(reader)));
  expect(answer).toEqual({
    unpack: "ok",
    refs: [
      { ref: "refs/heads/old", status: "ng", reason: "deletion prohibited" },
      { ref: "refs/kv/main", status: "ng", reason: "atomic push failure" },
    ],
  });
});

test("nothing to push", async () => {
  expect(await request(bytesSource())).toBeUndefined();
  expect(await request(bytesSource(Buffer.from("0000")))).toBeUndefined();
  expect(
    sendsPack([{ ref: "x", oldOid: "1".repeat(TEST_FORMAT.hexSize), newOid: TEST_FORMAT.zeroOid }], TEST_FORMAT),
  ).toBe(false);
});

test("cut requests and reports are broken connections; flipped ones never an untyped error", async () => {
  const oids = { oldOid: "1".repeat(TEST_FORMAT.hexSize), newOid: "2".repeat(TEST_FORMAT.hexSize) };
  const bytes = encodePushRequest({
    commands: [
      { ref: "refs/heads/a", ...oids },
      { ref: "refs/heads/b", ...oids },
    ],
    capabilities: capabilities(["push-options"], ["object-format", TEST_FORMAT.name]),
    pushOptions: ["one"],
  });
  await everyTruncation(bytes, request, ["NETWORK"]);
  expect(await everyFlip(bytes, request)).toBeGreaterThan(100);
  const answer = encodeReport({ unpack: "ok", refs: [{ ref: "a", status: "ng", reason: "no" }] }, true);
  await everyTruncation(answer, report, ["NETWORK"]);
  expect(await everyFlip(answer, report)).toBeGreaterThan(20);
});

test("limits and malformed commands", async () => {
  const a = "a".repeat(TEST_FORMAT.hexSize);
  const from = (lines: (string | Buffer)[], tail = "0000"): Promise<string> =>
    codeOf(() => request(bytesSource(Buffer.concat([...lines.map((line) => pktLine(line)), Buffer.from(tail)]))));
  expect(await from([`${a} ${a} refs/heads/x\0 atomic ${FORMAT}`])).toBe("no error");
  expect(await from([`${a} ${a} `])).toBe("PROTOCOL");
  expect(await from([`${a} ${a}`])).toBe("PROTOCOL");
  expect(await from([`${a} ${"g".repeat(TEST_FORMAT.hexSize)} refs/heads/x`])).toBe("PROTOCOL");
  expect(await from([`${a}  ${a} refs/heads/x`])).toBe("PROTOCOL");
  expect(await from([Buffer.concat([Buffer.from(`${a} ${a} refs/heads/`), Buffer.from([0xff])])])).toBe("PROTOCOL");
  expect(await from([`${a} ${a} ${"x".repeat(LIMITS.refName + 1)}`])).toBe("LIMIT_EXCEEDED");
  expect(await from([`push-cert\0 atomic ${FORMAT}`])).toBe("UNSUPPORTED");
  expect(await from([`${a} ${a} refs/heads/x\0 object-format=${OTHER_FORMAT.name}`])).toBe("UNSUPPORTED");
  expect(await from(["x".repeat(20)])).toBe("PROTOCOL");
  expect(await from(Array.from({ length: LIMITS.refsPerPush + 1 }, (_, i) => `${a} ${a} r${i}`))).toBe(
    "LIMIT_EXCEEDED",
  );
  const long = Math.ceil(LIMITS.commandChars / 1_000);
  expect(await from(Array.from({ length: long }, (_, i) => `${a} ${a} ${String(i).padStart(1_000, "r")}`))).toBe(
    "LIMIT_EXCEEDED",
  );
});

test("refused push options are read over, so that a report can say why", async () => {
  const a = "1".repeat(TEST_FORMAT.hexSize);
  const sent = async (tail: string): Promise<unknown> => {
    const reader = new PktReader(
      bytesSource(Buffer.from(`${pktLine(`${a} ${a} r\0 push-options ${FORMAT}`)}0000${tail}PACK`)),
    );
    const got = await readPushRequest(reader, TEST_FORMAT);
    expect((await reader.rest().read())?.toString()).toBe("PACK");
    expect(got?.pushOptions).toEqual([]);
    return got?.refusal?.code;
  };
  expect(await sent("0008a\x01bc00060b0000")).toBe("PROTOCOL");
  expect(await sent(`${pktLine("x".repeat(5_000))}0000`)).toBe("LIMIT_EXCEEDED");
  expect(await sent(`${"0005a".repeat(65)}0000`)).toBe("LIMIT_EXCEEDED");
  const endless = bytesSource(
    Buffer.from(`${pktLine(`${a} ${a} r\0 push-options ${FORMAT}`)}0000${"0005a".repeat(20_000)}`),
  );
  expect(await codeOf(() => request(endless))).toBe("LIMIT_EXCEEDED");
});

test("reports read as they were written, split anyhow", async () => {
  const rnd = random("report");
  for (let round = 0; round < 60; round++) {
    const refs = Array.from({ length: rnd.int(30) }, (_, i): RefResult => {
      const ref = `refs/heads/${i}`;
      if (rnd.int(2) === 0) return { ref, status: "ng", reason: rnd.pick(["CAS_CONFLICT: the tip moved", "ü", "x"]) };
      if (rnd.int(2) === 0) return { ref, status: "ok" };
      return {
        ref,
        status: "ok",
        options: { refname: "refs/x", newOid: "1".repeat(TEST_FORMAT.hexSize), forcedUpdate: true },
      };
    });
    const sent = { unpack: rnd.pick(["ok", "index-pack abnormal exit"]), refs };
    expect(await report(splitSource(encodeReport(sent, true), rnd))).toEqual(sent);
  }
});

test("an ng line carries one line of text, whatever the reason holds", async () => {
  for (const [reason, expected] of [
    ["", "failed"],
    ["a\n0000\0b", "a 0000 b"],
    ["é".repeat(2_000), `${"é".repeat(1_000)}...`],
  ] as const) {
    const bytes = encodeReport({ unpack: "ok", refs: [{ ref: "r", status: "ng", reason }] }, false);
    expect((await report(bytesSource(bytes))).refs).toEqual([{ ref: "r", status: "ng", reason: expected }]);
  }
  const bare = Buffer.concat([pktLine("unpack ok\n"), pktLine("ng r\n"), Buffer.from("0000")]);
  expect((await report(bytesSource(bare))).refs).toEqual([{ ref: "r", status: "ng", reason: "failed" }]);
  for (const lines of [["ok r"], ["unpack ok", "maybe r"], ["unpack ok", "option refname x"], ["unpack ok", "ok"]]) {
    const bytes = Buffer.concat([...lines.map((line) => pktLine(`${line}\n`)), Buffer.from("0000")]);
    expect(await codeOf(() => report(bytesSource(bytes)))).toBe("PROTOCOL");
  }
});
