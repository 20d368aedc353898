/** The stream of events at the HTTP door: who may have it, what it says, what bounds it. */

import { afterEach, describe, expect, test } from "bun:test";
import { LIMITS } from "../../src/limits.ts";
import { stargateDir } from "../../src/stargate/settings.ts";
import { TokenStore } from "../../src/stargate/tokens.ts";
import { type Watch, WatchStreams } from "../../src/stargate/watch-stream.ts";
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

test("one who has as many as may be is told to come back, and takes nothing from others; the figures show it", async () => {
  const { stargate, token } = await start();
  const [end, other] = [new AbortController(), stargate.token("read", "other")];
  const watch = (of: string): Promise<Response> =>
    fetch(`${stargate.url}/kv/watch?ns=main`, { ...bearer(of), signal: end.signal });
  const open: Response[] = [];
  for (let i = 0; i < LIMITS.watchersOfOne; i++) open.push(await watch(token));
  expect(open.map(({ status }) => status)).toEqual(open.map(() => 200));
  const refused = await watch(token);
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "30"]);
  expect(await refused.text()).toContain("128 streams of events are open for watcher already");
  expect((await watch(other)).status).toBe(200);
  const { gate } = stargate.daemon.registry.all()[0]!;
  expect(gate.watching).toBe(LIMITS.watchersOfOne + 1);
  end.abort();
}, 30_000);

describe("streams", () => {
  test("show signs of life, and end where the token is taken back", async () => {
    const { stargate, token } = await start();
    const { gate } = stargate.daemon.registry.all()[0]!;
    const streams = new WatchStreams(10);
    const store = new TokenStore(stargateDir(stargate.dir));
    const isAllowed = (): boolean => store.identify(token, Date.now()) !== undefined;
    const { signal } = new AbortController();
    const asked = { ns: "main", since: 0, who: "watcher", isAnonymous: false, isAllowed, signal };
    const reader = streamOf(streams.open(gate, asked)).getReader();
    await readUntil(reader, (text) => text.length >= 9);
    expect(streams.size).toBe(1);
    store.revoke("watcher");
    expect(await readUntil(reader, () => false)).toMatch(/^(?::\n\n)*<end>$/);
    expect(streams.size).toBe(0);
  });

  test("are bounded, in all and for each who asks; one that is closed makes room", async () => {
    const { stargate } = await start();
    const { gate } = stargate.daemon.registry.all()[0]!;
    let refused = 0;
    gate.events.listen(({ kind }) => {
      if (kind === "watch refused") refused++;
    });
    const streams = new WatchStreams();
    const open = (who: string, signal = new AbortController().signal, isAnonymous = false): Watch =>
      streams.open(gate, { ns: "main", since: 0, who, isAnonymous, isAllowed: () => true, signal });
    const gone = new AbortController();
    expect(open("a", gone.signal).kind).toBe("stream");
    for (let i = 1; i < LIMITS.watchersOfOne; i++) expect(open("a").kind).toBe("stream");
    expect(open("a").kind).toBe("too many of one");
    gone.abort();
    const last = streamOf(open("a"));
    expect(open("a").kind).toBe("too many of one");
    await last.cancel();
    expect(open("a").kind).toBe("stream");
    for (let i = streams.size; i < LIMITS.watchers; i++) expect(open(`b${i}`).kind).toBe("stream");
    expect([streams.size, gate.watching, refused]).toEqual([LIMITS.watchers, LIMITS.watchers, 2]);
    // Those without a token take nothing from those who have one, nor the other way round.
    expect(open("192.0.2.1", undefined, true).kind).toBe("stream");
    streams.close();
    expect([streams.size, gate.watching]).toEqual([0, 0]);
  });

  test("are shared out where all are taken: who has the most gives way to who has fewer, the newest first", async () => {
    const { stargate } = await start();
    const { gate } = stargate.daemon.registry.all()[0]!;
    const streams = new WatchStreams(10);
    const open = (who: string): Watch =>
      streams.open(gate, {
        ns: "main",
        since: 0,
        who,
        isAnonymous: false,
        isAllowed: () => true,
        signal: new AbortController().signal,
      });
    const rich = Array.from({ length: LIMITS.watchersOfOne }, () => streamOf(open("rich")));
    for (let i = 0; streams.size < LIMITS.watchers; i++) open(`other ${i % 100}`);
    const size = Math.ceil((LIMITS.watchers - LIMITS.watchersOfOne) / 100);
    const mine = streamOf(open("newcomer"));
    expect(await readUntil(rich.at(-1)!.getReader(), () => false)).toEndWith("<end>");
    // One that stays tells that it is there.
    await readUntil(rich[0]!.getReader(), (text) => text.length >= 9);
    // Until there is nobody left who has more than one more.
    let own = 1;
    while (open("newcomer").kind === "stream") own++;
    expect(own).toBeGreaterThanOrEqual(size - 1);
    expect(own).toBeLessThanOrEqual(LIMITS.watchersOfOne);
    expect(open("newcomer").kind).toBe(own === LIMITS.watchersOfOne ? "too many of one" : "all taken");
    expect(streams.size).toBe(LIMITS.watchers);
    await readUntil(mine.getReader(), (text) => text.length >= 9);
    streams.close();
  });
});

function streamOf(watch: Watch): ReadableStream<Uint8Array> {
  if (watch.kind === "stream") return watch.stream;
  throw new Error(watch.kind);
}
