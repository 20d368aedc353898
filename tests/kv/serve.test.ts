/** `git kv serve` in this process: what it answers, what it refuses, and that one answer is of one moment. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { commit } from "../../src/kv/commit.ts";
import { parseKey } from "../../src/kv/key.ts";
import { Follower } from "../../src/kv/serve/follower.ts";
import { isOurHost, namesOf } from "../../src/kv/serve/host-check.ts";
import { KvServer, type Listen } from "../../src/kv/serve/kv-server.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import { failureOf } from "../support/failure.ts";
import { git } from "../support/git.ts";
import { keystream } from "../support/large-value.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { countingClock, newRepository, workspaceAt } from "../support/workspace.ts";

const TCP: Listen = { kind: "tcp", hostname: "127.0.0.1", port: 0 };
const NOW = 1_767_322_800;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

interface Setting {
  readonly ctype?: string;
  readonly expires?: number;
  readonly labels?: Record<string, string>;
}

async function set(dir: string, values: Record<string, string | Buffer>, options: Setting = {}): Promise<void> {
  const workspace = workspaceAt(dir, { clock: countingClock(NOW * 1000) });
  await commit(workspace, { message: undefined, bytes: 1000 }, async (use) => {
    for (const [key, value] of Object.entries(values)) {
      await use({
        op: "set",
        key: parseKey(key),
        value: { kind: "bytes", data: Buffer.from(value) },
        options: { ctype: options.ctype, expires: options.expires, labels: options.labels },
        condition: undefined,
      });
    }
  });
  workspace.repo.close();
}

async function newStore(): Promise<string> {
  const dir = newRepository(TEST_FORMAT);
  const workspace = workspaceAt(dir);
  await commit(workspace, { create: { epoch: "e1" } }, () => {});
  workspace.repo.close();
  return dir;
}

async function serve(
  workspace: Workspace,
  listen: Listen = TCP,
  names: string[] = [],
  interval = 1e6,
): Promise<KvServer> {
  const follower = await Follower.start(workspace, "mirror", interval);
  const server = await KvServer.start(workspace, follower, listen, names);
  ends.push(() => server.stop());
  return server;
}

async function errorOf(response: Response): Promise<{ status: number; code: string; message: string }> {
  expect(response.headers.get("content-type")).toBe("application/json");
  const { error } = (await response.json()) as { error: { status: number; code: string; message: string } };
  expect(error.status).toBe(response.status);
  return error;
}

let dir: string;
let url: string;
let shared: KvServer;
const large = keystream(7)(Buffer.alloc(3_000_000));

beforeAll(async () => {
  dir = await newStore();
  await set(dir, { "cfg:theme": "dark", "a/b c?é%": "odd", empty: "", page: "<script>" }, { ctype: "text/html" });
  await set(dir, { "cfg:lang": '{"en":1}' }, { labels: { team: "x" } });
  await set(dir, { bytes: Buffer.from([0, 255, 10]) });
  await set(dir, { large });
  await set(dir, { soon: "later" }, { expires: NOW + 100 });
  const workspace = workspaceAt(dir, { clock: countingClock((NOW + 200) * 1000) });
  const follower = await Follower.start(workspace, "mirror", 1e6);
  shared = await KvServer.start(workspace, follower, TCP, ["kv.example"]);
  url = shared.address;
});
afterAll(() => shared.stop());

describe("a value", () => {
  test("is given byte for byte with what is known of it", async () => {
    const response = await fetch(`${url}/v1/kv/cfg%3Atheme`);
    expect(await response.text()).toBe("dark");
    const headers = Object.fromEntries(response.headers);
    expect(headers).toMatchObject({
      "content-type": "text/html",
      "content-length": "4",
      "x-kv-revision": "1",
      "x-kv-commit": git(dir, "rev-parse", "refs/kv/main"),
      "x-kv-seq": "6",
      "accept-ranges": "bytes",
      "x-content-type-options": "nosniff",
      "content-security-policy": "default-src 'none'; sandbox",
    });
    const again = await fetch(`${url}/v1/kv/cfg:theme`, { headers: { "If-None-Match": headers.etag! } });
    expect([again.status, await again.text(), again.headers.get("etag")]).toEqual([304, "", headers.etag!]);
    const other = await fetch(`${url}/v1/kv/cfg:theme`, { headers: { "If-None-Match": '"x", "y"' } });
    expect(other.status).toBe(200);
    for (const odd of [
      "/v1/kv/a%2Fb%20c%3F%C3%A9%25",
      "/v1/kv/a/b%20c%3F%C3%A9%25",
      "/v1/kv?key=a%2Fb%20c%3F%C3%A9%25",
    ]) {
      expect(await (await fetch(url + odd)).text()).toBe("odd");
    }
    expect(Buffer.from(await (await fetch(`${url}/v1/kv/bytes`)).arrayBuffer())).toEqual(Buffer.from([0, 255, 10]));
    const empty = await fetch(`${url}/v1/kv/empty`);
    expect([empty.status, await empty.text(), empty.headers.get("content-length")]).toEqual([200, "", "0"]);
  });

  test("is described by HEAD and as JSON", async () => {
    const head = await fetch(`${url}/v1/kv/large`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "3000000", ""]);
    const response = await fetch(`${url}/v1/kv/cfg:lang?json`);
    const record = (await response.json()) as Record<string, unknown>;
    expect(record).toMatchObject({
      key: "cfg:lang",
      value: '{"en":1}',
      size: 8,
      rev: 1,
      labels: { team: "x" },
      ns: "main",
      seq: 6,
    });
    expect(response.headers.get("etag")).toBe(`"${String(record.etag).slice(7)}-1"`);
    expect(((await (await fetch(`${url}/v1/kv/bytes?json`)).json()) as { value_b64: string }).value_b64).toBe("AP8K");
  });

  test("is given in parts, a large one as a stream", async () => {
    const whole = Buffer.from(await (await fetch(`${url}/v1/kv/large`)).arrayBuffer());
    expect(whole.equals(large)).toBe(true);
    const range = async (value: string, more: Record<string, string> = {}, key = "large") => {
      const response = await fetch(`${url}/v1/kv/${key}`, { headers: { Range: value, ...more } });
      return { response, body: Buffer.from(await response.arrayBuffer()) };
    };
    for (const [text, start, end] of [
      ["bytes=0-9", 0, 10],
      ["bytes=1500000-2500000", 1_500_000, 2_500_001],
      ["bytes=2999990-", 2_999_990, 3_000_000],
      ["bytes=-5", 2_999_995, 3_000_000],
    ] as const) {
      const { response, body } = await range(text);
      expect(response.status).toBe(206);
      expect(response.headers.get("content-range")).toBe(`bytes ${start}-${end - 1}/3000000`);
      expect(body.equals(large.subarray(start, end))).toBe(true);
    }
    expect((await range("bytes=0-1", {}, "cfg:theme")).body.toString()).toBe("da");
    for (const odd of ["bytes=0-1,4-5", "lines=1-2", "bytes=5-2", "bytes=-"]) {
      expect((await range(odd, {}, "cfg:theme")).response.status).toBe(200);
    }
    const { response } = await range("bytes=9-", {}, "cfg:theme");
    expect([response.status, response.headers.get("content-range")]).toEqual([416, "bytes */4"]);
    const etag = (await range("bytes=0-0", {}, "cfg:theme")).response.headers.get("etag")!;
    expect((await range("bytes=0-0", { "If-Range": etag }, "cfg:theme")).response.status).toBe(206);
    expect((await range("bytes=0-0", { "If-Range": '"old"' }, "cfg:theme")).response.status).toBe(200);
  });
});

