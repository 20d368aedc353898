/** The HTTP door on a raw socket: requests two parties could understand differently, slow clients, and those that go away. */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { capabilities } from "../../src/gitwire/protocol/capabilities.ts";
import { encodePushRequest } from "../../src/gitwire/protocol/receive-commands.ts";
import { bodySource, ResponseBody } from "../../src/stargate/http-stream.ts";
import { fsck, git } from "../support/git.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { codeOf } from "../support/streams.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

// Machines may be busy.
setDefaultTimeout(60_000);

let stargate: TestStargate;
let client: TestClient;
let token: string;

beforeAll(async () => {
  stargate = await TestStargate.start();
  token = stargate.token();
  client = new TestClient(stargate.dir, stargate.loginUrl(token));
  await client.set({ a: "1" });
});

afterAll(async () => {
  await stargate.stop();
});

const login = (): string => `Authorization: Bearer ${token}\r\n`;
const push = (headers: string): string =>
  `POST /kv.git/git-receive-pack HTTP/1.1\r\nHost: x\r\n${login()}Content-Type: application/x-git-receive-pack-request\r\n${headers}\r\n`;

/** Sends `bytes`; resolves to all that comes back until the server hangs up. */
function exchange(bytes: string): Promise<string> {
  const { port, hostname } = new URL(stargate.url);
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = net.connect(Number(port), hostname, () => socket.write(bytes));
    socket.on("data", (data) => {
      text += data.toString("latin1");
    });
    socket.on("close", () => resolve(text));
    socket.on("error", reject);
  });
}

