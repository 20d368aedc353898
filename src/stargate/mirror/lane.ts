/**
 * How the pushes of one namespace (or of the policy) fare. What keeps one lane from the mirror is no matter of the others: it
 * waits by itself, and is pushed by itself until it gets through.
 */

import type { KvError } from "../../errors.ts";
import type { StuckLane } from "../../kv/stargate-status.ts";
import { backoff } from "./pace.ts";
import { isPermanent } from "./refusal.ts";

/** Milliseconds until what was refused for good is tried again, or a diverged mirror looked at: somebody may have acted. */
export const PARKED_WAIT = 600_000;

/** What the mirror said no to, or is wrong with it. */
type Trouble = {
  readonly state: "waiting" | "blocked" | "diverged";
  readonly error: string;
  readonly since: number;
  /** When this was found out, and when it is tried again: milliseconds since 1970. */
  readonly at: number;
  readonly nextTry: number;
};

export class Lane {
  readonly ns: string;
  /** Pushed by itself: a push with others was refused, and who of them is to blame is not known. */
  isAlone = false;
  /** Transactions the next push takes at the most; undefined: all. */
  most: number | undefined;
  #failures = 0;
  #trouble: Trouble | undefined;

  constructor(ns: string) {
    this.ns = ns;
  }

  /** When it may be tried again; undefined: at once. */
  get nextTry(): number | undefined {
    return this.#trouble?.nextTry;
  }

  get hasDiverged(): boolean {
    return this.#trouble?.state === "diverged";
  }

  get isBlocked(): boolean {
    return this.#trouble?.state === "blocked";
  }

  isDue(now: number): boolean {
    return this.wait(now) === 0;
  }

  /** Milliseconds until it may be tried; 0 too where the clock was set back since: nobody waits an hour for that. */
  wait(now: number): number {
    if (this.#trouble === undefined || now < this.#trouble.at) return 0;
    return Math.max(0, this.#trouble.nextTry - now);
  }

  succeeded(): void {
    this.#failures = 0;
    this.#trouble = undefined;
    this.isAlone = false;
  }

  /** The mirror refused it: it waits, long where trying again cannot help by itself. */
  refused(error: KvError, now: number, random: number): void {
    this.#failures++;
    const isBlocked = isPermanent(error);
    const wait = isBlocked ? PARKED_WAIT : backoff(this.#failures, random);
    this.#note(isBlocked ? "blocked" : "waiting", error.message, now, now + wait);
    this.isAlone = true;
  }

  /** The mirror has commits that are not ours. */
  diverged(now: number): void {
    this.#note("diverged", "the mirror has commits that are not ours", now, now + PARKED_WAIT);
  }

  /** The mirror has no longer what kept it from us. */
  notDiverged(): void {
    if (this.hasDiverged) this.#trouble = undefined;
  }

  /** Somebody acted: try at once. */
  retry(now: number): void {
    if (this.#trouble !== undefined) this.#trouble = { ...this.#trouble, nextTry: now };
  }

  /** How it stands, undefined while all is well. */
  report(): StuckLane | undefined {
    if (this.#trouble === undefined) return undefined;
    const { state, error, since, nextTry } = this.#trouble;
    return { ns: this.ns, state, error, since, nextTry, failures: this.#failures };
  }

  #note(state: Trouble["state"], error: string, now: number, nextTry: number): void {
    const since = this.#trouble?.since ?? now;
    this.#trouble = { state, error, since, at: now, nextTry };
  }
}