describe("what is not given", () => {
  test("has a status and a reason", async () => {
    const code = async (target: string, init: RequestInit = {}): Promise<string> => {
      const { status, code: name } = await errorOf(await fetch(url + target, init));
      return `${status} ${name}`;
    };
    expect(await code("/v1/kv/nope")).toBe("404 KEY_NOT_FOUND");
    expect(await code("/v1/kv/soon")).toBe("410 KEY_EXPIRED");
    expect(await code("/v1/kv/")).toBe("400 KEY_INVALID");
    expect(await code("/v1/kv/a%0Ab")).toBe("400 KEY_INVALID");
    expect(await code("/v1/kv/%ff")).toBe("400 KEY_INVALID");
    expect(await code("/v1/kv/x?wait=soon")).toBe("400 INPUT_INVALID");
    expect(await code(`/v1/kv/x?wait=1&since=${"0".repeat(TEST_FORMAT.hexSize)}`)).toBe("400 INPUT_INVALID");
    expect(await code("/v1/kv?limit=0")).toBe("400 INPUT_INVALID");
    expect(await code("/")).toBe("404 NO_SUCH_PATH");
    for (const method of ["PUT", "POST", "DELETE"])
      for (const body of [null, "a body"])
        expect(await code("/v1/kv/x", { method, body })).toBe("405 METHOD_NOT_ALLOWED");
    // A flag of the command line is no way out here.
    expect(await (await fetch(`${url}/v1/kv/soon`)).text()).not.toContain("--");
  });

  test("a page that got here by a name of its own gets nothing", async () => {
    const status = async (host: string): Promise<number> =>
      (await fetch(`${url}/v1/kv/cfg:theme`, { headers: { Host: host } })).status;
    expect(await status("evil.example")).toBe(403);
    expect(await status("127.0.0.1.evil.example:80")).toBe(403);
    for (const ours of ["localhost:1", "LOCALHOST", "127.0.0.1", "[::1]:5", "kv.example:80", "kv.example."]) {
      expect(await status(ours)).toBe(200);
    }
    expect(isOurHost(null, namesOf("10.0.0.1", []))).toBe(false);
    expect(isOurHost("10.0.0.1:80", namesOf("10.0.0.1", []))).toBe(true);
  });

  test("headers beyond all measure, or a body", async () => {
    const port = Number(new URL(url).port);
    const raw = (text: string): Promise<string> =>
      new Promise((resolve) => {
        let answer = "";
        const socket = net.connect(port, "127.0.0.1", () => socket.write(text));
        socket.on("data", (bytes) => {
          answer += bytes;
          socket.end();
        });
        socket.on("close", () => resolve(answer));
        socket.on("error", () => {});
      });
    expect(await raw(`GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ${"y".repeat(200_000)}\r\n\r\n`)).toMatch(
      /^(HTTP\/1.1 431 |$)/,
    );
    expect(await raw("GET /healthz HTTP/1.1\r\n\r\n")).toStartWith("HTTP/1.1 400 ");
    // A port that is none makes an address that is none.
    expect(await raw("GET /healthz HTTP/1.1\r\nHost: localhost:99999\r\n\r\n")).toStartWith("HTTP/1.1 200 ");
  });
});

