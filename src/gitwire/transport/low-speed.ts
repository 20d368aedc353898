/**
 * Gives up a transfer that is too slow (git: git-config `http.lowSpeedLimit` and `http.lowSpeedTime`, GIT_HTTP_LOW_SPEED_LIMIT and
 * GIT_HTTP_LOW_SPEED_TIME; curl's CURLOPT_LOW_SPEED_*). Bytes of both directions count. Only time spent waiting for the other side
 * counts: while we are busy ourselves nothing can move.
 */

import { KvError } from "../../errors.ts";
import { parseInteger } from "../config/config-value.ts";
import type { Environment } from "./environment.ts";

export interface LowSpeed {
  readonly bytesPerSecond: number;
  readonly seconds: number;
}

/** The rule, undefined where there is none; `get` reads `http.<key>` for the URL at hand. */
export function lowSpeedRule(get: (key: string) => string | undefined, env: Environment): LowSpeed | undefined {
  const number = (key: string, variable: string): number => {
    const told = env[variable];
    // As strtol: the variable's leading digits.
    if (told !== undefined) return Number.parseInt(told, 10) || 0;
    const value = get(key);
    return value === undefined ? 0 : parseInteger(`http.${key}`, value);
  };
  const bytesPerSecond = number("lowspeedlimit", "GIT_HTTP_LOW_SPEED_LIMIT");
  const seconds = number("lowspeedtime", "GIT_HTTP_LOW_SPEED_TIME");
  return bytesPerSecond > 0 && seconds > 0 ? { bytesPerSecond, seconds } : undefined;
}

/** Milliseconds from one look at the clock to the next, and of what one speed is the average. */
const TICK = 250;
const WINDOW = 1_000;

/** Watches one request or one answer. */
export class SpeedGuard {
  readonly #rule: LowSpeed;
  readonly #shownUrl: string;
  readonly #onSlow: () => void;
  #bytes = 0;
  /** Milliseconds waited since the last speed was taken, and in slow windows one after another. */
  #waited = 0;
  #slow = 0;
  #mark = 0;

  /** `onSlow` ends the transfer. */
  constructor(rule: LowSpeed, shownUrl: string, onSlow: () => void) {
    this.#rule = rule;
    this.#shownUrl = shownUrl;
    this.#onSlow = onSlow;
  }

  /** So many bytes have moved. */
  count(bytes: number): void {
    this.#bytes += bytes;
  }

  /** What `work` gives; rejects with NETWORK where the transfer gets too slow while it is waited for. */
  async during<T>(work: Promise<T>): Promise<T> {
    this.#mark = performance.now();
    let timer: ReturnType<typeof setInterval> | undefined;
    const slow = new Promise<never>((_, reject) => {
      timer = setInterval(() => {
        if (!this.#isTooSlow()) return;
        reject(this.#error());
        this.#onSlow();
      }, TICK);
    });
    try {
      const result = await Promise.race([work, slow]);
      // A byte now and then never lets the timer come to its turn.
      if (!this.#isTooSlow()) return result;
      this.#onSlow();
      throw this.#error();
    } finally {
      clearInterval(timer);
    }
  }

  #error(): KvError {
    const { bytesPerSecond, seconds } = this.#rule;
    const least = `${bytesPerSecond} bytes a second for ${seconds} s`;
    return new KvError("NETWORK", `the transfer with ${this.#shownUrl} was too slow: less than ${least}`, {
      hint: "http.lowSpeedLimit and http.lowSpeedTime decide",
    });
  }

  #isTooSlow(): boolean {
    const now = performance.now();
    this.#waited += now - this.#mark;
    this.#mark = now;
    if (this.#waited >= WINDOW) {
      const isSlow = this.#bytes * 1_000 < this.#rule.bytesPerSecond * this.#waited;
      this.#slow = isSlow ? this.#slow + this.#waited : 0;
      this.#waited = 0;
      this.#bytes = 0;
    }
    return this.#slow >= this.#rule.seconds * 1_000;
  }
}
