/** Watching: whatever breaks in between, every change is told once, in order, and none is left out. */

import { afterEach, describe, expect, test } from "bun:test";
import * as path from "node:path";
import { utf8ToByteString } from "../../src/bytes.ts";
import { systemClock } from "../../src/clock.ts";
import { KvError } from "../../src/errors.ts";
import { keyText } from "../../src/kv/key.ts";
import { LedgerCursor } from "../../src/kv/ledger-cursor.ts";
import { eventData } from "../../src/kv/server-events.ts";
import { type NamespaceState, stateAt } from "../../src/kv/state.ts";
import { parseSince, type WatchOptions, watch } from "../../src/kv/watch.ts";
import { Workspace } from "../../src/kv/workspace.ts";
import { Cutter } from "../support/cutter.ts";
import { git } from "../support/git.ts";
import { random } from "../support/random.ts";
import { TestClient, TestStargate } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { workspaceAt } from "../support/workspace.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const PACE = { first: 20, most: 100, retry: 300, silence: 45_000 };

class World {
  readonly mirror = path.join(tempDir("host"), "mirror.git");
  stargate!: TestStargate;
  front!: Cutter;
  #token = "";

  static async open(): Promise<World> {
    const world = new World();
    git("/", "init", "-q", "--bare", "-b", "main", world.mirror);
    await world.start();
    world.front = await Cutter.start(world.#port);
    ends.push(() => world.front.stop());
    return world;
  }

  /** Starts the Stargate, or starts it anew at another port. */
  async start(): Promise<void> {
    const dir = this.stargate?.dir;
    this.stargate = await TestStargate.start({ mirror: this.mirror, ...(dir !== undefined && { dir }) });
    const { stargate } = this;
    ends.push(() => stargate.stop());
    if (this.front !== undefined) this.front.target = this.#port;
    this.#token ||= this.stargate.token("write");
  }

  get #port(): number {
    return Number(new URL(this.stargate.url).port);
  }

