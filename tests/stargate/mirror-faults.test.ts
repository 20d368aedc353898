/** The mirror worker against a host that misbehaves, by a clock of its own: an hour takes a moment. */

import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { SHA1 } from "../../src/gitwire/object/oid.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { parseLedgerCommit } from "../../src/kv/attestation.ts";
import { stateAt } from "../../src/kv/state.ts";
import { accept } from "../../src/stargate/accept.ts";
import { Gate } from "../../src/stargate/gate.ts";
import { initialize } from "../../src/stargate/initialize.ts";
import { silentLog } from "../../src/stargate/log.ts";
import { MirrorWorker } from "../../src/stargate/mirror/mirror-worker.ts";
import { HOST_PACE, loadSettings } from "../../src/stargate/settings.ts";
import { KIBIBYTES } from "../support/chunked.ts";
import { FakeHost } from "../support/fake-host.ts";
import { fromSeed, random } from "../support/random.ts";
import { large, type Planned, STARGATE_PROGRAM, TestClient, type TestValues } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { VirtualTimers } from "../support/virtual-timers.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const START = 1_767_322_800_000;
const PATIENCE = 300_000;

/** A Stargate's repository with its worker, and the host it mirrors to. */
class Scene {
  /** Milliseconds from accept to mirror of every transaction, as the gate tells its watchers. */
  readonly lags: number[] = [];
  /** What the host showed that is not true. */
  lie: string | undefined;
  readonly timers = new VirtualTimers(START, PATIENCE);
  readonly gate: Gate;
  readonly host: FakeHost;
  worker: MirrorWorker;
  readonly #client: TestClient;

  private constructor(gate: Gate, dir: string) {
    this.gate = gate;
    this.host = new FakeHost(gate.repo, () => this.timers.now());
    this.host.onMoved = () => this.#check();
    this.worker = this.#newWorker();
    this.#client = new TestClient(dir, dir);
    gate.events.listen((event) => {
      if (event.kind === "mirrored") this.lags.push(...event.lags);
    });
  }

  static async open(settings = ""): Promise<Scene> {
    const dir = path.join(tempDir("faults"), "kv.git");
    const options = { dir, mirrorUrl: undefined, pushUrl: undefined, adminKey: undefined, ns: "main", format: SHA1 };
    await initialize({ ...options, program: STARGATE_PROGRAM, env: process.env, clock: systemClock });
    fs.appendFileSync(path.join(dir, "stargate.yaml"), settings);
    const gate = await Gate.open({
      dir,
      settings: loadSettings(dir),
      env: process.env,
      clock: systemClock,
      log: silentLog,
      role: "test",
    });
    return new Scene(gate, dir);
  }

  #newWorker(): MirrorWorker {
    return new MirrorWorker(this.gate, this.host, HOST_PACE, this.timers);
  }

  /** Accepts a transaction as a push would, and wakes the worker. */
  set(values: TestValues, ns = "main"): Promise<string> {
    return this.#accept(this.#client.plan(values, ns), ns, Object.keys(values).length);
  }

  /** Begins an epoch. */
  async roll(label: string): Promise<string> {
    return this.#accept(await this.#client.planEpoch(label), "main", 0);
  }

  async #accept({ commands, pack, ledger, txn }: Planned, ns: string, keysSet: number): Promise<string> {
    const { objects } = this.gate.repo;
    writePack(objects, pack.finish());
    objects.refresh();
    const seq = stateAt(objects, ledger).ledger.seq;
    const who = { who: "test", door: undefined, signer: undefined };
    const row = { kind: "txn", ns, txn, seq, oid: ledger, updates: commands, keysSet, keysDel: 0, ...who } as const;
    await accept(this.gate, row, { quarantine: undefined, objects });
    this.worker.wake();
    return ledger;
  }

  async pass(ms: number): Promise<void> {
    await this.timers.pass(
      ms,
      () => this.worker.report().state === "idle",
      () => this.host.isHanging,
    );
    if (this.lie !== undefined) throw new Error(this.lie);
  }

  /** What the host shows must be a whole transaction, and the watermark must not be ahead of it. */
  #check(): void {
    const { refsHere } = this.host;
    const { objects } = this.gate.repo;
    for (const [ref, oid] of refsHere) {
      if (!ref.startsWith("refs/kv-mirror/")) continue;
      const ns = ref.slice("refs/kv-mirror/".length);
      const { indexTree } = parseLedgerCommit(objects.format, oid, objects.read(oid)!.data);
      const index = objects.read(refsHere.get(`refs/kv-index/${ns}`)!)!.data.toString();
      if (refsHere.get(`refs/kv/${ns}`) === oid && index.startsWith(`tree ${indexTree}\n`)) continue;
      this.lie = `the watermark of ${ns} is ${oid}, its ledger ${refsHere.get(`refs/kv/${ns}`)}, its kv-index\n${index}`;
    }
  }

  /** Whether the host has all that was accepted. */
  get isMirrored(): boolean {
    return this.gate.repo.refs.snapshot(["refs/kv"]).every(({ name, oid }) => this.host.refsHere.get(name) === oid);
  }

  async restart(): Promise<void> {
    await this.worker.stop();
    this.worker = this.#newWorker();
    this.worker.start();
  }

  async close(): Promise<void> {
    await this.worker.stop();
    this.gate.close();
  }
}