describe("a listing", () => {
  const list = async (query: string): Promise<{ keys: { key: string; expires?: string }[]; next?: string }> =>
    (await fetch(`${url}/v1/kv${query}`)).json() as never;

  test("has the keys in order, in pages", async () => {
    const all = ["a/b c?é%", "bytes", "cfg:lang", "cfg:theme", "empty", "large", "page"];
    expect((await list("")).keys.map(({ key }) => key)).toEqual(all);
    expect((await list("?prefix=cfg:")).keys).toEqual([{ key: "cfg:lang" }, { key: "cfg:theme" }]);
    const found: string[] = [];
    for (let after = ""; ; ) {
      const page = await list(`?limit=3${after === "" ? "" : `&after=${encodeURIComponent(after)}`}`);
      found.push(...page.keys.map(({ key }) => key));
      if (page.next === undefined) break;
      after = page.next;
    }
    expect(found).toEqual(all);
    expect(await list("?prefix=none")).toMatchObject({ ns: "main", seq: 6, keys: [] });
    const response = await fetch(`${url}/v1/kv`);
    const etag = response.headers.get("etag")!;
    expect((await fetch(`${url}/v1/kv?prefix=x`, { headers: { "If-None-Match": etag } })).status).toBe(304);
    const head = await fetch(`${url}/v1/kv`, { method: "HEAD" });
    expect(head.headers.get("content-length")).toBeNull();
    expect(await head.text()).toBe("");
  });

  test("of many keys is of one moment, though it is read slowly while keys change", async () => {
    const store = await newStore();
    const keys = Array.from({ length: 3_000 }, (_, i) => `k${String(i).padStart(5, "0")}`);
    await set(store, Object.fromEntries(keys.map((key) => [key, "x"])));
    const { address } = await serve(workspaceAt(store));
    const reader = (await fetch(`${address}/v1/kv?limit=100000`)).body!.getReader();
    const first = (await reader.read()).value!;
    await set(store, { k02999a: "new", zz: "new" });
    let text = Buffer.from(first).toString();
    for (let read = await reader.read(); !read.done; read = await reader.read()) text += Buffer.from(read.value);
    expect((JSON.parse(text) as { keys: { key: string }[] }).keys.map(({ key }) => key)).toEqual(keys);
    expect((await fetch(`${address}/v1/kv/zz`)).status).toBe(200);
  });
});

