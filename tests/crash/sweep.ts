/**
 * One transaction after another against a real daemon, each with a fault at another of its system calls; and what must be true
 * afterwards, whatever the fault.
 */

import { expect } from "bun:test";
import * as fs from "node:fs";
import { KvError } from "../../src/errors.ts";
import { setConfig } from "../../src/gitwire/config/config-edit.ts";
import { type DaemonProcess, stargateRepository, startDaemon } from "../support/daemon-process.ts";
import { fsck, git } from "../support/git.ts";
import { type Planned, TestClient, type TestValues, verdict } from "../support/stargate.ts";
import { attachTracer, CHANGING, type Fault, GROWING } from "../support/syscall-tracer.ts";

/** What the client was told. */
type Answer = "ok" | "refused" | "unknown";

/** What a sweep has tried. */
export interface Tally {
  points: number;
  /** Transactions of which one ref had moved and another had not. */
  torn: number;
  /** Acknowledged transactions that were not there afterwards. */
  lost: number;
  /** Faults that came: the number of pages the journal writes differs by a few, so a late call may not be made at all. */
  met: number;
  /** Transactions that were not acknowledged and are there: the answer was cut off, or the restart finished them. */
  unsaid: number;
}

export class Sweep {
  readonly tally: Tally = { points: 0, torn: 0, lost: 0, met: 0, unsaid: 0 };
  readonly #dir: string;
  readonly #token: string;
  readonly #values: () => TestValues;
  /** How many refs a transaction moves. */
  readonly #refs: number;
  #daemon: DaemonProcess;
  #client: TestClient;

  private constructor(dir: string, token: string, daemon: DaemonProcess, values: () => TestValues, refs: number) {
    this.#dir = dir;
    this.#token = token;
    this.#daemon = daemon;
    this.#values = values;
    this.#refs = refs;
    this.#client = new TestClient(dir, daemon.address);
  }

  /** A Stargate that has had two transactions; `values` makes what each further one sets. */
  static async start(values: () => TestValues, refs: number): Promise<Sweep> {
    const { dir, token } = stargateRepository();
    // No upkeep: git fsck cannot bear packs that vanish, and the calls of one transaction are to be those of the next.
    setConfig(`${dir}/config`, "gc.auto", "0");
    const sweep = new Sweep(dir, token, await startDaemon(dir, token), values, refs);
    for (let i = 0; i < 2; i++) await sweep.#client.set(values());
    return sweep;
  }

  /** The system calls of one transaction that goes well. */
  async calls(growing = false): Promise<string[]> {
    const tracer = await attachTracer(this.#daemon.pid, growing ? GROWING : CHANGING);
    await this.#client.set(this.#values());
    return tracer.detach();
  }

  /** Lets one transaction meet `fault`, and checks everything. */
  async meet(fault: Fault): Promise<void> {
    this.tally.points++;
    const before = this.#tip("refs/kv/main");
    const planned = this.#client.plan(this.#values());
    expect(planned.commands).toHaveLength(this.#refs);
    const growing = fault.kind === "fail" && fault.error === "ENOSPC";
    const tracer = await attachTracer(this.#daemon.pid, growing ? GROWING : CHANGING, fault);
    const answer = await this.#push(planned);
    if (fault.kind === "kill" && answer === "unknown") await this.#daemon.exited;
    const seen = await tracer.detach();
    if (!this.#daemon.isRunning() || seen.some((line) => line.includes("(INJECTED)"))) this.tally.met++;
    if (fault.kind === "kill") await this.#daemon.kill();
    else await this.#goesOn(answer);
    await this.#restart();
    this.#check(planned, before, answer);
    // The client asks again, as it does after a broken connection. What stayed out goes in now.
    expect(await this.#push(planned)).toBe("ok");
    expect(this.#tip("refs/kv/main")).toBe(planned.ledger);
    await this.#client.set(this.#values());
    expect(fsck(this.#dir)).toBe("");
  }

  async stop(): Promise<void> {
    await this.#daemon.stop();
  }

  /** With room again, a daemon that runs takes pushes, or says that it has stopped and ends. */
  async #goesOn(answer: Answer): Promise<void> {
    if (answer === "unknown" && !this.#daemon.isRunning()) return;
    const other = await this.#client
      .push(this.#client.plan({ [`other-${this.tally.points}`]: "1" }, "other"))
      .then(verdict, () => "NETWORK");
    if (other === "ok") return void (await this.#daemon.stop());
    expect(["STORAGE", "NETWORK"]).toContain(other);
    expect(await this.#daemon.exited).not.toBe(0);
  }

  async #push(planned: Planned): Promise<Answer> {
    try {
      const result = await this.#client.push(planned);
      const said = verdict(result);
      if (said === "ok") return "ok";
      expect(result.unpack === "ok" ? said : result.unpack).toMatch(/^(?:STORAGE|IO|BUSY)/);
      return "refused";
    } catch (error) {
      expect(error).toBeInstanceOf(KvError);
      expect(["NETWORK", "REMOTE_REJECTED"]).toContain((error as KvError).code);
      return "unknown";
    }
  }

  async #restart(): Promise<void> {
    this.#daemon = await startDaemon(this.#dir, this.#token);
    this.#client = new TestClient(this.#dir, this.#daemon.address);
  }

  #check(planned: Planned, before: string, answer: Answer): void {
    const tip = this.#tip("refs/kv/main");
    expect([before, planned.ledger]).toContain(tip);
    const moved = planned.commands.filter(({ ref, newOid }) => this.#tip(ref) === newOid).length;
    const stayed = planned.commands.filter(({ ref, oldOid }) => this.#tip(ref) === oldOid).length;
    if (moved !== planned.commands.length && stayed !== planned.commands.length) this.tally.torn++;
    if (answer === "ok" && tip !== planned.ledger) this.tally.lost++;
    if (answer !== "ok" && tip === planned.ledger) this.tally.unsaid++;
    const names = fs.readdirSync(this.#dir, { recursive: true }).map(String);
    expect(names.filter((name) => name.endsWith(".lock"))).toEqual([]);
  }

  #tip(ref: string): string {
    return git(this.#dir, "rev-parse", "--verify", "-q", ref);
  }
}
