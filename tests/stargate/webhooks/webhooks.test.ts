/** Webhooks against a receiver that takes, refuses, redirects, hangs up and goes away. */

import { afterEach, describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import type { WebhookSettings } from "../../../src/stargate/settings.ts";
import { loadSettings } from "../../../src/stargate/settings.ts";
import type { Payload } from "../../../src/stargate/webhooks/payload.ts";
import type { WebhookTimers } from "../../../src/stargate/webhooks/webhook-worker.ts";
import { Webhooks } from "../../../src/stargate/webhooks/webhooks.ts";
import { TestClient, TestStargate } from "../../support/stargate.ts";
import { tempDir } from "../../support/temp.ts";

const SECRET = "correct horse battery staple";

interface Delivery {
  readonly path: string;
  readonly headers: Headers;
  readonly text: string;
}

/** Takes deliveries; `answer` says what each is answered. */
class Receiver {
  readonly deliveries: Delivery[] = [];
  answer: (delivery: Delivery) => Response | Promise<Response> = () => new Response("thanks");
  readonly #server: Bun.Server<undefined>;

  constructor() {
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: async (request) => {
        const delivery = { path: new URL(request.url).pathname, headers: request.headers, text: await request.text() };
        this.deliveries.push(delivery);
        return this.answer(delivery);
      },
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }

  payload(i: number): Payload {
    return JSON.parse(this.deliveries.at(i)!.text) as Payload;
  }

  /** Waits until `count` deliveries have come. */
  async has(count: number): Promise<void> {
    await until(() => this.deliveries.length >= count);
  }

  async stop(): Promise<void> {
    await this.#server.stop(true);
  }
}

async function until(isSo: () => boolean): Promise<void> {
  for (const end = Date.now() + 20_000; !isSo(); await Bun.sleep(5)) {
    if (Date.now() > end) throw new Error("it did not happen");
  }
}

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Waits no time, and remembers how long it was told to. */
function quickTimers(): WebhookTimers & { readonly waits: number[] } {
  const waits: number[] = [];
  return {
    waits,
    random: () => 0.5,
    sleep: async (ms) => {
      waits.push(ms);
      await Bun.sleep(1);
    },
  };
}

async function scene() {
  const receiver = new Receiver();
  const stargate = await TestStargate.start();
  ends.push(
    () => receiver.stop(),
    () => stargate.stop(),
  );
  const client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("write", "ci")));
  const { gate } = stargate.daemon.registry.all()[0]!;
  const timers = quickTimers();
  const start = (hook: Partial<WebhookSettings> = {}, env: Record<string, string> = { SECRET }): Webhooks => {
    const settings = { name: "ci", url: `${receiver.url}/hook?key=geheim`, secret_env: "SECRET", ...hook };
    const hooks = new Webhooks(gate, "kv.git", [settings as WebhookSettings], env, timers);
    ends.push(() => hooks.stop());
    return hooks;
  };
  return { receiver, stargate, client, gate, timers, start };
}