describe("waiting", () => {
  test("ends with the change, or with the time", async () => {
    const store = await newStore();
    await set(store, { a: "1" });
    const { address } = await serve(workspaceAt(store));
    const first = await fetch(`${address}/v1/kv/a`);
    const etag = first.headers.get("etag")!;
    const quiet = await fetch(`${address}/v1/kv/a?wait=0.15&since=${encodeURIComponent(etag)}`);
    expect([quiet.status, quiet.headers.get("etag")]).toEqual([304, etag]);
    const changed = fetch(`${address}/v1/kv/a?wait=60&since=${encodeURIComponent(etag)}`);
    const appears = fetch(`${address}/v1/kv/b?wait=60`);
    const byCommit = fetch(`${address}/v1/kv/a?wait=60&since=${first.headers.get("x-kv-commit")}`);
    const bare = fetch(`${address}/v1/kv/a?wait=60`, { headers: { "If-None-Match": etag } });
    await set(store, { other: "x" });
    await set(store, { a: "2" });
    for (const answer of [changed, byCommit, bare]) expect(await (await answer).text()).toBe("2");
    await set(store, { b: "now" });
    expect(await (await appears).text()).toBe("now");
    // What is another already is given at once.
    expect(await (await fetch(`${address}/v1/kv/a?wait=60&since=${encodeURIComponent(etag)}`)).text()).toBe("2");
    expect((await fetch(`${address}/v1/kv/none?wait=0.05`)).status).toBe(404);
  });

  test("ends when the key expires, which no transaction tells", async () => {
    const store = await newStore();
    await set(store, { short: "lived" }, { expires: NOW + 1 });
    const clock = countingClock(NOW * 1000);
    const { address } = await serve(workspaceAt(store, { clock }));
    const alive = await fetch(`${address}/v1/kv/short`);
    const since = encodeURIComponent(alive.headers.get("etag")!);
    const waiting = ["wait=300", `wait=300&since=${since}`, "wait=300&json"].map((query) =>
      fetch(`${address}/v1/kv/short?${query}`),
    );
    // They wait when a later request was answered.
    await fetch(`${address}/healthz`);
    clock.at += 1000;
    for (const answer of await Promise.all(waiting)) expect(answer.status).toBe(410);
  });

  test("ends when the service does", async () => {
    const store = await newStore();
    await set(store, { a: "1" });
    const server = await serve(workspaceAt(store));
    const waiting = fetch(`${server.address}/v1/kv/a?wait=300`);
    // Its connection is there when the next request on another one was answered.
    await fetch(`${server.address}/healthz`);
    await server.stop();
    expect((await waiting).status).toBe(304);
  });
});

/** A store and a clone that tracks it. */
async function mirrored(): Promise<{ readonly mirror: string; readonly clone: string }> {
  const mirror = await newStore();
  await set(mirror, { a: "1" });
  const clone = path.join(tempDir("clone"), "c.git");
  git("/", "clone", "-q", "--bare", mirror, clone);
  git(clone, "config", "--add", "remote.origin.fetch", "+refs/kv/*:refs/kv-remotes/origin/kv/*");
  return { mirror, clone };
}

