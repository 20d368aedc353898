/**
 * Replays the transactions of an audit on as many processors as there are: some by helpers, which are threads with a view of the
 * object store of their own (replay-worker.ts), the rest here, whenever all helpers have enough to do. What comes of a
 * transaction does not depend on who replays it; a helper that cannot be started, or fails, is done without.
 *
 * Bounded: a helper holds at most {@link AHEAD} batches and the cache of its store.
 */

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { ObjectPlace } from "../gitwire/store/object-place.ts";
import { trace } from "../trace.ts";
import type { EtagHasher } from "./etag.ts";
import { type ReplayJob, type ReplayOutcome, runReplay } from "./replay-job.ts";

/** Transactions that are replayed here before helpers are called: until a helper's code is compiled it takes as long as some hundred of them. */
const ALONE = 1_024;
/** Of so many transactions helpers replay from the first on: they are started at once, and load their code while the ledger is gone through. */
const MANY = 4_096;
/**
 * Transactions handed over at a time, and batches a helper has before it. A version of a directory is a delta of its neighbours, 50 deep
 * as git makes packs: who replays many in a row decodes few that somebody else decodes too.
 */
const BATCH = 256;
const AHEAD = 2;
/** More are not worth their memory: what is not replay is done by one thread. */
const MOST_HELPERS = 3;
/**
 * Changes of a transaction from which a helper replays it whatever else there is to do: for the tenth of a second or more that it takes, this
 * thread could hear nothing.
 */
const LARGE = 10_000;

/** The helper's file: beside this one, or where the compiler puts it (scripts/compile.ts). */
const isSource = import.meta.url.endsWith("/src/kv/replay-pool.ts");
const WORKER = new URL(isSource ? "./replay-worker.ts" : "./src/kv/replay-worker.js", import.meta.url);

/** A replay that was asked for. */
export class Replay {
  /** Undefined until it is done. */
  outcome: ReplayOutcome | undefined;
  readonly job: ReplayJob;
  #told: (() => void) | undefined;

  constructor(job: ReplayJob) {
    this.job = job;
  }

  /** The outcome, as soon as it is there. Throws what `signal` is aborted with before. */
  async wait(signal?: AbortSignal): Promise<ReplayOutcome> {
    if (this.outcome === undefined) {
      const end = new AbortController();
      try {
        await new Promise<void>((resolve, reject) => {
          this.#told = resolve;
          signal?.addEventListener("abort", () => reject(signal.reason), { signal: end.signal });
          if (signal?.aborted === true) reject(signal.reason);
        });
      } finally {
        end.abort();
      }
    }
    return this.outcome!;
  }

  done(outcome: ReplayOutcome): void {
    this.outcome = outcome;
    this.#told?.();
  }
}

interface Helper {
  readonly worker: Worker;
  /** In the order they were sent. */
  readonly batches: (readonly Replay[])[];
}

/** How much is done elsewhere. */
export interface ReplayThreads {
  /** Where helpers find the same objects. */
  readonly place: ObjectPlace;
  /** Most helpers; default: one less than there are processors. */
  readonly helpers?: number;
  /** {@link ALONE}, {@link BATCH} and {@link LARGE}, and what a helper runs, for tests. */
  readonly alone?: number;
  readonly batch?: number;
  readonly large?: number;
  readonly worker?: URL;
}

export class ReplayPool {
  /** Told when helpers have read some thousand objects more. */
  onRead: (() => void) | undefined;
  /** Objects that helpers have read, about. */
  objectsRead = 0;
  readonly #threads: ReplayThreads | undefined;
  readonly #objects: ObjectSource;
  readonly #etagOf: EtagHasher;
  readonly #most: number;
  #alone: number;
  #helpers: Helper[] | undefined;
  #batch: Replay[] = [];
  #done = 0;
  #byHelpers = 0;

