/**
 * `make soak`: writers, readers, maintenance and a mirror against one real daemon that is killed again and again, for ten minutes
 * (GIT_KV_SOAK: seconds). At the end every acknowledged transaction is in its ledger once, those of a writer in their order, the
 * mirror equals the Stargate, and neither git nor fsck finds anything.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../src/errors.ts";
import { type DaemonProcess, stargateRepository, startDaemon } from "../support/daemon-process.ts";
import { executable, runProgram } from "../support/executable.ts";
import { fsck, git, tryGit } from "../support/git.ts";
import { type Random, random } from "../support/random.ts";
import { type Planned, TestClient } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

export interface SoakOptions {
  readonly seconds: number;
  readonly writers: number;
  readonly readers: number;
  readonly namespaces: readonly string[];
  /** Most milliseconds between two kills. */
  readonly killEvery: number;
}

export interface SoakResult {
  readonly acknowledged: number;
  /** Pushes whose answer did not come: asked again with the same KV-Txn. */
  readonly unknown: number;
  readonly conflicts: number;
  readonly kills: number;
  readonly lists: number;
  /** What is wrong; nothing where all is well. */
  readonly faults: readonly string[];
}

interface Acknowledged {
  readonly writer: number;
  readonly ns: string;
  readonly ledger: string;
  readonly txn: string;
}

/** Runs; resolves when everything has been compared. */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const run = new Soak(options, random("soak"));
  return run.run();
}

class Soak {
  readonly #options: SoakOptions;
  readonly #numbers: Random;
  readonly #mirror = path.join(tempDir("soak"), "mirror.git");
  readonly #acknowledged: Acknowledged[] = [];
  readonly #faults: string[] = [];
  readonly #end: number;
  #dir = "";
  #token = "";
  #daemon: DaemonProcess | undefined;
  #unknown = 0;
  #conflicts = 0;
  #kills = 0;
  #lists = 0;

  constructor(options: SoakOptions, numbers: Random) {
    this.#options = options;
    this.#numbers = numbers;
    this.#end = Date.now() + options.seconds * 1000;
  }

