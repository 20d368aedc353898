/** A clock that stands still until a test winds it, and knows whether whoever sleeps by it has nothing else to do. */

import type { WorkerTimers } from "../../src/stargate/mirror/timers.ts";

interface Sleeper {
  until: number;
  /** It only watches over work that goes on meanwhile. */
  readonly isPatience: boolean;
  readonly wake: () => void;
}

export class VirtualTimers implements WorkerTimers {
  readonly #patience: number;
  readonly #sleepers = new Set<Sleeper>();
  #now: number;
  chance = 0.5;

  /** `patience`: milliseconds of the sleeps that only watch over a connection. */
  constructor(now: number, patience: number) {
    this.#now = now;
    this.#patience = patience;
  }

  now(): number {
    return this.#now;
  }

  random(): number {
    return this.chance;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const sleeper: Sleeper = {
        until: this.#now + ms,
        isPatience: ms === this.#patience,
        wake: () => {
          this.#sleepers.delete(sleeper);
          signal.removeEventListener("abort", sleeper.wake);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal.addEventListener("abort", sleeper.wake, { once: true });
    });
  }

  /** Sets the clock, also back. Whoever sleeps does so for as long as before: the system's timers know nothing of the clock. */
  set(now: number): void {
    for (const one of this.#sleepers) one.until += now - this.#now;
    this.#now = now;
  }

  /**
   * Lets `ms` milliseconds pass, from one sleeper to the next. In between whoever was woken works until it sleeps again, or
   * `isIdle` says that nothing is left to do. `stuck`: something hangs, and only patience is left to end it.
   */
  async pass(ms: number, isIdle: () => boolean, isStuck: () => boolean = () => false): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await this.#quiet(() => isIdle() || isStuck());
      const next = Math.min(...[...this.#sleepers].map(({ until }) => until));
      if (next > end) break;
      this.#now = Math.max(this.#now, next);
      for (const one of [...this.#sleepers]) if (one.until <= this.#now) one.wake();
    }
    this.#now = end;
  }

  async #quiet(isIdle: () => boolean): Promise<void> {
    const until = performance.now() + 20_000;
    do {
      if (performance.now() > until) throw new Error("whoever was woken works for ever");
      // Whoever was woken takes note of it before the first look.
      await new Promise((resolve) => setImmediate(resolve));
    } while (![...this.#sleepers].some(({ isPatience }) => !isPatience) && !isIdle());
  }
}
