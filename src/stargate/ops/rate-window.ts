/** How often something went well or not over a window that moves along, in steps. */

interface Step {
  readonly at: number;
  good: number;
  bad: number;
}

export class RateWindow {
  readonly #steps: Step[] = [];
  readonly #step: number;
  readonly #length: number;

  /** `length` steps of `step` milliseconds each. */
  constructor(length: number, step: number) {
    this.#length = length;
    this.#step = step;
  }

  add(at: number, isGood: boolean): void {
    const step = Math.floor(at / this.#step);
    let last = this.#steps.at(-1);
    // A clock that was set back counts for the step that is open.
    if (last === undefined || last.at < step) {
      last = { at: step, good: 0, bad: 0 };
      this.#steps.push(last);
      if (this.#steps.length > this.#length) this.#steps.shift();
    }
    if (isGood) last.good++;
    else last.bad++;
  }

  /** Both counts over the window that ends at `now`. */
  total(now: number): { readonly good: number; readonly bad: number } {
    const first = Math.floor(now / this.#step) - this.#length + 1;
    let [good, bad] = [0, 0];
    for (const step of this.#steps) {
      if (step.at < first) continue;
      good += step.good;
      bad += step.bad;
    }
    return { good, bad };
  }
}