async function withScene(act: (scene: Scene) => Promise<void>, settings?: string): Promise<void> {
  const scene = await Scene.open(settings);
  scene.worker.start();
  try {
    await act(scene);
  } finally {
    await scene.close();
  }
}

describe("pace", () => {
  test("120 transactions in a minute cost at most 12 pushes, and a lone one none of its time", async () => {
    await withScene(async (scene) => {
      await scene.set({ lone: "1" });
      await scene.pass(SECOND);
      expect(scene.isMirrored).toBe(true);
      expect(scene.lags).toHaveLength(1);
      await scene.pass(2 * MINUTE);
      const before = scene.host.pushes.length;
      for (let i = 0; i < 120; i++) {
        await scene.set({ [`k${i}`]: `${i}` });
        await scene.pass(500);
      }
      const during = scene.host.pushes.length - before;
      expect(during).toBeLessThanOrEqual(12);
      expect(during).toBeGreaterThan(8);
      await scene.pass(10 * SECOND);
      expect(scene.isMirrored).toBe(true);
      expect(scene.gate.journal.backlog("main").count).toBe(0);
      expect(scene.host.pushes.length - before).toBeLessThanOrEqual(12);
    });
  });
});

describe("a host that fails", () => {
  test("a connection that breaks before or after the push was taken: its refs are read again, nothing is pushed twice", async () => {
    await withScene(async (scene) => {
      const { host } = scene;
      for (const when of ["before", "after"] as const) {
        const pushes = host.pushes.length;
        host.mishaps.push({ kind: "drop", when });
        await scene.set({ [when]: "1" });
        await scene.pass(30 * SECOND);
        expect(scene.isMirrored).toBe(true);
        expect(host.pushes.length - pushes).toBe(when === "before" ? 2 : 1);
        expect(scene.gate.journal.backlog("main").count).toBe(0);
        expect(scene.worker.report()).toMatchObject({ state: "idle", error: undefined, failures: 0, stuck: [] });
      }
    });
  });

  test("429: no sooner than Retry-After says", async () => {
    await withScene(async (scene) => {
      scene.host.mishaps.push({ kind: "busy", retryAfter: 240 });
      const at = scene.timers.now();
      await scene.set({ a: "1" });
      await scene.pass(2 * MINUTE);
      expect(scene.host.pushes).toHaveLength(1);
      expect(scene.worker.report()).toMatchObject({ state: "waiting", nextTry: at + 240 * SECOND, failures: 1 });
      await scene.pass(2 * MINUTE);
      expect(scene.host.pushes.map((time) => time - at)).toEqual([0, 240 * SECOND]);
      expect(scene.isMirrored).toBe(true);
      // Both tries are counted where a restart finds them.
      expect(scene.gate.journal.counts().map(({ name, count }) => [name, count])).toEqual([
        ["mirror failed", 1],
        ["mirror ok", 1],
      ]);
    });
  });

  test("an internal error without a word on any ref is tried again, ever more slowly", async () => {
    await withScene(async (scene) => {
      scene.host.always = { kind: "internal" };
      scene.timers.chance = 0.999;
      await scene.set({ a: "1" });
      await scene.pass(10 * MINUTE);
      expect(scene.host.refsHere.size).toBe(0);
      expect(scene.host.pushes.length).toBeGreaterThan(8);
      // Two lanes by then, the policy's and the namespace's.
      expect(scene.host.pushes.length).toBeLessThan(36);
      expect(scene.worker.report().stuck.map(({ state }) => state)).toContain("waiting");
      scene.host.always = undefined;
      await scene.pass(3 * MINUTE);
      expect(scene.isMirrored).toBe(true);
    });
  });

  test("a host that takes the push and says nothing is given up after a while", async () => {
    await withScene(async (scene) => {
      await scene.pass(SECOND);
      scene.host.mishaps.push({ kind: "hang" });
      await scene.set({ a: "1" });
      await scene.pass(4 * MINUTE);
      expect(scene.worker.report().state).toBe("pushing");
      await scene.pass(2 * MINUTE);
      expect(scene.isMirrored).toBe(true);
    });
  });

  test("down for an hour: nothing is lost, nothing is hammered, and all of it goes in one push", async () => {
    await withScene(async (scene) => {
      const { host } = scene;
      await scene.set({ a: "0" });
      await scene.pass(SECOND);
      host.isDown = true;
      for (let i = 0; i < 60; i++) {
        await scene.set({ a: `${i}`, [`k${i}`]: "1" });
        await scene.pass(MINUTE);
      }
      expect(scene.gate.journal.backlog("main").count).toBe(60);
      expect(host.turnedAway).toBeGreaterThan(50);
      expect(host.turnedAway).toBeLessThan(150);
      expect(scene.worker.report().state).toBe("waiting");
      const pushes = host.pushes.length;
      host.isDown = false;
      await scene.pass(MINUTE);
      expect(scene.isMirrored).toBe(true);
      expect(host.pushes.length - pushes).toBe(1);
      expect(scene.gate.journal.backlog("main")).toEqual({ count: 0, oldest: undefined });
    });
  });

  test("a clock that is set back an hour, and a worker that is started anew", async () => {
    await withScene(async (scene) => {
      await scene.set({ a: "1" });
      await scene.pass(SECOND);
      scene.timers.set(scene.timers.now() - 60 * MINUTE);
      for (let i = 0; i < 8; i++) {
        await scene.set({ [`b${i}`]: "1" });
        await scene.pass(5 * SECOND);
      }
      await scene.pass(MINUTE);
      expect(scene.isMirrored).toBe(true);
      await scene.restart();
      await scene.set({ c: "1" });
      await scene.pass(SECOND);
      expect(scene.isMirrored).toBe(true);
    });
  });

  test("a clock that is set back makes nothing wait longer that waits already", async () => {
    await withScene(async (scene) => {
      const back = (): void => scene.timers.set(scene.timers.now() - 60 * MINUTE);
      await scene.set({ a: "1" });
      await scene.pass(SECOND);
      // A host that says nothing.
      scene.host.mishaps.push({ kind: "hang" });
      await scene.set({ a: "2" });
      await scene.pass(MINUTE);
      back();
      await scene.pass(11 * MINUTE);
      expect(scene.isMirrored).toBe(true);
      // A refusal for good, which is tried again after ten minutes.
      scene.host.always = { kind: "refuse", ref: /./, reason: "push declined due to repository rule violations" };
      await scene.set({ a: "3" });
      await scene.pass(MINUTE);
      expect(scene.worker.report().state).toBe("blocked");
      scene.host.always = undefined;
      back();
      await scene.pass(10 * MINUTE);
      expect(scene.isMirrored).toBe(true);
    });
  });

  test("any mishaps in any order", async () => {
    const { seed, int: chance } = random("mishaps");
    await withScene(async (scene) => {
      const kinds = [
        { kind: "drop", when: "before" },
        { kind: "drop", when: "after" },
        { kind: "busy" },
        { kind: "internal" },
        { kind: "refuse", ref: /other$/, reason: "pre-receive hook declined" },
        { kind: "hang" },
      ] as const;
      for (let i = 0; i < 40; i++) {
        if (chance(2) === 0) scene.host.mishaps.push(kinds[chance(kinds.length)]!);
        await scene.set({ [`k${chance(5)}`]: `${i}` }, ["main", "other"][chance(2)]!);
        await scene.pass(chance(20) * SECOND);
        if (chance(10) === 0) await scene.restart();
      }
      scene.host.mishaps.length = 0;
      await scene.pass(20 * MINUTE);
      expect({ seed, isMirrored: scene.isMirrored }).toEqual({ seed, isMirrored: true });
    });
  });
});

