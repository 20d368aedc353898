/** Everything between a gate and its mirror: the worker that pushes, the relay for branches, the look at the mirror's branches. */

import { toKvError } from "../../errors.ts";
import type { MirrorReport } from "../../kv/stargate-status.ts";
import type { SyncReport, SyncRequest } from "../../kv/sync-report.ts";
import type { Gate } from "../gate.ts";
import { logDrift } from "../policy-drift.ts";
import { HOST_PACE } from "../settings.ts";
import type { Identity } from "../tokens.ts";
import { LOOK_PREFIXES, type MirrorLook, mirrorLook, refreshBranches } from "./branch-copies.ts";
import { MirrorRemote } from "./mirror-remote.ts";
import { requireSyncScope, syncMirror } from "./mirror-sync.ts";
import { MirrorWorker } from "./mirror-worker.ts";
import { Relay } from "./relay.ts";
import { systemTimers, type WorkerTimers, withPatience } from "./timers.ts";

/** The remote `init` writes into the repository's config; it is the mirror where no other is named. */
export const MIRROR_REMOTE = "mirror";

export class MirrorLink {
  readonly relay: Relay;
  readonly worker: MirrorWorker;
  readonly remote: MirrorRemote;
  readonly #gate: Gate;
  readonly #stop = new AbortController();
  readonly #timers: WorkerTimers;
  #isStale = Promise.withResolvers<void>();
  #refreshing: Promise<void> | undefined;

  private constructor(gate: Gate, remote: MirrorRemote, timers: WorkerTimers) {
    this.#gate = gate;
    this.#timers = timers;
    this.remote = remote;
    const pace = gate.settings.mirrorPace ?? (remote.isLocal ? { burst: 1, interval: 0 } : HOST_PACE);
    this.worker = new MirrorWorker(gate, remote, pace, timers);
    this.relay = new Relay(gate, remote, timers, () => this.#isStale.resolve());
    gate.onAccepted = () => this.worker.wake();
  }

  /** The link of `gate`, or undefined where no mirror is set up. */
  static of(
    gate: Gate,
    env: Readonly<Record<string, string | undefined>>,
    timers: WorkerTimers = systemTimers,
  ): MirrorLink | undefined {
    const configured = gate.repo.config.get(`remote.${MIRROR_REMOTE}.url`) === undefined ? undefined : MIRROR_REMOTE;
    const name = gate.settings.mirrorRemote ?? configured;
    const link = name === undefined ? undefined : new MirrorLink(gate, new MirrorRemote(gate.repo, name, env), timers);
    gate.fence.isGuarding = link !== undefined;
    return link;
  }

  /** Starts the worker, and looks at the mirror's branches now and then. */
  start(): void {
    this.#gate.fence.beginLook();
    this.worker.start();
    this.#refreshing = this.#refresh();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#isStale.resolve();
    await Promise.all([this.worker.stop(), this.#refreshing]);
  }

  report(): MirrorReport {
    return this.worker.report();
  }

  /** `stargate sync`, for `who`. Throws FORBIDDEN, and what keeps the mirror from being read. */
  sync(request: SyncRequest, who: Identity): Promise<SyncReport> {
    requireSyncScope(request, who);
    return syncMirror(this.#gate, this.remote, this.worker, request, who);
  }

  async #refresh(): Promise<void> {
    const { signal } = this.#stop;
    const { settings } = this.#gate;
    let before: MirrorLook | undefined;
    while (!signal.aborted) {
      this.#isStale = Promise.withResolvers<void>();
      try {
        const seen = await withPatience(this.#timers, settings.mirrorTimeout, signal, (limit) =>
          this.remote.refs(LOOK_PREFIXES, limit),
        );
        const look = mirrorLook(seen);
        await refreshBranches(this.#gate, this.remote, look, before, signal);
        before = look;
        // Whatever was done to the mirror by others shows within a look, not with the next transaction.
        this.worker.saw(look.kvRefs);
        logDrift(this.#gate);
      } catch (error) {
        const { code, message } = toKvError(error);
        this.worker.lost();
        if (!signal.aborted) this.#gate.log("warn", "mirror", { code, message, doing: "look at branches" });
      }
      await Promise.race([this.#isStale.promise, this.#timers.sleep(settings.mirrorRefresh, signal)]);
    }
  }
}
