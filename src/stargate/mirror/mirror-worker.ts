/**
 * Brings the mirror to the newest accepted state, for ever (docs/mirror.md).
 *
 * It works from states, not from a list of jobs: whatever has been accepted when a push leaves is in that push, so a backlog of
 * 500 transactions is one push. All refs of the format move in one atomic push with the watermark `refs/kv-mirror/<ns>` in it;
 * a remote that cannot do that is refused, because a watermark that runs ahead of its ledger would be a lie. What the mirror
 * refuses of one namespace is pushed by itself from then on, and holds up no other (lane.ts).
 */

import { KvError, toKvError } from "../../errors.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import type { MirrorReport, MirrorState } from "../../kv/stargate-status.ts";
import type { Gate } from "../gate.ts";
import type { MirrorPace } from "../settings.ts";
import { HostWords } from "./host-words.ts";
import { Lane, PARKED_WAIT } from "./lane.ts";
import { markMirrored } from "./mark-mirrored.ts";
import { type Batch, makeBatch } from "./mirror-batch.ts";
import { type LanePlan, planMirror } from "./mirror-plan.ts";
import type { MirrorPort } from "./mirror-remote.ts";
import { backoff, TokenBucket } from "./pace.ts";
import { pushPendingRefs } from "./pending-refs.ts";
import { ancestryIn, MIRRORED_PREFIXES } from "./ref-standing.ts";
import { isPermanent, isTooLarge, refusalOf } from "./refusal.ts";
import { tellTry } from "./tell-try.ts";
import { type WorkerTimers, withPatience } from "./timers.ts";

/** What is to be brought to the mirror out of turn. */
export interface BringOrder {
  /** This namespace only ("" is the policy); undefined: all. */
  readonly ns?: string | undefined;
  /** Overwrites what has diverged, with a lease on the values that were just read. */
  readonly force?: boolean;
}

export class MirrorWorker {
  readonly #gate: Gate;
  readonly #remote: MirrorPort;
  readonly #timers: WorkerTimers;
  readonly #bucket: TokenBucket;
  readonly #stop = new AbortController();
  readonly #lanes = new Map<string, Lane>();
  #wake = Promise.withResolvers<void>();
  #isWanted = true;
  #running: Promise<void> | undefined;
  /** One at a time: a round of ours, or somebody else's work on the mirror. */
  #turn: Promise<unknown> = Promise.resolve();
  /** The mirror's refs as we know them; undefined where they must be read. */
  #known: Map<string, Oid> | undefined;
  /** What the last plan took them for: somebody may see something else before it is carried out. */
  #planned: ReadonlyMap<string, Oid> = new Map();
  /** Whether the mirror takes thin packs, and the bytes of a pack it takes. */
  #thin = true;
  #most: number;
  #isBusy = false;
  #isPushing = false;
  /** Ends the wait after a failure. */
  #pausing = new AbortController();
  /** What keeps us from the mirror as a whole. */
  #trouble: { readonly isBlocked: boolean; readonly error: string } | undefined;
  #nextTry: number | undefined;
  #lastSuccess: number | undefined;
  #failures = 0;
  /** The last look at the mirror failed. */
  #isLost = false;

  constructor(gate: Gate, remote: MirrorPort, pace: MirrorPace, timers: WorkerTimers) {
    this.#gate = gate;
    this.#remote = remote;
    this.#timers = timers;
    this.#bucket = new TokenBucket(pace, timers.now());
    this.#most = gate.settings.mirrorMaxPush;
  }

  /** Something was accepted. */
  wake(): void {
    this.#isWanted = true;
    this.#wake.resolve();
  }

  /** Somebody could not look at the mirror. */
  lost(): void {
    this.#isLost = true;
  }