describe("a delivery", () => {
  test("is signed, says what changed, and has one id however often it is tried", async () => {
    const { receiver, client, timers, start, stargate } = await scene();
    await client.set({ "before:it": "1" });
    start();
    receiver.answer = () => new Response(null, { status: receiver.deliveries.length < 3 ? 503 : 204 });
    const long = `long:${"x".repeat(900)}`;
    const oid = await client.set({
      "cfg:a": "1",
      "user:1:name": "2",
      "a/b": "3",
      plain: "4",
      [long]: "5",
      "before:it": undefined,
    });
    await receiver.has(3);
    expect(receiver.payload(2)).toEqual({
      v: 1,
      type: "kv.transactions",
      repo: "kv.git",
      ns: "main",
      from_seq: 2,
      seq: 2,
      oid,
      prefixes: ["", "a/", "before:", "cfg:", "long:", "user:"],
      transactions: [
        {
          seq: 2,
          txn: expect.stringMatching(/^[0-9A-Z]{26}$/),
          oid,
          who: "ci",
          signer: null,
          accepted_at: expect.stringMatching(/Z$/),
          keys_set: 5,
          keys_del: 1,
          prefixes: ["", "a/", "before:", "cfg:", "long:", "user:"],
        },
      ],
    });
    for (const { headers, text } of receiver.deliveries) {
      const [id, timestamp] = [headers.get("webhook-id")!, headers.get("webhook-timestamp")!];
      expect(id).toBe(`kv-git_main_2-2_${oid.slice(0, 12)}`);
      expect(Math.abs(Number(timestamp) - Date.now() / 1000)).toBeLessThan(30);
      const mac = createHmac("sha256", SECRET).update(`${id}.${timestamp}.${text}`).digest("base64");
      expect(headers.get("webhook-signature")).toBe(`v1,${mac}`);
    }
    // Half of 2 s and of 4 s, the first two bounds.
    expect(timers.waits).toEqual([1_000, 2_000]);
    const log = JSON.stringify(stargate.log);
    expect(log).toContain('"result":"delivered"');
    expect(log).not.toContain("geheim");
    expect(log).not.toContain(SECRET);
  });

  test("follows no redirect, honours Retry-After, and waits a quarter of an hour at the most", async () => {
    const { receiver, client, timers, start, stargate } = await scene();
    const other = new Receiver();
    ends.push(() => other.stop());
    start();
    receiver.answer = () => {
      const { length } = receiver.deliveries;
      if (length === 1) return Response.redirect(other.url, 307);
      if (length === 2) return new Response("slowly", { status: 429, headers: { "Retry-After": "30" } });
      if (length === 3) return new Response("very slowly", { status: 429, headers: { "Retry-After": "86400" } });
      const date = new Date(Date.now() + 100_000).toUTCString();
      if (length === 4) return new Response("at a time", { status: 503, headers: { "Retry-After": date } });
      return new Response("ok");
    };
    await client.set({ a: "1" });
    await receiver.has(5);
    expect(other.deliveries).toEqual([]);
    expect(timers.waits.slice(0, 3)).toEqual([1_000, 30_000, 900_000]);
    expect(timers.waits).toHaveLength(4);
    expect(Math.abs(timers.waits[3]! - 100_000)).toBeLessThan(5_000);
    await stargate.logged(({ message }) => message === "HTTP 307: redirects are not followed");
  });

  test("that nobody takes says why in the log, without the address", async () => {
    const { client, start, stargate } = await scene();
    const gone = new Receiver();
    const { url } = gone;
    await gone.stop();
    start({ url: `${url}/hook?key=geheim` } as Partial<WebhookSettings>);
    await client.set({ a: "1" });
    await stargate.logged(({ message }) => message === "cannot be reached (ECONNREFUSED)");
    expect(JSON.stringify(stargate.log)).not.toContain("geheim");
  });

  test("in GitHub's form starts workflows, and its token is not told", async () => {
    const { receiver, client, start, stargate } = await scene();
    const file = path.join(tempDir("token"), "token");
    start({
      type: "github",
      repository: "org/app",
      api_url: receiver.url,
      token_file: file,
    } as Partial<WebhookSettings>);
    // The token may come later.
    const oid = await client.set({ "cfg:a": "1" });
    await stargate.logged(({ component, code }) => component === "webhook" && code === "CONFIG");
    fs.writeFileSync(file, "ghp_verysecret\n");
    await receiver.has(1);
    const [{ path: asked, headers, text }] = receiver.deliveries as [Delivery];
    expect(asked).toBe("/repos/org/app/dispatches");
    expect(headers.get("authorization")).toBe("Bearer ghp_verysecret");
    expect(JSON.parse(text)).toEqual({
      event_type: "git-kv",
      client_payload: {
        delivery: expect.any(String),
        repo: "kv.git",
        ns: "main",
        from_seq: 1,
        seq: 1,
        oid,
        prefixes: ["cfg:"],
      },
    });
    expect(JSON.stringify(stargate.log)).not.toContain("verysecret");
  });
});

describe("over time", () => {
  test("what comes while it is away goes out together, namespace by namespace, and nothing twice", async () => {
    const { receiver, client, start, gate } = await scene();
    await client.set({ old: "1" });
    const hooks = start();
    const gone = Promise.withResolvers<void>();
    receiver.answer = async () => {
      await gone.promise;
      return new Response("ok");
    };
    await client.set({ "a:1": "1" });
    await receiver.has(1);
    for (let i = 0; i < 5; i++) await client.set({ [`b:${i}`]: "1" });
    await client.set({ "c:1": "1" }, "staging");
    expect(hooks.backlog()).toBe(7);
    gone.resolve();
    await receiver.has(3);
    await until(() => hooks.backlog() === 0);
    const told = receiver.deliveries.map((_, i) => receiver.payload(i));
    expect(told.map(({ ns, from_seq, seq }) => `${ns} ${from_seq}-${seq}`)).toEqual([
      "main 2-2",
      "main 3-7",
      "staging 1-1",
    ]);
    expect(told[1]!.transactions.map(({ seq }) => seq)).toEqual([3, 4, 5, 6, 7]);
    expect(gate.journal.positions.of("webhook ci")).toBe(gate.journal.newest(1)[0]!.id);
  });

  test("a restart goes on where it was: the one under way comes again, under the same id, and the rest follows", async () => {
    const { receiver, client, start } = await scene();
    const hooks = start();
    await client.set({ "a:1": "1" });
    await until(() => hooks.backlog() === 0);
    const never = new Promise<Response>(() => {});
    receiver.answer = () => never;
    await client.set({ "a:2": "1" });
    await receiver.has(2);
    await hooks.stop();
    await client.set({ "a:3": "1" });
    receiver.answer = () => new Response("ok");
    start();
    await receiver.has(4);
    const ranges = receiver.deliveries.map((_, i) => [receiver.payload(i).from_seq, receiver.payload(i).seq]);
    expect(ranges).toEqual([
      [1, 1],
      [2, 2],
      [2, 2],
      [3, 3],
    ]);
    const ids = receiver.deliveries.map(({ headers }) => headers.get("webhook-id"));
    expect(ids[2]).toBe(ids[1]!);
    expect(new Set(ids).size).toBe(3);
  });

  test("a round over several namespaces is made again as it was, and nothing of it under another id", async () => {
    const { receiver, client, start } = await scene();
    const first = start({ batch: 1_000 } as Partial<WebhookSettings>);
    receiver.answer = ({ text }) => (JSON.parse(text).ns === "a" ? new Response("ok") : new Promise(() => {}));
    await Promise.all([client.set({ k: "1" }, "a"), client.set({ k: "1" }, "b")]);
    await until(() => receiver.deliveries.some(({ text }) => JSON.parse(text).ns === "b"));
    await first.stop();
    for (let i = 2; i < 5; i++) for (const ns of ["a", "b"]) await client.set({ k: String(i) }, ns);
    receiver.answer = () => new Response("ok");
    const second = start();
    await until(() => second.backlog() === 0);
    const seen = new Map<string, string>();
    for (const { headers, text } of receiver.deliveries) {
      for (const { txn } of (JSON.parse(text) as Payload).transactions) {
        const id = headers.get("webhook-id")!;
        expect(seen.get(txn) ?? id).toBe(id);
        seen.set(txn, id);
      }
    }
    expect(seen.size).toBe(8);
  });

  test("other namespaces than those it is for are passed over; with 'batch' it waits for more", async () => {
    const { receiver, client, timers, start } = await scene();
    const hooks = start({ namespaces: ["staging"], batch: 5_000 } as Partial<WebhookSettings>);
    await client.set({ a: "1" });
    await until(() => hooks.backlog() === 0);
    await client.set({ a: "1" }, "staging");
    await receiver.has(1);
    expect(receiver.payload(0).ns).toBe("staging");
    expect(timers.waits.filter((ms) => ms === 5_000).length).toBeGreaterThan(0);
  });
});

