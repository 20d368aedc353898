/**
 * Brings the mirror to the newest accepted state, for ever (docs/stargate.md, "Mirror").
 *
 * It works from states, not from a list of jobs: whatever has been accepted when a push leaves is in that push, so a backlog of
 * 500 transactions is one push. All refs of the format move in one atomic push with the watermark `refs/kv-mirror/<ns>` in it;
 * a remote that cannot do that is refused, because a watermark that runs ahead of its ledger would be a lie.
 */

import { type KvError, toKvError } from "../../errors.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import { CommitGraph } from "../../gitwire/protocol/commit-graph.ts";
import { isReachable } from "../../gitwire/protocol/revision-range.ts";
import type { PushResult } from "../../gitwire/protocol/send-pack.ts";
import type { MirrorReport, MirrorState } from "../../kv/stargate-status.ts";
import { stateAt } from "../../kv/state.ts";
import type { Gate } from "../gate.ts";
import type { MirrorPace } from "../settings.ts";
import { type MirrorPlan, planMirror } from "./mirror-plan.ts";
import type { MirrorRemote } from "./mirror-remote.ts";
import { backoff, TokenBucket } from "./pace.ts";
import { packFor } from "./pack-source.ts";
import { pushPendingRefs } from "./pending-refs.ts";
import { isPermanent, refusalOf } from "./refusal.ts";

/** Time and chance, so that tests need not wait. */
export interface WorkerTimers {
  /** Milliseconds since 1970. */
  now(): number;
  /** In [0, 1). */
  random(): number;
  /** Resolves after `ms` milliseconds, or when `signal` is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** Milliseconds until a mirror that refused for good is asked again: somebody may have acted meanwhile. */
const BLOCKED_WAIT = 600_000;

export class MirrorWorker {
  readonly #gate: Gate;
  readonly #remote: MirrorRemote;
  readonly #timers: WorkerTimers;
  readonly #bucket: TokenBucket;
  readonly #stop = new AbortController();
  #wake = Promise.withResolvers<void>();
  #isWanted = true;
  #running: Promise<void> | undefined;
  /** The mirror's refs as we know them; undefined where they must be read. */
  #known: Map<string, Oid> | undefined;
  /** Whether the mirror takes thin packs. */
  #thin = true;
  #state: MirrorState = "waiting";
  #error: string | undefined;
  #nextTry: number | undefined;
  #lastSuccess: number | undefined;
  #failures = 0;
  #diverged: readonly string[] = [];

  constructor(gate: Gate, remote: MirrorRemote, pace: MirrorPace, timers: WorkerTimers) {
    this.#gate = gate;
    this.#remote = remote;
    this.#timers = timers;
    this.#bucket = new TokenBucket(pace, timers.now());
  }

  /** Something was accepted. */
  wake(): void {
    this.#isWanted = true;
    this.#wake.resolve();
  }

  /** Works until {@link stop}. */
  start(): void {
    this.#running = this.#run();
  }

  /** Ends the work; a push under way is broken off, which does no harm. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake.resolve();
    await this.#running;
  }

  report(): MirrorReport {
    return {
      remote: this.#remote.url,
      state: this.#state,
      error: this.#error,
      nextTry: this.#nextTry,
      lastSuccess: this.#lastSuccess,
      failures: this.#failures,
      diverged: this.#diverged,
    };
  }

  /** One try, at once and whatever the pace: brings the mirror up to date or throws what keeps it from that. */
  async syncOnce(): Promise<void> {
    await this.#round();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      if (!this.#isWanted) await this.#wake.promise;
      if (signal.aborted) return;
      await this.#waitFor(this.#bucket.take(this.#timers.now()));
      if (signal.aborted) return;
      // What is accepted from here on may miss this push, and wants another.
      this.#isWanted = false;
      this.#wake = Promise.withResolvers<void>();
      try {
        this.#state = "pushing";
        await this.#round();
        this.#succeeded();
      } catch (error) {
        await this.#failed(toKvError(error));
      }
    }
  }

