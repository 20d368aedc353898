/** The mirror over a real connection to the real git: connections that break, limits, refusals, passwords. */

import { afterEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { Cutter } from "../support/cutter.ts";
import { fsck, git, tryGit } from "../support/git.ts";
import { type HttpBackend, type HttpBackendOptions, startHttpBackend } from "../support/http-backend.ts";
import { fromSeed } from "../support/random.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

interface Host {
  readonly dir: string;
  readonly backend: HttpBackend;
}

function host(options: HttpBackendOptions = {}): Host {
  const dir = path.join(tempDir("host"), "mirror.git");
  git("/", "init", "-q", "--bare", "-b", "main", dir);
  git(dir, "config", "http.receivepack", "true");
  const backend = startHttpBackend(path.dirname(dir), options);
  ends.push(() => backend.stop());
  return { dir, backend };
}

/** A Stargate before `mirror`, with `settings` in its stargate.yaml. */
async function start(mirror: string, settings = ""): Promise<{ stargate: TestStargate; client: TestClient }> {
  const first = await TestStargate.start({ mirror });
  await first.stop();
  fs.appendFileSync(path.join(first.dir, "stargate.yaml"), settings);
  const stargate = await TestStargate.start({ dir: first.dir });
  ends.push(() => stargate.stop());
  return { stargate, client: new TestClient(stargate.dir, stargate.loginUrl(stargate.token())) };
}

const refOf = (dir: string, ref: string): string =>
  tryGit(dir, ["rev-parse", "-q", "--verify", ref]).stdout.toString().trim();

async function until(holds: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 40_000; !holds(); await Bun.sleep(10)) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
  }
}

const FAST = "mirror: { burst: 1000, interval: 10ms, refresh: 1h }\n";

describe("a connection that breaks", () => {
  test("inside the push, or when it was taken: it is in once, and the watermark is never ahead", async () => {
    const one = host();
    const front = await Cutter.start(one.backend.port);
    ends.push(() => front.stop());
    const { stargate, client } = await start(`http://127.0.0.1:${front.port}/mirror.git`, FAST);
    let ledger = await client.set({ start: "1" });
    await until(() => refOf(one.dir, "refs/kv-mirror/main") === ledger, "the first");
    for (const [direction, limit] of [
      ["request", 0],
      ["request", 700],
      ["answer", 0],
      ["answer", 60],
    ] as const) {
      front.arm(direction, limit);
      ledger = await client.set({ [`${direction}-${limit}`]: "1" });
      await until(() => refOf(one.dir, "refs/kv-mirror/main") === ledger, `${direction} cut at ${limit}`);
      expect(refOf(one.dir, "refs/kv/main")).toBe(ledger);
      front.disarm();
      const link = stargate.daemon.registry.all()[0]!.mirror!;
      await until(() => link.report().state === "idle", "idle");
      expect(stargate.daemon.registry.all()[0]!.gate.journal.backlog("main").count).toBe(0);
    }
    expect(fsck(one.dir)).toBe("");
  }, 60_000);
});

describe("a host's limits", () => {
  test("429 with Retry-After, then what it asked for", async () => {
    let turnsAway = 0;
    const one = host({
      intercept: (request) => {
        if (request.method !== "POST" || !request.url.endsWith("git-receive-pack") || turnsAway-- <= 0)
          return undefined;
        return new Response("slow down\n", {
          status: 429,
          headers: { "Retry-After": "1", "Content-Type": "text/plain" },
        });
      },
    });
    const { stargate, client } = await start(`${one.backend.url}/mirror.git`, FAST);
    turnsAway = 2;
    const ledger = await client.set({ a: "1" });
    const line = await stargate.logged(({ component, code }) => component === "mirror" && code === "BUSY");
    expect(line.message).toContain("(HTTP 429): slow down");
    await until(() => refOf(one.dir, "refs/kv-mirror/main") === ledger, "the push");
  }, 60_000);

  test("more than a push may hold goes in parts, by the host's own limit", async () => {
    let isAway = false;
    const one = host({ intercept: () => (isAway ? new Response("away\n", { status: 503 }) : undefined) });
    const { client } = await start(`${one.backend.url}/mirror.git`, FAST);
    const first = await client.set({ start: "1" });
    await until(() => refOf(one.dir, "refs/kv-mirror/main") === first, "the first");
    git(one.dir, "config", "receive.maxInputSize", "20k");
    isAway = true;
    const { bytes } = fromSeed(3);
    const ledgers: string[] = [];
    for (let i = 0; i < 8; i++) ledgers.push(await client.set({ [`k${i}`]: bytes(4_000).toString("base64") }));
    isAway = false;
    await until(() => refOf(one.dir, "refs/kv-mirror/main") === ledgers.at(-1), "all parts");
    expect(refOf(one.dir, "refs/kv/main")).toBe(ledgers.at(-1)!);
    expect(fsck(one.dir)).toBe("");
  }, 60_000);
});

describe("passwords", () => {
  test("of the mirror are in no log, no status and no error, whatever goes wrong", async () => {
    const secret = "s3cr3t-t0k3n";
    let isClosed = false;
    const one = host({
      login: `bot:${secret}`,
      intercept: () => (isClosed ? new Response("no\n", { status: 403 }) : undefined),
    });
    const address = one.backend.url.replace("http://", `http://bot:${secret}@`);
    const { stargate, client } = await start(`${address}/mirror.git`, FAST);
    const ledger = await client.set({ a: "1" });
    await until(() => refOf(one.dir, "refs/kv-mirror/main") === ledger, "the first");
    isClosed = true;
    await client.set({ b: "1" });
    await stargate.logged(({ code }) => code === "FORBIDDEN");
    one.backend.stop();
    const token = stargate.token("admin");
    const status = async (): Promise<string> =>
      (await fetch(`${stargate.url}/kv/status`, { headers: { Authorization: `Bearer ${token}` } })).text();
    expect(await status()).toContain('"state":"blocked"');
    const sync = await fetch(`${stargate.url}/kv/sync`, {
      method: "POST",
      body: '{"mode":"repair"}',
      headers: { Authorization: `Bearer ${token}` },
    });
    const texts = [await status(), await sync.text(), JSON.stringify(stargate.log)];
    expect(texts[1]).toContain("cannot reach");
    for (const text of texts) expect(text).not.toContain(secret);
  }, 60_000);
});
