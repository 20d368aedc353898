/** The stream of events at the HTTP door: who may have it, what it says, what bounds it. */

import { afterEach, describe, expect, test } from "bun:test";
import { LIMITS } from "../../src/limits.ts";
import { stargateDir } from "../../src/stargate/settings.ts";
import { TokenStore } from "../../src/stargate/tokens.ts";
import { WatchStreams } from "../../src/stargate/watch-stream.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";

const running: TestStargate[] = [];
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop();
});

async function start(): Promise<{ stargate: TestStargate; client: TestClient; token: string }> {
  const stargate = await TestStargate.start();
  running.push(stargate);
  const token = stargate.token("write", "watcher");
  return { stargate, client: new TestClient(stargate.dir, stargate.loginUrl(token)), token };
}

interface Reader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
}

/** Reads a stream until its text `fits`, or it ends. */
async function readUntil(reader: Reader, fits: (text: string) => boolean): Promise<string> {
  let text = "";
  while (!fits(text)) {
    const { done, value } = await reader.read();
    if (done) return `${text}<end>`;
    text += Buffer.from(value!).toString();
  }
  return text;
}

const bearer = (token: string): { headers: Record<string, string> } => ({
  headers: { Authorization: `Bearer ${token}` },
});

describe("over HTTP", () => {
  test("tells the newest state at once, then each newer one; by token only", async () => {
    const { stargate, client, token } = await start();
    const first = await client.set({ a: "1" });
    expect((await fetch(`${stargate.url}/kv/watch`)).status).toBe(401);
    expect((await fetch(`${stargate.url}/kv/watch`, { method: "POST", ...bearer(token) })).status).toBe(405);
    for (const query of ["ns=../x", "since=-1", "since=x"]) {
      expect((await fetch(`${stargate.url}/kv/watch?${query}`, bearer(token))).status).toBe(400);
    }
    const response = await fetch(`${stargate.url}/kv/watch?ns=main`, bearer(token));
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toStartWith("text/event-stream");
    const reader = response.body!.getReader();
    const tip = (seq: number, oid: string): string =>
      `id: ${seq}\nevent: tip\ndata: {"ns":"main","seq":${seq},"oid":"${oid}"}\n\n`;
    expect(await readUntil(reader, (text) => text.includes("event: tip") && text.endsWith("}\n\n"))).toBe(
      `:\n\n${tip(1, first)}`,
    );
    await client.set({ x: "1" }, "other");
    const second = await client.set({ b: "1" });
    expect(await readUntil(reader, (text) => text.includes("}\n\n"))).toBe(tip(2, second));
    // A client that knows it all is told nothing until there is news.
    const resumed = (await fetch(`${stargate.url}/kv/watch?ns=main&since=2`, bearer(token))).body!.getReader();
    const third = await client.set({ c: "1" });
    expect(await readUntil(resumed, (text) => text.includes("}\n\n"))).toBe(`:\n\n${tip(3, third)}`);
    // The end of the Stargate is the end of the stream, and does not wait for it.
    await reader.cancel();
    await stargate.stop();
    running.length = 0;
    expect(await readUntil(resumed, () => false).catch(() => "<end>")).toEndWith("<end>");
  }, 30_000);
});

describe("streams", () => {
  test("show signs of life, and end where the token is taken back", async () => {
    const { stargate, token } = await start();
    const { gate } = stargate.daemon.registry.all()[0]!;
    const streams = new WatchStreams(10);
    const store = new TokenStore(stargateDir(stargate.dir));
    const isAllowed = (): boolean => store.identify(token, Date.now()) !== undefined;
    const { signal } = new AbortController();
    const reader = streams.open(gate, { ns: "main", since: 0, who: "watcher", isAllowed, signal })!.getReader();
    await readUntil(reader, (text) => text.length >= 9);
    expect(streams.size).toBe(1);
    store.revoke("watcher");
    expect(await readUntil(reader, () => false)).toMatch(/^(?::\n\n)*<end>$/);
    expect(streams.size).toBe(0);
  });

  test("are bounded, in all and for each who asks; one that is closed makes room", async () => {
    const { stargate } = await start();
    const { gate } = stargate.daemon.registry.all()[0]!;
    const streams = new WatchStreams();
    const open = (who: string, signal = new AbortController().signal): ReadableStream<Uint8Array> | undefined =>
      streams.open(gate, { ns: "main", since: 0, who, isAllowed: () => true, signal });
    const gone = new AbortController();
    expect(open("a", gone.signal)).toBeDefined();
    for (let i = 1; i < LIMITS.watchersOfOne; i++) expect(open("a")).toBeDefined();
    expect(open("a")).toBeUndefined();
    gone.abort();
    const last = open("a")!;
    expect(open("a")).toBeUndefined();
    await last.cancel();
    expect(open("a")).toBeDefined();
    for (let i = streams.size; i < LIMITS.watchers; i++) expect(open(`b${i}`)).toBeDefined();
    expect(open("c")).toBeUndefined();
    streams.close();
    expect(streams.size).toBe(0);
  });
});
