/** Whether the mirror can be reached: asked at most twice a minute however often somebody wants to know. */

import { KvError, toKvError } from "../../errors.ts";

/** Milliseconds an answer holds. */
const FRESH = 30_000;
/** Milliseconds whoever asks waits for the mirror, and after which the mirror itself is given up. */
const PATIENCE = 3_000;
const GIVE_UP = 20_000;

export class MirrorProbe {
  readonly #ask: (signal: AbortSignal) => Promise<unknown>;
  readonly #now: () => number;
  readonly #patience: number;
  #asked = Number.NEGATIVE_INFINITY;
  #answer: Promise<void> | undefined;
  /** What came of the last question that was answered. */
  #last: { readonly error: KvError | undefined } | undefined;

  /** `ask` talks to the mirror, and rejects where that fails. */
  constructor(ask: (signal: AbortSignal) => Promise<unknown>, now: () => number, patience = PATIENCE) {
    this.#ask = ask;
    this.#now = now;
    this.#patience = patience;
  }

  /** Rejects where the mirror cannot be reached, or has not answered in time. */
  async check(): Promise<void> {
    const now = this.#now();
    if (this.#answer === undefined && (this.#last === undefined || Math.abs(now - this.#asked) >= FRESH)) {
      this.#asked = now;
      this.#answer = this.#probe();
    }
    if (this.#answer !== undefined) await this.#wait(this.#answer);
    if (this.#last?.error !== undefined) throw this.#last.error;
  }

  /** What is known without asking: true until the contrary is. */
  get seemsWell(): boolean {
    return this.#last?.error === undefined;
  }

  async #probe(): Promise<void> {
    try {
      await this.#ask(AbortSignal.timeout(GIVE_UP));
      this.#last = { error: undefined };
    } catch (error) {
      this.#last = { error: toKvError(error) };
    } finally {
      this.#answer = undefined;
    }
  }

  async #wait(answer: Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<"late">();
    const timer = setTimeout(() => resolve("late"), this.#patience);
    const outcome = await Promise.race([answer, promise]);
    clearTimeout(timer);
    if (outcome === "late") throw new KvError("NETWORK", `the mirror has not answered for ${this.#patience} ms`);
  }
}