describe("settings", () => {
  const read = (text: string) => {
    const dir = tempDir("settings");
    fs.writeFileSync(path.join(dir, "stargate.yaml"), text);
    return loadSettings(dir).webhooks;
  };

  test("as they are written", () => {
    expect(
      read(
        "webhooks:\n  - { name: ci, url: 'https://ci.example.com/x', secret_file: hook.secret, namespaces: [main], batch: 5s }\n" +
          "  - { name: gh, type: github, repository: org/app, token_env: GH_TOKEN }\n",
      ),
    ).toEqual([
      {
        name: "ci",
        url: "https://ci.example.com/x",
        secret_file: expect.stringMatching(/^\/.*\/hook\.secret$/),
        namespaces: ["main"],
        batch: 5_000,
      },
      { name: "gh", type: "github", repository: "org/app", token_env: "GH_TOKEN" },
    ]);
  });

  test("what is not sound is named", () => {
    for (const [hook, message] of [
      ["{ name: a, url: 'ftp://x/', secret_env: S }", "webhooks"],
      ["{ name: a, url: 'https://me:pw@x/', secret_env: S }", "webhooks"],
      ["{ name: 'A B', url: 'https://x/', secret_env: S }", "webhooks"],
      ["{ name: a, url: 'https://x/' }", "without a secret"],
      ["{ name: a, url: 'https://x/', secret_env: S, secret_file: f }", "without a secret"],
      ["{ name: a, url: 'https://x/', secret_env: S }, { name: a, url: 'https://y/', secret_env: S }", "a name twice"],
      ["{ name: a, type: github, repository: x, token_env: T }", "webhooks"],
    ] as const) {
      expect(() => read(`webhooks: [${hook}]\n`)).toThrow(message);
    }
  });

  test("the daemon starts them, tells their figures, and takes others on a reload", async () => {
    const receiver = new Receiver();
    const stargate = await TestStargate.start();
    await stargate.stop();
    const settings = path.join(stargate.dir, "stargate.yaml");
    const hook = (tail: string) =>
      `webhooks: [{ name: ci, url: '${receiver.url}/${tail}', secret_env: HOOK_SECRET }]\n`;
    fs.appendFileSync(settings, hook("one"));
    const options = { dir: stargate.dir, adminListen: "127.0.0.1:0", env: { HOOK_SECRET: SECRET } };
    const again = await TestStargate.start(options);
    ends.push(
      () => receiver.stop(),
      () => again.stop(),
    );
    const client = new TestClient(again.dir, again.loginUrl(again.token()));
    await client.set({ a: "1" });
    await receiver.has(1);
    await again.logged(({ result }) => result === "delivered");
    fs.writeFileSync(settings, fs.readFileSync(settings, "utf8").replace("/one", "/two"));
    await again.daemon.reload();
    await client.set({ a: "2" });
    await receiver.has(2);
    expect(receiver.deliveries.map((each) => each.path)).toEqual(["/one", "/two"]);
    await until(() => again.log.filter(({ result }) => result === "delivered").length === 2);
    const text = await (await fetch(`${again.opsUrl}/metrics`)).text();
    expect(text).toContain('stargate_webhook_total{repo="kv.git",hook="ci",result="ok"} 2');
    expect(text).toContain('stargate_webhook_total{repo="kv.git",hook="ci",result="failed"} 0');
    expect(text).toContain('stargate_webhook_backlog_size{repo="kv.git"} 0');
  });
});