  get client(): TestClient {
    return new TestClient(this.stargate.dir, this.stargate.loginUrl(this.#token));
  }

  /** The Stargate's address through the cutter. */
  get frontUrl(): string {
    return `http://t:${this.#token}@127.0.0.1:${this.front.port}/kv.git`;
  }

  /** A clone that writes through the cutter and reads from the mirror. */
  clone(signal?: AbortSignal): Workspace {
    const dir = path.join(tempDir("clone"), "c");
    git("/", "init", "-q", dir);
    git(dir, "remote", "add", "origin", this.mirror);
    git(dir, "config", "remote.origin.pushurl", this.frontUrl);
    git(dir, "config", "--add", "remote.origin.fetch", "+refs/kv/*:refs/kv-remotes/origin/kv/*");
    return workspaceAt(dir, signal === undefined ? {} : { signal });
  }
}

/** Everything watched, as `seq op key`; with `count` it ends when there is that much. */
async function collect(workspace: Workspace, options: Partial<WatchOptions>, count = Infinity): Promise<string[]> {
  const told: string[] = [];
  const all = { prefix: "", since: undefined, follow: false, pace: PACE, ...options };
  for await (const { state, changes } of watch(workspace, all)) {
    for (const { key, meta } of changes) told.push(`${state.ledger.seq} ${meta ? "set" : "del"} ${keyText(key)}`);
    if (told.length >= count) break;
  }
  return told;
}

async function codeOf(action: () => Promise<unknown>): Promise<string> {
  try {
    await action();
    return "ok";
  } catch (error) {
    return error instanceof KvError ? error.code : String(error);
  }
}

describe("what is told", () => {
  test("each changed key, by prefix, from a sequence number, a commit, or what the clone knows", async () => {
    const world = await World.open();
    const first = await world.client.set({ a: "1", "cfg:x": "1" });
    await world.client.set({ "cfg:x": "2", [`cfg:${"long".repeat(100)}`]: "1" });
    await world.client.set({ a: undefined, b: "1" });
    const all = ["1 set a", "1 set cfg:x", `2 set cfg:${"long".repeat(100)}`, "2 set cfg:x", "3 del a", "3 set b"];
    const workspace = world.clone();
    expect(await collect(workspace, { since: 0 })).toEqual(all);
    expect(await collect(workspace, { since: 1 })).toEqual(all.slice(2));
    expect(await collect(workspace, { since: first })).toEqual(all.slice(2));
    expect(await collect(workspace, { since: 3 })).toEqual([]);
    // Who knows more than there is must hear that: other transactions with those numbers would be passed over.
    const said: string[] = [];
    const listening = new Workspace(workspace.repo, undefined, {
      ...workspace.around,
      warn: (text) => void (text.includes("clock") || said.push(text)),
    });
    expect(await collect(listening, { since: 3 })).toEqual([]);
    expect(said).toEqual([]);
    expect(await collect(listening, { since: 99 })).toEqual([]);
    expect(said).toEqual(["'main' is at transaction 3, before the 99 of --since: none up to that is told"]);
    expect(await collect(workspace, { since: 0, prefix: utf8ToByteString("cfg:x") })).toEqual([
      "1 set cfg:x",
      "2 set cfg:x",
    ]);
    await world.client.set({ c: "1" });
    expect(await collect(workspace, {})).toEqual(["4 set c"]);
    expect(await collect(workspace, {})).toEqual([]);
    const changed: number[] = [];
    for await (const { changes } of watch(workspace, { prefix: "", since: 0, follow: false })) {
      changed.push(...changes.filter(({ key }) => keyText(key) === "a").map(({ rev }) => rev));
    }
    expect(changed).toEqual([1, 2]);
  }, 60_000);

  test("a start that is none, and a namespace that is not there", async () => {
    const world = await World.open();
    const other = await world.client.set({ x: "1" }, "other");
    await world.client.set({ a: "1" });
    const workspace = world.clone();
    const { format } = workspace.repo;
    expect(() => parseSince("yesterday", format)).toThrow("neither a sequence number nor a ledger commit");
    expect(parseSince("12", format)).toBe(12);
    expect(parseSince(other, format)).toBe(other);
    expect(await codeOf(() => collect(workspace, { since: "1".repeat(format.hexSize) }))).toBe("INPUT_INVALID");
    const elsewhere = workspaceAt(workspace.repo.gitDir, { ns: "nowhere" });
    expect(await codeOf(() => collect(elsewhere, {}))).toBe("NS_NOT_FOUND");
  }, 60_000);
});

describe("a cursor", () => {
  test("tells each transaction once and in order, whatever states it is given, and refuses a ledger that is another", async () => {
    const world = await World.open();
    const { objects } = world.stargate.daemon.registry.all()[0]!.gate.repo;
    const states: NamespaceState[] = [];
    for (let i = 0; i < 12; i++) states.push(stateAt(objects, await world.client.set({ k: `${i}` })));
    const { int, pick, seed } = random("cursor");
    for (let round = 0; round < 50; round++) {
      const since = int(12);
      const cursor = new LedgerCursor(objects, since);
      const told: number[] = [];
      for (let i = 0; i < 20; i++) {
        const tip = pick(states);
        const most = int(4);
        // Whoever listens may go away in the middle, and come again.
        for (const { before, after } of cursor.to(tip)) {
          expect(before?.ledger.seq ?? 0).toBe(after.ledger.seq - 1);
          told.push(after.ledger.seq);
          if (told.length % 5 === most) continue;
        }
      }
      const expected = Array.from({ length: told.length }, (_, i) => since + i + 1);
      expect({ seed, told }).toEqual({ seed, told: expected });
    }
    const foreign = new LedgerCursor(objects, 5, states[6]!.ledger.oid);
    expect(() => [...foreign.to(states[11]!)]).toThrow("does not contain");
  }, 60_000);
});

describe("following", () => {
  test("through connections that are cut at any moment", async () => {
    const world = await World.open();
    await world.client.set({ start: "1" });
    const workspace = world.clone();
    const { int, seed } = random("watch");
    const count = 40;
    const told = collect(workspace, { since: 0, follow: true }, count + 1);
    for (let i = 0; i < count; i++) {
      await world.client.set({ [`k${i}`]: "1" });
      const chance = int(4);
      if (chance === 0) world.front.cutAll();
      else if (chance === 1) world.front.arm("answer", int(600));
      else if (chance === 2) world.front.arm("request", int(300));
    }
    world.front.disarm();
    const expected = ["1 set start", ...Array.from({ length: count }, (_, i) => `${i + 2} set k${i}`)];
    expect({ seed, told: await told }).toEqual({ seed, told: expected });
  }, 120_000);

  test("by the mirror while the Stargate is away, and by the Stargate again when it is back", async () => {
    const world = await World.open();
    await world.client.set({ a: "1" });
    const workspace = world.clone();
    const told: string[] = [];
    const done = (async () => {
      const options = { prefix: "", since: 0, follow: true, pace: PACE };
      for await (const { state, changes } of watch(workspace, options)) {
        for (const { key } of changes) told.push(`${state.ledger.seq} ${keyText(key)}`);
        if (told.length === 5) return;
      }
    })();
    await until(() => told.length === 1);
    // The clone cannot reach the Stargate; others can, and the mirror is brought up to date.
    world.front.arm("request", 0, true);
    world.front.cutAll();
    await world.client.set({ b: "1" });
    await until(() => told.length === 2);
    await world.stargate.stop();
    await world.start();
    await world.client.set({ c: "1" });
    await until(() => told.length === 3);
    world.front.disarm();
    await world.client.set({ d: "1" });
    await world.client.set({ e: "1" });
    await done;
    expect(told).toEqual(["1 a", "2 b", "3 c", "4 d", "5 e"]);
  }, 120_000);

  test("by the host alone in a clone that only reads, also while that is away", async () => {
    const world = await World.open();
    await world.client.set({ a: "1" });
    const dir = path.join(tempDir("clone"), "c");
    git("/", "init", "-q", dir);
    git(dir, "remote", "add", "origin", world.frontUrl);
    const warnings: string[] = [];
    const workspace = workspaceAt(dir, { clock: systemClock, warn: (text) => warnings.push(text) });
    // Nobody has fetched a ledger before.
    expect(await collect(workspace, { since: 0 })).toEqual(["1 set a"]);
    await world.client.set({ b: "1" });
    expect(await collect(workspace, { since: 1 })).toEqual(["2 set b"]);
    const told = collect(workspace, { since: 0, follow: true }, 4);
    await world.client.set({ c: "1" });
    await until(() => workspace.state()!.ledger.seq === 3);
    expect(warnings).toEqual([]);
    world.front.arm("request", 0, true);
    world.front.cutAll();
    await until(() => warnings.length > 0);
    expect(await collect(workspace, { since: 2 })).toEqual(["3 set c"]);
    await world.client.set({ d: "1" });
    world.front.disarm();
    expect(await told).toEqual(["1 set a", "2 set b", "3 set c", "4 set d"]);
    expect(warnings).toEqual([
      expect.stringMatching(/^the mirror cannot be followed, and is tried again: /),
      expect.stringMatching(/^the mirror cannot be reached, what is here is read: /),
    ]);
    // What it has is the host's, and nothing here was made.
    expect(git(dir, "for-each-ref", "refs/kv")).toBe("");
  }, 120_000);

  test("the refs of a repository of one's own", async () => {
    const world = await World.open();
    await world.client.set({ a: "1" });
    await world.client.set({ b: "1" });
    const own = workspaceAt(world.stargate.dir);
    const told = collect(own, { since: 1, follow: true }, 2);
    await world.client.set({ c: "1" });
    expect(await told).toEqual(["2 set b", "3 set c"]);
  }, 60_000);

  test("ends when it is told to", async () => {
    const world = await World.open();
    await world.client.set({ a: "1" });
    for (const isOwn of [false, true]) {
      const abort = new AbortController();
      const { signal } = abort;
      const workspace = isOwn ? workspaceAt(world.stargate.dir, { signal }) : world.clone(signal);
      let count = 0;
      const told = (async () => {
        for await (const _ of watch(workspace, { prefix: "", since: 0, follow: true, pace: PACE })) count++;
      })();
      await until(() => count === 1);
      abort.abort(new KvError("INTERRUPTED", "interrupted"));
      expect(await codeOf(() => told)).toBe("INTERRUPTED");
    }
  }, 60_000);
});

describe("a stream of events", () => {
  test("gives the same data however it comes in pieces", async () => {
    const text = Buffer.from(':\n\nid: 1\nevent: tip\ndata: {"a":1}\n\n:\r\n\r\ndata:{"é":2}\r\n\r\nretry: 1\n\n');
    for (let size = 1; size < text.length; size++) {
      const told: string[] = [];
      const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
        text.subarray(i * size, (i + 1) * size),
      );
      const stream = new ReadableStream<Uint8Array>({
        start: (controller) => {
          for (const piece of pieces) controller.enqueue(piece);
          controller.close();
        },
      });
      const code = await codeOf(async () => {
        for await (const data of eventData(stream, 1_000)) told.push(data);
      });
      expect([code, ...told]).toEqual(["NETWORK", '{"a":1}', '{"é":2}']);
    }
  });

  test("that falls silent, or never ends a line, is given up", async () => {
    const silent = new ReadableStream<Uint8Array>({ start: () => {} });
    expect(await codeOf(() => eventData(silent, 20).next())).toBe("NETWORK");
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(Buffer.alloc(10_000, 97)),
    });
    expect(await codeOf(() => eventData(endless, 1_000).next())).toBe("PROTOCOL");
  });
});

async function until(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 60_000; !holds(); await Bun.sleep(5)) {
    if (Date.now() > end) throw new Error("waited in vain");
  }
}