describe("refusals", () => {
  const secret = {
    kind: "refuse",
    ref: /\/other$/,
    reason: "push declined due to repository rule violations",
  } as const;

  test("one namespace that the host refuses is parked with the host's words; the others go on", async () => {
    await withScene(async (scene) => {
      await scene.set({ a: "1" });
      await scene.set({ x: "1" }, "other");
      await scene.pass(SECOND);
      expect(scene.isMirrored).toBe(true);
      scene.host.always = secret;
      scene.host.words = "error: GH013: Repository rule violations found\r\n\x1b[1m- Push cannot contain secrets\n";
      await scene.set({ x: "secret" }, "other");
      const last = await scene.set({ a: "2" });
      await scene.pass(30 * SECOND);
      expect(scene.host.refsHere.get("refs/kv-mirror/main")).toBe(last);
      const { stuck, state, error } = scene.worker.report();
      expect(state).toBe("blocked");
      expect(stuck).toHaveLength(1);
      expect(stuck[0]).toMatchObject({ ns: "other", state: "blocked", failures: 1 });
      expect(error).toContain("refs/kv/other: push declined due to repository rule violations");
      expect(error).toContain("GH013: Repository rule violations found; [1m- Push cannot contain secrets");
      // More of the others goes through while it waits, without a try for it each time.
      const pushes = scene.host.pushes.length;
      for (let i = 0; i < 3; i++) {
        await scene.set({ a: `${i + 3}` });
        await scene.pass(20 * SECOND);
      }
      expect(scene.host.pushes.length - pushes).toBe(3);
      expect(scene.gate.journal.backlog("main").count).toBe(0);
      expect(scene.gate.journal.backlog("other").count).toBe(1);
      scene.host.always = undefined;
      await scene.pass(10 * MINUTE);
      expect(scene.isMirrored).toBe(true);
      expect(scene.worker.report()).toMatchObject({ state: "idle", stuck: [] });
    });
  });

  test("a refusal that names no ref is tried namespace by namespace", async () => {
    await withScene(async (scene) => {
      // What a pre-receive hook says: the same of every ref of the push.
      const hook = { kind: "refuse", ref: /./, reason: "pre-receive hook declined" } as const;
      await scene.pass(SECOND);
      scene.host.isDown = true;
      await scene.set({ a: "1" });
      await scene.set({ x: "1" }, "other");
      await scene.pass(SECOND);
      scene.host.isDown = false;
      scene.host.mishaps.push(hook);
      const pushes = scene.host.pushes.length;
      await scene.pass(30 * SECOND);
      expect(scene.isMirrored).toBe(true);
      expect(scene.host.pushes.length - pushes).toBe(3);
    });
  });

  test("what was changed on the mirror is seen and never overwritten, and taken up again when it is gone", async () => {
    await withScene(async (scene) => {
      const first = await scene.set({ a: "1" });
      await scene.set({ x: "1" }, "other");
      await scene.pass(SECOND);
      const foreign = "f".repeat(40);
      scene.host.refsHere.set("refs/kv/main", foreign);
      scene.host.refsHere.delete("refs/kv-mirror/main");
      scene.worker.saw(new Map(scene.host.refsHere));
      const second = await scene.set({ a: "2" });
      const other = await scene.set({ x: "2" }, "other");
      await scene.pass(30 * SECOND);
      expect(scene.host.refsHere.get("refs/kv/main")).toBe(foreign);
      expect(scene.host.refsHere.get("refs/kv-mirror/other")).toBe(other);
      expect(scene.worker.report()).toMatchObject({ state: "diverged", diverged: ["main"] });
      scene.host.refsHere.set("refs/kv/main", first);
      await scene.pass(11 * MINUTE);
      expect(scene.host.refsHere.get("refs/kv-mirror/main")).toBe(second);
      expect(scene.worker.report()).toMatchObject({ state: "idle", diverged: [] });
    });
  });
});

