/**
 * Tells how far a long step is: nothing in its first half second, then a line that replaces itself ten times a second at most. Where
 * it is shown, and whether at all, the surroundings decide.
 */

import { formatSize } from "../quantity.ts";

/** Milliseconds before anything is shown, and between two lines. */
const SILENT = 500;
const PAUSE = 100;

export class ProgressMeter {
  readonly #what: string;
  readonly #show: (text: string) => void;
  readonly #now: () => number;
  readonly #start: number;
  #next: number;
  #shown = false;

  /** `what` is done: "storing". `now` in milliseconds. */
  constructor(what: string, show: (text: string) => void, now: () => number) {
    this.#what = what;
    this.#show = show;
    this.#now = now;
    this.#start = now();
    this.#next = this.#start + SILENT;
  }

  /** `done` bytes of `size` (undefined: nobody knows) are done; `more` says what else there is to say. */
  tell(done: number, size: number | undefined, more: () => string = () => ""): void {
    const now = this.#now();
    if (now < this.#next) return;
    this.#next = now + PAUSE;
    this.#shown = true;
    const part = size === undefined ? formatSize(done) : `${percent(done, size)} of ${formatSize(size)}`;
    const rate = formatSize((done * 1000) / Math.max(1, now - this.#start));
    this.#show([`${this.#what}: ${part}`, `${rate}/s`, more()].filter((text) => text !== "").join(", "));
  }

  /** Takes the line away. */
  end(): void {
    if (this.#shown) this.#show("");
    this.#shown = false;
  }
}

function percent(done: number, size: number): string {
  return `${size === 0 ? 100 : Math.min(100, Math.floor((done * 100) / size))} %`;
}
