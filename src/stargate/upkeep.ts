/**
 * Keeps the repository of a gate tidy while it serves: packs loose objects, rolls small packs up, takes back the copies of large
 * bases that thin packs brought, sweeps what killed writers left, and gives memory back.
 */

import { toKvError } from "../errors.ts";
import type { Combine } from "../gitwire/store/combine.ts";
import { CopyFinder, foldCopies } from "../gitwire/store/fold-copies.ts";
import { clearPendingGcLock } from "../gitwire/store/gc-lock.ts";
import { sweepLeftovers } from "../gitwire/store/leftovers.ts";
import { hasManyLoose } from "../gitwire/store/loose-count.ts";
import { needsRollUp, rollUp } from "../gitwire/store/maintenance.ts";
import { packLoose } from "../gitwire/store/pack-loose.ts";
import { LIMITS } from "../limits.ts";
import { HeapMeter } from "../memory.ts";
import type { Gate } from "./gate.ts";
import { releaseKeptPacks } from "./kept-packs.ts";

/** Milliseconds between two looks: one compares two numbers and reads one folder. */
const LOOK = 1_000;
/** Milliseconds until the next try where somebody else tidies up, or something was wrong. */
const LATER = 60_000;
/** Milliseconds until the first try after packs could not be combined: it may be that only the process that does it was killed. */
const SOON = 5_000;
/** Milliseconds between two looks at the packs the journal keeps, unless a roll-up comes before. */
const RELEASE = 10_000;
/** Milliseconds after which objects that nobody read are no longer kept in memory. */
const UNUSED = 5_000;
/** Bytes of garbage that are collected. */
const GARBAGE = 24 * 1024 * 1024;
/** Of what is combined at once. */
const BOUNDS = { maxObjects: LIMITS.combinedObjects };
/** Milliseconds between two sweeps. */
const SWEEP = 24 * 60 * 60_000;

export class Upkeep {
  readonly #gate: Gate;
  readonly #stop = new AbortController();
  readonly #timer: Timer;
  /** When it looked last: where the clock was set back since, nothing waits for the times before. */
  #looked = 0;
  #notBefore = 0;
  #nextSweep = 0;
  #nextForget = 0;
  #nextRelease = 0;
  readonly #heap = new HeapMeter(GARBAGE);
  #running: Promise<void> | undefined;
  /** Whether packs could not be combined the last time. */
  #hasFailed = false;
  readonly #copies: CopyFinder;

  readonly #combiner: { readonly combine?: Combine };

  /** Starts. `combine`: who combines packs, if not this thread. */
  constructor(gate: Gate, { combine }: { readonly combine?: Combine | undefined } = {}) {
    this.#gate = gate;
    this.#combiner = combine === undefined ? {} : { combine };
    this.#copies = new CopyFinder(gate.repo.objects);
    this.#timer = setInterval(() => this.#look(), LOOK);
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
    if (now < this.#looked) {
      this.#notBefore = 0;
      this.#nextSweep = 0;
      this.#nextForget = 0;
      this.#nextRelease = 0;
    }
    this.#looked = now;
    if (now >= this.#nextForget) this.#forget(now);
    // By itself the runtime lets garbage grow to as much as there is of everything else, and keeps what that took.
    this.#heap.collect();
    if (this.#running !== undefined || now < this.#notBefore || this.#gate.failure !== undefined) return;
    if (now >= this.#nextSweep) this.#sweep(now);
    if (now >= this.#nextRelease) this.#release(now);
    const work = this.#wanted(now);
    if (work === "nothing") return;
    this.#running = (work === "pack" ? this.#packLoose(now) : this.#combine(now)).finally(() => {
      this.#running = undefined;
    });
  }

  /** What there is to do: loose objects to pack, packs to combine. */
  #wanted(now: number): "pack" | "combine" | "nothing" {
    const { repo } = this.#gate;
    try {
      if (!repo.isAutoMaintained) return "nothing";
      if (hasManyLoose(repo.objectsDir, repo.format, repo.looseLimit)) return "pack";
      return needsRollUp(repo.objects, BOUNDS) || this.#copies.isStale() ? "combine" : "nothing";
    } catch (error) {
      this.#notBefore = now + LATER;
      this.#warn("look at the packs", error);
      return "nothing";
    }
  }

  #forget(now: number): void {
    this.#nextForget = now + UNUSED;
    this.#gate.repo.objects.forgetUnused();
  }

  async #packLoose(start: number): Promise<void> {
    const { repo, log, clock } = this.#gate;
    const { signal } = this.#stop;
    try {
      const { commonDir, looseLimit: maxLoose } = repo;
      const result = await packLoose(repo.objects, { commonDir, signal, maxLoose });
      if (result.kind === "packed") {
        const { objects, damaged } = result;
        log(damaged > 0 ? "warn" : "info", "upkeep", { loose: objects, damaged, ms: clock.now() - start });
      }
      // Damaged ones stay, and would be met again at once.
      if (result.kind !== "packed" || result.damaged > 0) this.#notBefore = clock.now() + LATER;
    } catch (error) {
      if (signal.aborted) return;
      this.#notBefore = clock.now() + LATER;
      this.#warn("pack loose objects", error);
    }
  }

  /** Combines packs where they are many, else where they hold large objects twice. */
  async #combine(start: number): Promise<void> {
    const { repo, log, clock } = this.#gate;
    const { commonDir, objects } = repo;
    const options = { ...BOUNDS, ...this.#combiner, commonDir, signal: this.#stop.signal };
    try {
      let result = await rollUp(objects, options);
      if (result.kind === "nothing") result = await foldCopies(objects, options, this.#copies);
      this.#hasFailed = false;
      if (result.kind === "rolled") {
        this.#release(clock.now());
        const { objectCount, byteLength } = result.pack;
        log("info", "upkeep", {
          packs: result.packs,
          objects: objectCount,
          bytes: byteLength,
          ms: clock.now() - start,
        });
      } else if (result.kind === "busy" || needsRollUp(objects, BOUNDS)) this.#notBefore = clock.now() + LATER;
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.#notBefore = clock.now() + (this.#hasFailed ? LATER : SOON);
      this.#hasFailed = true;
      this.#warn("combine packs", error);
    }
  }

  /** The journal need not keep what a roll-up has brought to disk. */
  #release(now: number): void {
    this.#nextRelease = now + RELEASE;
    try {
      releaseKeptPacks(this.#gate.repo, this.#gate.journal, LIMITS.keptPacks);
    } catch (error) {
      this.#warn("release packs", error);
    }
  }

  #sweep(now: number): void {
    this.#nextSweep = now + SWEEP;
    try {
      const { commonDir, objectsDir } = this.#gate.repo;
      clearPendingGcLock(commonDir);
      const removed = sweepLeftovers(objectsDir, now);
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
