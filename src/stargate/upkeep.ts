/** Keeps the repository of a gate tidy while it serves: rolls small packs up, and sweeps what killed writers left. */

import { toKvError } from "../errors.ts";
import { sweepLeftovers } from "../gitwire/store/leftovers.ts";
import { needsRollUp, rollUp } from "../gitwire/store/maintenance.ts";
import type { Gate } from "./gate.ts";

/** Milliseconds between two looks: one compares two numbers. */
const LOOK = 1_000;
/** Milliseconds until the next try where somebody else tidies up, or something was wrong. */
const LATER = 60_000;
/** Milliseconds between two sweeps. */
const SWEEP = 24 * 60 * 60_000;

export class Upkeep {
  readonly #gate: Gate;
  readonly #stop = new AbortController();
  readonly #timer: Timer;
  #notBefore = 0;
  #nextSweep = 0;
  #running: Promise<void> | undefined;

  /** Starts; looks every `every` milliseconds. */
  constructor(gate: Gate, every = LOOK) {
    this.#gate = gate;
    this.#timer = setInterval(() => this.#look(), every);
    this.#timer.unref();
  }

  /** Breaks off what is under way; nothing of it is left. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#running;
  }

  #look(): void {
    const now = this.#gate.clock.now();
    if (this.#running !== undefined || now < this.#notBefore || this.#gate.failure !== undefined) return;
    if (now >= this.#nextSweep) this.#sweep(now);
    if (!needsRollUp(this.#gate.repo.objects) || !this.#gate.repo.isAutoMaintained) return;
    this.#running = this.#rollUp(now).finally(() => {
      this.#running = undefined;
    });
  }

  async #rollUp(start: number): Promise<void> {
    const { repo, log, clock } = this.#gate;
    const { signal } = this.#stop;
    try {
      const result = await rollUp(repo.objects, { commonDir: repo.commonDir, signal });
      if (result.kind === "rolled") {
        const { objectCount, byteLength } = result.pack;
        log("info", "upkeep", {
          packs: result.packs,
          objects: objectCount,
          bytes: byteLength,
          ms: clock.now() - start,
        });
      } else this.#notBefore = clock.now() + LATER;
    } catch (error) {
      if (signal.aborted) return;
      this.#notBefore = clock.now() + LATER;
      this.#warn("roll up packs", error);
    }
  }

  #sweep(now: number): void {
    this.#nextSweep = now + SWEEP;
    try {
      const removed = sweepLeftovers(this.#gate.repo.objectsDir, now);
      if (removed > 0) this.#gate.log("info", "upkeep", { removed });
    } catch (error) {
      this.#warn("sweep leftovers", error);
    }
  }

  #warn(doing: string, error: unknown): void {
    const { code, message } = toKvError(error);
    this.#gate.log("warn", "upkeep", { code, message, doing });
  }
}