  /**
   * Somebody saw the mirror's kv refs: where they are not what we take them for, they are read again. Where the mirror could not be seen
   * before, whatever kept us from it may be gone: nothing waits any longer.
   */
  saw(refs: ReadonlyMap<string, Oid>): void {
    if (this.#isLost) {
      this.#isLost = false;
      this.#pausing.abort();
    }
    const known = this.#known;
    if (known === undefined || this.#isPushing) return;
    if (known.size === refs.size && [...refs].every(([ref, oid]) => known.get(ref) === oid)) return;
    this.#known = undefined;
    this.wake();
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
    const stuck = [...this.#lanes.values()].flatMap((lane) => lane.report() ?? []);
    const diverged = stuck.filter(({ state }) => state === "diverged").map(({ ns }) => ns);
    const first = stuck.find(({ state }) => state === "blocked") ?? stuck[0];
    const error = this.#trouble?.error ?? (first && `${first.ns || "policy"}: ${first.error}`);
    return {
      remote: this.#remote.url,
      state: this.#state(),
      error,
      nextTry: this.#nextTry ?? first?.nextTry,
      lastSuccess: this.#lastSuccess,
      failures: Math.max(this.#failures, ...stuck.map(({ failures }) => failures)),
      diverged,
      stuck,
    };
  }

  /** One try, at once and whatever the pace: brings the mirror up to date or throws what keeps it from that. */
  async syncOnce(): Promise<void> {
    await pushPendingRefs(this.#gate, this.#remote, this.#stop.signal);
    await this.bring({});
    const [stuck] = this.report().stuck;
    if (stuck?.state === "blocked" || stuck?.state === "waiting") {
      throw new KvError("REMOTE_REJECTED", `${stuck.ns || "policy"}: ${stuck.error}`);
    }
  }

  /**
   * Brings the mirror up to date at once, whatever the pace and whatever waits. What it refuses is stuck afterwards; what keeps
   * us from it as a whole is thrown.
   */
  async bring(order: BringOrder): Promise<void> {
    await this.#inTurn(async () => {
      this.#known = undefined;
      for (const lane of this.#lanes.values()) lane.retry(this.#timers.now());
      try {
        for (let plans = await this.#plan(order); plans.length > 0; plans = await this.#plan(order)) {
          await this.#push(await this.#batch(plans));
        }
      } finally {
        this.#known = undefined;
        this.wake();
        this.#pausing.abort();
      }
    });
  }

  #state(): MirrorState {
    const lanes = [...this.#lanes.values()];
    if (this.#isPushing) return "pushing";
    if (this.#trouble?.isBlocked || lanes.some((lane) => lane.isBlocked)) return "blocked";
    if (lanes.some((lane) => lane.hasDiverged)) return "diverged";
    const isWaiting =
      this.#isWanted || this.#isBusy || this.#trouble !== undefined || lanes.some((lane) => lane.nextTry !== undefined);
    return isWaiting ? "waiting" : "idle";
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(act, act);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#waitForWork();
      if (signal.aborted) return;
      // What is accepted from here on may miss this push, and wants another.
      this.#isWanted = false;
      this.#wake = Promise.withResolvers<void>();
      this.#isBusy = true;
      try {
        await this.#inTurn(() => this.#round());
      } catch (error) {
        await this.#failed(toKvError(error));
      } finally {
        this.#isBusy = false;
      }
    }
  }

  /** Returns when something was accepted, or a lane that waits may be tried again. */
  async #waitForWork(): Promise<void> {
    while (!this.#isWanted && !this.#stop.signal.aborted) {
      const waiting = [...this.#lanes.values()].filter(({ nextTry }) => nextTry !== undefined);
      if (waiting.length === 0) {
        await this.#wake.promise;
        continue;
      }
      const now = this.#timers.now();
      const left = Math.min(...waiting.map((lane) => lane.wait(now)));
      if (left <= 0) return;
      const woken = new AbortController();
      const { promise } = this.#wake;
      await Promise.race([promise, this.#timers.sleep(left, AbortSignal.any([this.#stop.signal, woken.signal]))]);
      woken.abort();
    }
  }

  /** One push, or none where all that can be mirrored is. */
  async #round(): Promise<void> {
    await this.#pushPending();
    let plans = await this.#plan();
    if (plans.length > 0 && (await this.#waitForToken())) {
      this.#isWanted = false;
      this.#wake = Promise.withResolvers<void>();
      plans = await this.#plan();
    }
    if (this.#stop.signal.aborted) return;
    if (plans.length > 0) {
      await this.#push(await this.#batch(plans));
      // There may be more: other lanes, or the rest of one that went in parts.
      this.#isWanted = true;
    } else if (this.report().stuck.length === 0) this.#lastSuccess = this.#timers.now();
    this.#failures = 0;
    this.#trouble = undefined;
  }

  /** Branches of ours that the mirror has not got: one that it refuses is no reason to hold up the ledgers. */
  async #pushPending(): Promise<void> {
    try {
      await this.#patiently((signal) => pushPendingRefs(this.#gate, this.#remote, signal));
    } catch (error) {
      const { code, message } = toKvError(error);
      if (code !== "REMOTE_REJECTED") throw error;
      this.#gate.log("warn", "mirror", { code, message, doing: "push branches" });
    }
  }

  /** Takes a token; true where it had to be waited for. */
  async #waitForToken(): Promise<boolean> {
    const { signal } = this.#stop;
    let waited = false;
    for (let left = this.#bucket.take(this.#timers.now()); left > 0; left = this.#bucket.take(this.#timers.now())) {
      waited = true;
      this.#nextTry = this.#timers.now() + left;
      await this.#timers.sleep(left, signal);
      if (signal.aborted) break;
    }
    this.#nextTry = undefined;
    return waited;
  }

  /** What is to be pushed now: all that may go together, else the one that has waited longest. */
  async #plan({ ns: only, force = false }: BringOrder = {}): Promise<readonly LanePlan[]> {
    const { repo } = this.#gate;
    const now = this.#timers.now();
    // A lane that had diverged may be in order again.
    if ([...this.#lanes.values()].some((lane) => lane.hasDiverged && lane.isDue(now))) this.#known = undefined;
    const isNews = this.#known === undefined;
    this.#known ??= await this.#read();
    // Ours are looked at after the mirror's: whatever of it is ours has been here for longer.
    const local = new Map(repo.refs.snapshot(["refs/kv"]).map(({ name, oid }) => [name, oid]));
    this.#planned = this.#known;
    const plan = await planMirror({
      local,
      remote: this.#planned,
      publishBranch: this.#gate.policy()?.policy.publishBranch ?? false,
      zeroOid: repo.format.zeroOid,
      isAncestor: ancestryIn(repo.objects),
      isForced: (ns) => force && (only === undefined || ns === only),
    });
    // What was read some time ago opens nothing; nor does what is about to be overwritten.
    if (isNews && !force) this.#gate.fence.seen(plan.foreign);
    for (const ns of plan.diverged) {
      const lane = this.#lane(ns);
      if (!lane.hasDiverged) this.#gate.log("error", "mirror", { ns, message: "the mirror has diverged" });
      if (!lane.hasDiverged || lane.isDue(now)) lane.diverged(now);
    }
    const known = new Set([...plan.diverged, ...plan.lanes.map(({ ns }) => ns)]);
    for (const ns of this.#lanes.keys()) if (!known.has(ns)) this.#lanes.delete(ns);
    const isOpen = (lane: LanePlan): boolean => lane.commands.length > 0;
    for (const lane of plan.lanes) {
      this.#lane(lane.ns).notDiverged();
      if (!isOpen(lane)) {
        this.#lane(lane.ns).succeeded();
        markMirrored(this.#gate, lane, this.#timers.now());
      }
    }
    const isAsked = ({ ns }: LanePlan): boolean => only === undefined || ns === only;
    const due = plan.lanes.filter((lane) => isOpen(lane) && isAsked(lane) && this.#lane(lane.ns).isDue(now));
    const together = due.filter(({ ns }) => !this.#lane(ns).isAlone);
    if (together.length > 0) return together;
    return due.sort((a, b) => (this.#lane(a.ns).nextTry ?? 0) - (this.#lane(b.ns).nextTry ?? 0)).slice(0, 1);
  }

  #lane(ns: string): Lane {
    const lane = this.#lanes.get(ns) ?? new Lane(ns);
    this.#lanes.set(ns, lane);
    return lane;
  }

  async #read(): Promise<Map<string, Oid>> {
    const { refs } = await this.#patiently((signal) => this.#remote.refs(MIRRORED_PREFIXES, signal));
    return new Map(refs.map(({ name, oid }) => [name, oid]));
  }

  #batch(plans: readonly LanePlan[]): Promise<Batch> {
    const haves = [...this.#planned.values()];
    const part = plans.length === 1 ? this.#lane(plans[0]!.ns).most : undefined;
    return makeBatch(this.#gate.repo.objects, plans, { haves, thin: this.#thin, most: this.#most, part });
  }

  async #push(batch: Batch): Promise<void> {
    const { commands, pack } = batch;
    const words = new HostWords();
    let refusal: KvError | undefined;
    this.#isPushing = true;
    try {
      const result = await this.#patiently((signal, moved) => {
        const progress = (text: string): void => {
          moved();
          words.hear(text);
        };
        return this.#remote.push({ commands, pack, atomic: true, progress, moved }, signal);
      });
      refusal = refusalOf(result, words.said());
    } catch (error) {
      const failure = toKvError(error);
      if (!isTooLarge(failure)) throw failure;
      refusal = failure;
    } finally {
      this.#isPushing = false;
      pack.dispose();
    }
    if (refusal !== undefined) return this.#refused(batch, refusal);
    for (const { ref, newOid } of commands) this.#known?.set(ref, newOid);
    this.#gate.log("info", "mirror", { result: "pushed", refs: commands.length, bytes: pack.byteLength });
    this.#lastSuccess = this.#timers.now();
    tellTry(this.#gate, this.#timers.now(), "ok");
    for (const lane of batch.lanes) {
      markMirrored(this.#gate, lane, this.#timers.now());
      this.#lane(lane.ns).succeeded();
      // What went through once will again; the rest is tried in larger parts.
      this.#lane(lane.ns).most = batch.part === undefined ? undefined : 2 * batch.part;
    }
  }

  /** Finds out whom the refusal is about; the others go on. */
  #refused({ lanes, commands, pack, isSplittable }: Batch, error: KvError): void {
    this.#known = undefined;
    tellTry(this.#gate, this.#timers.now(), isPermanent(error) ? "refused" : "failed");
    this.#gate.log(isPermanent(error) ? "error" : "warn", "mirror", { code: error.code, message: error.message });
    if (isTooLarge(error) && isSplittable) {
      this.#most = Math.floor(pack.byteLength / 2);
      return;
    }
    const refs = (error.data?.refs as readonly string[] | undefined) ?? commands.map(({ ref }) => ref);
    const blamed = lanes.filter((lane) => lane.commands.some(({ ref }) => refs.includes(ref)));
    if (blamed.length === lanes.length && lanes.length > 1) for (const { ns } of lanes) this.#lane(ns).isAlone = true;
    else for (const { ns } of blamed) this.#lane(ns).refused(error, this.#timers.now(), this.#timers.random());
  }

  /** The mirror could not be asked, or not be understood: all waits. */
  async #failed(error: KvError): Promise<void> {
    this.#gate.fence.endLook();
    if (this.#stop.signal.aborted) return;
    this.#known = undefined;
    tellTry(this.#gate, this.#timers.now(), isPermanent(error) ? "refused" : "failed");
    if (error.code === "UNSUPPORTED" && /thin packs/.test(error.message) && this.#thin) {
      this.#thin = false;
      this.#isWanted = true;
      return;
    }
    this.#failures++;
    // What is not there may come back any time; where it is seen again, nothing waits.
    if (error.code === "NOT_A_REPOSITORY") this.#isLost = true;
    const isBlocked = isPermanent(error);
    this.#trouble = { isBlocked, error: error.message };
    const { code, message } = error;
    this.#gate.log(isBlocked ? "error" : "warn", "mirror", { code, message, failures: this.#failures });
    const asked = Number(error.data?.retryAfter ?? 0) * 1000;
    const ms = Math.max(isBlocked ? PARKED_WAIT : backoff(this.#failures, this.#timers.random()), asked);
    this.#pausing = new AbortController();
    this.#nextTry = this.#timers.now() + ms;
    await this.#timers.sleep(ms, AbortSignal.any([this.#stop.signal, this.#pausing.signal]));
    this.#nextTry = undefined;
    this.#isWanted = true;
  }

  #patiently<T>(act: (signal: AbortSignal, moved: () => void) => Promise<T>): Promise<T> {
    return withPatience(this.#timers, this.#gate.settings.mirrorTimeout, this.#stop.signal, act);
  }
}