const SMUGGLED = `GET /kv.git/kv/status HTTP/1.1\r\nHost: x\r\n\r\n`;
const FRAMES: readonly (readonly [headers: string, body: string])[] = [
  ["Content-Length: 4\r\nContent-Length: 0\r\n", "0000"],
  ["Content-Length: 4, 4\r\n", "0000"],
  ["Content-Length: +4\r\n", "0000"],
  ["Content-Length: -4\r\n", "0000"],
  ["Content-Length: 0x4\r\n", "0000"],
  ["Content-Length: 99999999999999999999999\r\n", "0000"],
  ["Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${SMUGGLED}`],
  ["Transfer-Encoding: chunked\r\nContent-Length: 500\r\n", `0\r\n\r\n${SMUGGLED}`],
  ["Transfer-Encoding: xchunked\r\n", "4\r\n0000\r\n0\r\n\r\n"],
  ["Transfer-Encoding: gzip, chunked\r\n", "4\r\n0000\r\n0\r\n\r\n"],
  ["Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "4\r\n0000\r\n0\r\n\r\n"],
  ["Transfer-Encoding : chunked\r\n", "4\r\n0000\r\n0\r\n\r\n"],
  ["Content-Length: 4\r\n Transfer-Encoding: chunked\r\n", "0000"],
  ["X: a\rTransfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0000"],
  ["X: a\0b\r\nContent-Length: 4\r\n", "0000"],
];

test("a request whose end is in doubt is refused, and the connection ends", async () => {
  for (const [headers, body] of FRAMES) {
    const text = await exchange(push(headers) + body);
    expect([headers, text.split("\r\n")[0]]).toEqual([headers, "HTTP/1.1 400 Bad Request"]);
    // One answer, whatever came behind.
    expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
  }
  expect(await exchange(`${push(`X: ${"a".repeat(100_000)}\r\n`)}`)).toStartWith("HTTP/1.1 431");
});

test("a request that names no host, or none that can be, is answered as any other", async () => {
  const get = (version: string, headers: string): Promise<string> =>
    exchange(`GET /kv.git/kv/status HTTP/${version}\r\n${headers}Connection: close\r\n\r\n`);
  for (const host of ["", "Host: x:99999\r\n", "Host:\r\n"]) {
    expect([host, (await get("1.0", host + login())).split("\r\n")[0]]).toEqual([host, "HTTP/1.1 200 OK"]);
    expect([host, (await get("1.0", host)).split("\r\n")[0]]).toEqual([host, "HTTP/1.1 401 Unauthorized"]);
  }
});

test("odd chunks end the request, and nothing behind them is taken for another", async () => {
  for (const size of ["0x4", "-4", "10000000000000004", "4 4", "", "g"]) {
    const text = await exchange(`${push("Transfer-Encoding: chunked\r\n")}${size}\r\n0000\r\n0\r\n\r\n${SMUGGLED}`);
    expect([size, text.includes("WWW-Authenticate"), text.includes('"name"')]).toEqual([size, false, false]);
  }
  expect((await fetch(`${stargate.url}/kv/status`, { headers: { Authorization: `Bearer ${token}` } })).status).toBe(
    200,
  );
});

test("the four bytes git tries before a large push, with a length and in chunks", async () => {
  for (const [headers, body] of [
    ["Content-Length: 4\r\n", "0000"],
    ["Transfer-Encoding: chunked\r\n", "1;x=y\r\n0\r\n3\r\n000\r\n0\r\n\r\n"],
  ]) {
    const text = await exchange(`${push(`Connection: close\r\n${headers}`)}${body}`);
    expect(text).toStartWith("HTTP/1.1 200");
    expect(text.toLowerCase()).toContain("content-type: application/x-git-receive-pack-result");
  }
});

test("http.receivepack and http.uploadpack turn a service off", async () => {
  const other = await TestStargate.start();
  const headers = { Authorization: `Bearer ${other.token()}` };
  await other.stop();
  git(other.dir, "config", "http.receivepack", "false");
  const again = await TestStargate.start({ dir: other.dir });
  const get = (service: string) => fetch(`${again.url}/info/refs?service=${service}`, { headers });
  const refused = await get("git-receive-pack");
  expect([refused.status, await refused.text()]).toEqual([403, "git-receive-pack is turned off for this repository\n"]);
  expect((await get("git-upload-pack")).status).toBe(200);
  await again.stop();
});

test("a client that sends next to nothing is given up, a slow one that goes on is not", async () => {
  const patience = { window: 40, bytes: 10, stall: 40 };
  const slow = (bytes: number, count: number): ReadableStream<Uint8Array> => {
    let sent = 0;
    return new ReadableStream({
      pull: async (controller) => {
        if (sent++ >= count) return controller.close();
        await Bun.sleep(10);
        controller.enqueue(new Uint8Array(bytes));
      },
    });
  };
  const drain = async (body: ReadableStream<Uint8Array>): Promise<void> => {
    const source = bodySource(body, false, 1e9, patience);
    while ((await source.read()) !== undefined);
  };
  expect(await codeOf(() => drain(slow(1, 1_000)))).toBe("NETWORK");
  expect(await codeOf(() => drain(new ReadableStream()))).toBe("NETWORK");
  expect(await codeOf(() => drain(slow(1_000, 30)))).toBe("no error");
  const answer = new ResponseBody(patience);
  expect(await codeOf(() => answer.write(new Uint8Array(1 << 20)))).toBe("NETWORK");
});

test("a client that goes away at any stage of a push leaves nothing: no folder, no lock, no descriptor", async () => {
  const planned = client.plan(
    Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`key${i}`, "x".repeat(i * 9)])),
  );
  const request = encodePushRequest({
    commands: planned.commands,
    capabilities: capabilities(["report-status"], ["side-band-64k"], ["atomic"], ["object-format", TEST_FORMAT.name]),
    pushOptions: [],
  });
  const body = Buffer.concat([request, ...planned.pack.finish().chunks()]);
  const head = Buffer.from(push(`Content-Length: ${body.length}\r\n`));
  const bytes = Buffer.concat([head, body]);
  const fds = (): number => fs.readdirSync("/proc/self/fd").length;
  const leftovers = (): string[] =>
    (fs.readdirSync(stargate.dir, { recursive: true }) as string[]).filter(
      (name) => /tmp[-_]|\.lock$/.test(name) && !name.startsWith("stargate/"),
    );
  const before = git(stargate.dir, "for-each-ref");
  const { port, hostname } = new URL(stargate.url);
  const idle = fds();
  const stages = [20, head.length - 1, head.length, head.length + 30, head.length + request.length];
  for (let i = 1; i < 8; i++)
    stages.push(head.length + request.length + Math.floor(((body.length - request.length) * i) / 8));
  stages.push(bytes.length - 1);
  for (const stage of stages) {
    await new Promise<void>((resolve, reject) => {
      const socket = net.connect(Number(port), hostname, () => {
        socket.write(bytes.subarray(0, stage), () => {
          socket.destroy();
          resolve();
        });
      });
      socket.on("error", reject);
    });
  }
  for (let tries = 0; fds() > idle || leftovers().length > 0; tries++) {
    if (tries > 1_000) throw new Error(`${fds() - idle} descriptors and ${leftovers()} are left`);
    await Bun.sleep(20);
  }
  expect(git(stargate.dir, "for-each-ref")).toBe(before);
  expect(fsck(stargate.dir)).toBe("");
  // The whole of it goes through.
  expect((await client.push(planned)).unpack).toBe("ok");
  expect(fs.existsSync(path.join(stargate.dir, "packed-refs.lock"))).toBe(false);
});