describe("a backlog larger than a push may be", () => {
  test("goes in parts, each of them a state the ledger had, each with its own watermark", async () => {
    await withScene(async (scene) => {
      const { host } = scene;
      host.isDown = true;
      const { bytes } = fromSeed(7);
      const ledgers: string[] = [];
      for (let i = 0; i < 24; i++) ledgers.push(await scene.set({ [`k${i}`]: bytes(2_500).toString("base64") }));
      host.isDown = false;
      const marks: string[] = [];
      const check = host.onMoved;
      host.onMoved = () => {
        check();
        marks.push(host.refsHere.get("refs/kv-mirror/main") ?? "");
      };
      await scene.pass(10 * MINUTE);
      expect(scene.isMirrored).toBe(true);
      expect(host.largest).toBeLessThanOrEqual(20_000);
      expect(marks.length).toBeGreaterThan(2);
      const order = marks.map((mark) => ledgers.indexOf(mark));
      expect(order).toEqual([...order].sort((a, b) => a - b));
      expect(order).not.toContain(-1);
      expect(new Set(order).size).toBe(order.length);
    }, "mirror: { max_push: 20KB }\n");
  });

  test("epochs that begin in the middle of it: each a step of its own, with its archive, after all that came before", async () => {
    await withScene(async (scene) => {
      const { host } = scene;
      await scene.set({ before: "1" });
      await scene.pass(MINUTE);
      host.isDown = true;
      const { bytes } = fromSeed(9);
      const ledgers: string[] = [];
      const sets = async (): Promise<void> => {
        for (let i = 0; i < 10; i++) ledgers.push(await scene.set({ [`k${i}`]: bytes(2_500).toString("base64") }));
        ledgers.push(await scene.set({ big: large(Buffer.from(bytes(3_000)), KIBIBYTES) }));
        ledgers.push(await scene.set({ big: large(Buffer.from(bytes(3_000)), KIBIBYTES) }));
      };
      await sets();
      const roots = [undefined, await scene.roll("e2")];
      ledgers.push(roots[1]!);
      await sets();
      roots.push(await scene.roll("e3"));
      ledgers.push(roots[2]!);
      await sets();
      host.isDown = false;
      const marks: string[] = [];
      /** Epoch by the ref that names its first commit, archives and pieces that are there. */
      const stages: (readonly [number, string[]])[] = [];
      const check = host.onMoved;
      host.onMoved = () => {
        check();
        marks.push(host.refsHere.get("refs/kv-mirror/main")!);
        const closed = [...host.refsHere.keys()].filter((ref) => /^refs\/kv-(archive|chunks)/.test(ref)).sort();
        stages.push([roots.indexOf(host.refsHere.get("refs/kv-epoch/main")), closed]);
      };
      await scene.pass(10 * MINUTE);
      expect(scene.isMirrored).toBe(true);
      expect(host.largest).toBeLessThanOrEqual(20_000);
      const order = marks.map((mark) => ledgers.indexOf(mark));
      expect(order).toEqual([...new Set(order)].sort((a, b) => a - b));
      expect(order).not.toContain(-1);
      // An archive is there as soon as the new epoch is, and not before; so are the pieces of values.
      const epochs = order.map((place) => roots.filter((root) => root && ledgers.indexOf(root) <= place).length);
      expect(stages.map(([epoch]) => epoch)).toEqual(epochs);
      expect(new Set(epochs).size).toBe(3);
      const archives = (epoch: number): string[] =>
        ["e1", "e2"].slice(0, epoch).map((one) => `refs/kv-archive/main@${one}`);
      const pieces = (place: number): string[] =>
        ["e1", "e2", "e3"]
          .filter((_, i) => (i === 0 ? 10 : ledgers.indexOf(roots[i]!)) <= place)
          .map((one) => `refs/kv-chunks/main@${one}`);
      expect(stages.map(([, refs]) => refs)).toEqual(
        order.map((place, i) => [...archives(epochs[i]!), ...pieces(place)]),
      );
      expect(scene.worker.report()).toMatchObject({ state: "idle", diverged: [] });
    }, "mirror: { max_push: 20KB }\n");
  });

  test("one transaction that is larger goes as it is", async () => {
    await withScene(async (scene) => {
      await scene.set({ a: fromSeed(8).bytes(9_000).toString("base64") });
      await scene.set({ b: "1" });
      await scene.pass(MINUTE);
      expect(scene.isMirrored).toBe(true);
    }, "mirror: { max_push: 1KB }\n");
  });
});