test("many wait while the remote is asked again and again, and nothing else is held up", async () => {
  const { mirror, clone } = await mirrored();
  const { address } = await serve(workspaceAt(clone), TCP, [], 20);
  const etag = (await fetch(`${address}/v1/kv/a`)).headers.get("etag")!;
  const ask = (seconds: number): Promise<Response> =>
    fetch(`${address}/v1/kv/a?wait=${seconds}&since=${encodeURIComponent(etag)}`);
  const waiting = Array.from({ length: 100 }, () => ask(60));
  const inVain = ask(0.5);
  // The remote is asked many times meanwhile, in vain, and other requests are answered.
  let answered = 0;
  for (const end = performance.now() + 600; performance.now() < end; answered++)
    expect(await (await fetch(`${address}/v1/kv/a`)).text()).toBe("1");
  expect(answered).toBeGreaterThan(10);
  expect((await inVain).status).toBe(304);
  await set(mirror, { a: "2" });
  for (const answer of waiting) expect(await (await answer).text()).toBe("2");
}, 30_000);

test("a remote is followed at an interval, and its absence shown", async () => {
  const { mirror, clone } = await mirrored();
  const { address } = await serve(workspaceAt(clone), TCP, [], 50);
  const health = async (): Promise<{ status: string; seq: number; error?: string }> =>
    (await fetch(`${address}/healthz`)).json() as never;
  expect(await health()).toMatchObject({ status: "ok", seq: 2 });
  const waiting = fetch(`${address}/v1/kv/a?wait=120`);
  await set(mirror, { a: "2" });
  expect(await (await waiting).text()).toBe("2");
  fs.renameSync(mirror, `${mirror}.away`);
  while ((await health()).status !== "stale") await Bun.sleep(10);
  expect(await (await fetch(`${address}/v1/kv/a`)).text()).toBe("2");
  fs.renameSync(`${mirror}.away`, mirror);
  while ((await health()).status !== "ok") await Bun.sleep(10);
});

test("a wait at a socket file may be longer than the ten seconds that the runtime gives silence", async () => {
  const file = path.join(tempDir("sock"), "s");
  await serve(workspaceAt(dir), { kind: "unix", path: file });
  expect((await fetch("http://anything/v1/kv/cfg:theme?wait=14", { unix: file })).status).toBe(304);
});

test("a socket file is made for its owner alone, taken over when it is left behind, and removed", async () => {
  const file = path.join(tempDir("sock"), "s");
  const listen: Listen = { kind: "unix", path: file };
  const server = await serve(workspaceAt(dir), listen);
  const ask = async (): Promise<string> => (await fetch("http://anything/v1/kv/cfg:theme", { unix: file })).text();
  expect(await ask()).toBe("dark");
  expect(fs.statSync(file).mode & 0o777).toBe(0o600);
  expect((await failureOf(serve(workspaceAt(dir), listen))).code).toBe("LOCKED");
  expect(await ask()).toBe("dark");
  await server.stop();
  expect(fs.existsSync(file)).toBe(false);
  fs.writeFileSync(file, "mine");
  expect((await failureOf(serve(workspaceAt(dir), listen))).code).toBe("IO");
  expect(fs.readFileSync(file, "utf8")).toBe("mine");
});

test("a damaged value breaks its answer off", async () => {
  const store = await newStore();
  await set(store, { large, small: "x" });
  const { address } = await serve(workspaceAt(store));
  const packs = fs.readdirSync(path.join(store, "objects/pack")).filter((name) => name.endsWith(".pack"));
  const sizes = packs
    .map((name) => path.join(store, "objects/pack", name))
    .sort((a, b) => fs.statSync(b).size - fs.statSync(a).size);
  const file = sizes[0]!;
  fs.chmodSync(file, 0o644);
  const bytes = fs.readFileSync(file);
  for (let at = 100_000; at < bytes.length - 100_000; at += 5_000) bytes[at]! ^= 1;
  fs.writeFileSync(file, bytes);
  const outcome = await fetch(`${address}/v1/kv/large`)
    .then(async (response) => (response.ok ? response.arrayBuffer().then(() => "whole") : String(response.status)))
    .catch(() => "broken");
  expect(["broken", "500"]).toContain(outcome);
  expect((await fetch(`${address}/healthz`)).status).toBe(200);
});