  /** On a slow machine it goes on, without kills, until each writer could have had a transaction. */
  get #isOver(): boolean {
    return this.#isTimeUp && this.#acknowledged.length >= this.#options.writers;
  }

  get #isTimeUp(): boolean {
    return Date.now() >= this.#end;
  }

  async run(): Promise<SoakResult> {
    git("/", "init", "-q", "--bare", "-b", "main", this.#mirror);
    const made = stargateRepository(["--mirror-remote", this.#mirror]);
    this.#dir = made.dir;
    this.#token = made.token;
    this.#daemon = await startDaemon(this.#dir, this.#token);
    const { writers, readers } = this.#options;
    const all = [
      this.#killer(),
      ...Array.from({ length: writers }, (_, i) => this.#writer(i)),
      ...Array.from({ length: readers }, () => this.#reader()),
    ];
    await Promise.all(all);
    await this.#settle();
    await this.#daemon.stop();
    this.#compare();
    return {
      acknowledged: this.#acknowledged.length,
      unknown: this.#unknown,
      conflicts: this.#conflicts,
      kills: this.#kills,
      lists: this.#lists,
      faults: this.#faults,
    };
  }

  async #killer(): Promise<void> {
    while (!this.#isTimeUp) {
      await Bun.sleep(this.#numbers.int(this.#options.killEvery));
      await this.#daemon!.kill();
      this.#kills++;
      this.#daemon = await startDaemon(this.#dir, this.#token);
    }
  }

  async #writer(number: number): Promise<void> {
    const { namespaces } = this.#options;
    const ns = namespaces[number % namespaces.length]!;
    for (let i = 0; !this.#isOver; i++) {
      const client = new TestClient(this.#dir, this.#daemon!.address);
      try {
        const planned = client.plan({ [`w${number}:k${i % 50}`]: `${number} ${i}`, shared: `${number} ${i}` }, ns);
        await this.#until(client, planned, { writer: number, ns });
      } finally {
        client.repo.close();
      }
    }
  }

  /** Pushes until it is known what became of the transaction. */
  async #until(client: TestClient, planned: Planned, by: Pick<Acknowledged, "writer" | "ns">): Promise<void> {
    for (let at = client; ; ) {
      try {
        const [outcome] = [...(await at.push(planned)).refs.values()];
        if (outcome?.ok === true) this.#acknowledged.push({ ...by, ledger: planned.ledger, txn: planned.txn });
        else this.#refused(outcome?.reason ?? "no answer");
        return;
      } catch (error) {
        if (!(error instanceof KvError)) throw error;
        this.#unknown++;
        await Bun.sleep(20);
        at = new TestClient(this.#dir, this.#daemon!.address);
      }
    }
  }

  #refused(reason: string): void {
    if (/^(?:CAS_CONFLICT|BUSY|STORAGE)/.test(reason)) this.#conflicts++;
    else this.#faults.push(`a push was refused: ${reason}`);
  }

  /** Ledger and kv-index of a namespace are of one transaction, in every list. */
  async #reader(): Promise<void> {
    const authorization = `Basic ${Buffer.from(`tester:${this.#token}`).toString("base64")}`;
    while (!this.#isOver) {
      const own = new URL(this.#daemon!.address);
      const url = `${own.protocol}//${own.host}${own.pathname}/info/refs?service=git-upload-pack`;
      try {
        const text = await (await fetch(url, { headers: { authorization } })).text();
        this.#checkPairs(text);
      } catch {
        // It was killed.
        await Bun.sleep(20);
      }
    }
  }

  #checkPairs(text: string): void {
    this.#lists++;
    for (const ns of this.#options.namespaces) {
      const [ledger, index] = [`refs/kv/${ns}`, `refs/kv-index/${ns}`].map(
        (ref) => new RegExp(`([0-9a-f]{${TEST_FORMAT.hexSize}}) ${ref}(?:\\0|\\n)`).exec(text)?.[1],
      );
      if (ledger === undefined && index === undefined) continue;
      const [a, b] = [ledger, index].map((oid) =>
        oid === undefined
          ? ""
          : tryGit(this.#dir, ["log", "-1", "--format=%(trailers:key=KV-Txn,valueonly)", oid]).stdout.toString(),
      );
      if (a !== b) this.#faults.push(`a list of '${ns}' has ${ledger} and ${index}`);
    }
  }

  /** Until the mirror has everything. */
  async #settle(): Promise<void> {
    const end = Date.now() + 60_000;
    const tip = (dir: string, ref: string): string =>
      tryGit(dir, ["rev-parse", "-q", "--verify", ref]).stdout.toString();
    for (const ns of this.#options.namespaces) {
      while (tip(this.#mirror, `refs/kv-mirror/${ns}`) !== tip(this.#dir, `refs/kv/${ns}`)) {
        if (Date.now() > end) return void this.#faults.push(`the mirror did not catch up with '${ns}'`);
        await Bun.sleep(50);
      }
      for (const ref of [`refs/kv/${ns}`, `refs/kv-index/${ns}`])
        if (tip(this.#mirror, ref) !== tip(this.#dir, ref)) this.#faults.push(`${ref} of the mirror differs`);
    }
  }

  /** A writer waits for each answer, so its transactions follow each other; those of two writers may be told in any order. */
  #compareOrder(places: ReadonlyMap<string, number>): void {
    for (let writer = 0; writer < this.#options.writers; writer++) {
      const own = this.#acknowledged.filter((one) => one.writer === writer).map(({ ledger }) => places.get(ledger));
      const found = own.filter((place) => place !== undefined);
      if (found.some((place, i) => i > 0 && place <= found[i - 1]!))
        this.#faults.push(`writer ${writer}: not in order`);
    }
  }

  #compare(): void {
    for (const ns of this.#options.namespaces) {
      const lines = git(
        this.#dir,
        "log",
        "--reverse",
        "--format=%H %(trailers:key=KV-Txn,valueonly,separator=)",
        `refs/kv/${ns}`,
      );
      const ledger = lines.split("\n").map((line) => line.split(" ") as [string, string]);
      const places = new Map(ledger.map(([oid], place) => [oid, place]));
      if (new Set(ledger.map(([, txn]) => txn)).size !== ledger.length)
        this.#faults.push(`a KV-Txn is in '${ns}' twice`);
      for (const one of this.#acknowledged.filter((other) => other.ns === ns)) {
        if (!places.has(one.ledger))
          this.#faults.push(`transaction ${one.txn} of '${ns}' was acknowledged and is not there`);
      }
      this.#compareOrder(places);
    }
    for (const dir of [this.#dir, this.#mirror]) {
      const said = fsck(dir);
      if (said !== "") this.#faults.push(`git fsck of ${dir}: ${said}`);
    }
    const check = runProgram(executable("git-kv-stargate"), ["fsck", "--repo", this.#dir]);
    if (check.status !== 0) this.#faults.push(`git-kv-stargate fsck: ${check.stdout}${check.stderr}`);
    const locks = fs
      .readdirSync(this.#dir, { recursive: true })
      .map(String)
      .filter((name) => name.endsWith(".lock"));
    if (locks.length > 0) this.#faults.push(`locks are left: ${locks.join(", ")}`);
  }
}