  /** Without `threads` all is done here. */
  constructor(objects: ObjectSource, etagOf: EtagHasher, threads?: ReplayThreads) {
    this.#threads = threads;
    this.#objects = objects;
    this.#etagOf = etagOf;
    const most = threads?.helpers ?? Math.min(availableParallelism() - 1, MOST_HELPERS);
    this.#most = threads === undefined ? 0 : most;
    this.#alone = threads?.alone ?? ALONE;
  }

  /** About so many transactions are to come. */
  expect(transactions: number): void {
    if (this.#most === 0 || transactions < MANY) return;
    this.#alone = 0;
    this.#helpers ??= this.#start();
  }

  /** Replays a transaction, sooner or later: {@link flush} after the last one. */
  replay(job: ReplayJob): Replay {
    const replay = new Replay(job);
    const { keysSet, keysDel } = job.next.ledger;
    if (this.#threads !== undefined && keysSet + keysDel >= (this.#threads.large ?? LARGE)) {
      this.#handOver([replay]);
      return replay;
    }
    if (this.#most === 0 || this.#done < this.#alone) {
      this.#here(replay);
      return replay;
    }
    this.#batch.push(replay);
    if (this.#batch.length >= (this.#threads?.batch ?? BATCH)) this.#dispatch();
    return replay;
  }

  /** Does what was not handed over. */
  flush(): void {
    for (const replay of this.#batch.splice(0)) this.#here(replay);
  }

  /** Transactions that helpers have replayed. */
  get byHelpers(): number {
    return this.#byHelpers;
  }

  /** Ends the helpers; what they have not done stays undone. */
  async close(): Promise<void> {
    const helpers = this.#helpers ?? [];
    this.#helpers = [];
    await Promise.all(helpers.map(({ worker }) => worker.terminate()));
    if (this.#most > 0) trace("perf", `${this.#done} transactions replayed here, ${this.#byHelpers} by helpers`);
  }

  #here(replay: Replay): void {
    this.#done++;
    replay.done(runReplay(this.#objects, this.#etagOf, replay.job));
  }

  #dispatch(): void {
    if ((this.#idlest()?.batches.length ?? AHEAD) < AHEAD) this.#handOver(this.#batch.splice(0));
    else this.flush();
  }

  /** Has a helper replay the batch, however much they have to do; does it here where there is none. */
  #handOver(batch: readonly Replay[]): void {
    const helper = this.#idlest();
    helper?.batches.push(batch);
    helper?.worker.postMessage(batch.map(({ job }) => job));
    if (helper === undefined) for (const replay of batch) this.#here(replay);
  }

  /** The helper with the least to do. */
  #idlest(): Helper | undefined {
    this.#helpers ??= this.#start();
    return this.#helpers.toSorted((a, b) => a.batches.length - b.batches.length)[0];
  }

  #start(): Helper[] {
    const helpers: Helper[] = [];
    // One at the least: where there is one processor too, a large transaction is replayed elsewhere.
    for (let i = 0; i < Math.max(1, this.#most); i++) {
      try {
        helpers.push(this.#startOne());
      } catch (error) {
        trace("perf", `no helper: ${String(error)}`);
      }
    }
    return helpers;
  }

  #startOne(): Helper {
    const { place, worker: url = WORKER } = this.#threads!;
    const helper: Helper = { worker: new Worker(url, { workerData: place }), batches: [] };
    const { worker, batches } = helper;
    worker.on("message", (outcomes: readonly ReplayOutcome[] | number) => {
      if (typeof outcomes === "number") {
        this.objectsRead += outcomes;
        this.onRead?.();
        return;
      }
      const batch = batches.shift() ?? [];
      this.#byHelpers += batch.length;
      for (const [i, replay] of batch.entries()) replay.done(outcomes[i]!);
    });
    // Whatever happens to it, its work is done here.
    const gone = (why: string): void => {
      if (this.#helpers?.includes(helper) !== true) return;
      trace("perf", `a helper is gone: ${why}`);
      this.#helpers = this.#helpers.filter((other) => other !== helper);
      for (const replay of batches.splice(0).flat()) this.#here(replay);
    };
    worker.on("error", (error) => gone(String(error)));
    worker.on("exit", () => gone("it ended"));
    return helper;
  }
}
