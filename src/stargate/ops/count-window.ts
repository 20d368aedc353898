/** How often things happened, by name, over a window that moves along in steps. */

export class CountWindow {
  /** By number of the step; steps are counted from 1970. */
  readonly #steps = new Map<number, Map<string, number>>();
  readonly #step: number;
  readonly #length: number;

  /** `length` steps of `step` milliseconds each. */
  constructor(length: number, step: number) {
    this.#length = length;
    this.#step = step;
  }

  /** Counts `count` more of `name` at `at`. */
  add(at: number, name: string, count = 1): void {
    const step = Math.floor(at / this.#step);
    let counts = this.#steps.get(step);
    if (counts === undefined) {
      counts = new Map();
      this.#steps.set(step, counts);
      for (const other of this.#steps.keys()) if (!this.#isNear(other, step)) this.#steps.delete(other);
    }
    counts.set(name, (counts.get(name) ?? 0) + count);
  }

  /** How often each was seen in the window that ends at `now`. */
  totals(now: number): Map<string, number> {
    const last = Math.floor(now / this.#step);
    const totals = new Map<string, number>();
    for (const [step, counts] of this.#steps) {
      if (!this.#isNear(step, last)) continue;
      for (const [name, count] of counts) totals.set(name, (totals.get(name) ?? 0) + count);
    }
    return totals;
  }

  /** Within the window that ends with the step `last`; or as far behind it, which a clock that was set back leaves. */
  #isNear(step: number, last: number): boolean {
    return Math.abs(step - last) < this.#length;
  }
}