  async #waitFor(ms: number): Promise<void> {
    for (let left = ms; left > 0 && !this.#stop.signal.aborted; left = this.#bucket.take(this.#timers.now())) {
      this.#nextTry = this.#timers.now() + left;
      await this.#timers.sleep(left, this.#stop.signal);
    }
    this.#nextTry = undefined;
  }

  #succeeded(): void {
    this.#failures = 0;
    this.#error = undefined;
    this.#lastSuccess = this.#timers.now();
    this.#state = this.#diverged.length > 0 ? "diverged" : this.#isWanted ? "waiting" : "idle";
    if (this.#diverged.length > 0) {
      this.#error = `the mirror's ${this.#diverged.map((ns) => ns || "policy").join(", ")} has commits that are not ours`;
    }
  }

  async #failed(error: KvError): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#known = undefined;
    this.#failures++;
    this.#error = error.message;
    const isBlocked = isPermanent(error);
    this.#state = isBlocked ? "blocked" : "waiting";
    const { code, message } = error;
    this.#gate.log(isBlocked ? "error" : "warn", "mirror", { code, message, failures: this.#failures });
    const result = isBlocked ? "refused" : "failed";
    this.#gate.events.emit({ kind: "mirror try", at: this.#timers.now(), result });
    if (error.code === "UNSUPPORTED" && /thin packs/.test(message) && this.#thin) {
      this.#thin = false;
      this.#isWanted = true;
      return;
    }
    const asked = Number(error.data?.retryAfter ?? 0) * 1000;
    const wait = isBlocked ? BLOCKED_WAIT : backoff(this.#failures, this.#timers.random());
    const ms = Math.max(wait, asked);
    this.#nextTry = this.#timers.now() + ms;
    await this.#timers.sleep(ms, this.#stop.signal);
    this.#nextTry = undefined;
    this.#isWanted = true;
  }

  async #round(): Promise<void> {
    const { signal } = this.#stop;
    const { repo } = this.#gate;
    await pushPendingRefs(this.#gate, this.#remote, signal);
    const local = new Map(repo.refs.snapshot(["refs/kv"]).map(({ name, oid }) => [name, oid]));
    if (local.size === 0) return;
    this.#known ??= await this.#read();
    const graph = new CommitGraph(repo.objects);
    const plan = await planMirror({
      local,
      remote: this.#known,
      publishBranch: this.#gate.policy()?.policy.publishBranch ?? false,
      zeroOid: repo.format.zeroOid,
      isAncestor: async (ancestor, tip) => {
        const [from, to] = [graph.find(ancestor), graph.find(tip)];
        return from >= 0 && to >= 0 && isReachable(graph, from, to);
      },
    });
    this.#diverged = plan.diverged;
    if (plan.commands.length > 0) await this.#push(plan, this.#known);
    this.#markMirrored(plan);
  }

  async #read(): Promise<Map<string, Oid>> {
    const { refs } = await this.#remote.refs(["refs/kv", "refs/heads/kv/"], this.#stop.signal);
    return new Map(refs.map(({ name, oid }) => [name, oid]));
  }

  async #push(plan: MirrorPlan, known: Map<string, Oid>): Promise<void> {
    const { commands } = plan;
    const { objects } = this.#gate.repo;
    const wants = commands.map(({ newOid }) => newOid);
    const pack = await packFor(objects, wants, [...known.values()], this.#thin);
    let result: PushResult;
    try {
      result = await this.#remote.push({ commands, pack, atomic: true }, this.#stop.signal);
    } finally {
      pack.dispose();
    }
    const refusal = refusalOf(result);
    if (refusal !== undefined) throw refusal;
    for (const { ref, newOid } of commands) known.set(ref, newOid);
    this.#gate.log("info", "mirror", { result: "pushed", refs: commands.length, bytes: pack.byteLength });
    this.#gate.events.emit({ kind: "mirror try", at: this.#timers.now(), result: "ok" });
  }

  #markMirrored({ ledgers, policy }: MirrorPlan): void {
    const { journal, repo, events } = this.#gate;
    const now = this.#timers.now();
    for (const [ns, oid] of ledgers) {
      const accepted = journal.markMirrored("txn", ns, stateAt(repo.objects, oid).ledger.seq, now);
      const lags = accepted.map((at) => Math.max(0, now - at));
      if (lags.length > 0) events.emit({ kind: "mirrored", at: now, ns, lags });
    }
    const entry = policy === undefined ? undefined : journal.find("policy", "", policy);
    if (entry !== undefined && entry.mirroredAt === undefined) journal.markOneMirrored(entry.id, now);
  }
}
