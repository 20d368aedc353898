/** Durations over time: one sketch for each step of a window that moves along. Memory is fixed, whatever is observed. */

import { QuantileSketch } from "./quantile-sketch.ts";

/** What was observed in one step. */
export interface SeriesPoint {
  /** When the step begins, milliseconds since 1970. */
  readonly at: number;
  readonly count: number;
  /** Milliseconds; null where nothing was observed. */
  readonly p50: number | null;
  readonly p95: number | null;
}

export class TimeSeries {
  readonly #step: number;
  readonly #sketches: QuantileSketch[];
  /** Number of the step each sketch counts for; steps are counted from 1970. */
  readonly #steps: number[];

  /** `steps` steps of `step` milliseconds each. */
  constructor(steps: number, step: number) {
    this.#step = step;
    this.#sketches = Array.from({ length: steps }, () => new QuantileSketch());
    this.#steps = Array.from({ length: steps }, () => -1);
  }

  /** Notes a duration of `ms` milliseconds seen at `at`. What is older than its place in the window is left out. */
  add(at: number, ms: number): void {
    const step = Math.floor(at / this.#step);
    const slot = step % this.#sketches.length;
    if (this.#steps[slot]! > step) return;
    if (this.#steps[slot] !== step) {
      this.#sketches[slot]!.clear();
      this.#steps[slot] = step;
    }
    this.#sketches[slot]!.add(ms);
  }

  /** Every step of the window that ends at `now`, oldest first; `open`, what goes on still, counts in the last one. */
  points(now: number, open?: QuantileSketch): SeriesPoint[] {
    const window = this.#window(now);
    const last = window.at(-1)!;
    if (open !== undefined && open.count > 0) window[window.length - 1] = { ...last, sketch: sum(last.sketch, open) };
    return window.map(({ step, sketch }) => ({
      at: step * this.#step,
      count: sketch?.count ?? 0,
      p50: sketch?.quantile(0.5) ?? null,
      p95: sketch?.quantile(0.95) ?? null,
    }));
  }

  /** All of the window in one, with `open`. */
  total(now: number, open?: QuantileSketch): QuantileSketch {
    return sum(...this.#window(now).map(({ sketch }) => sketch), open);
  }

  #window(now: number): { readonly step: number; readonly sketch: QuantileSketch | undefined }[] {
    const { length } = this.#sketches;
    const last = Math.floor(now / this.#step);
    return Array.from({ length }, (_, i) => {
      const step = last - length + 1 + i;
      const slot = step % length;
      return { step, sketch: this.#steps[slot] === step ? this.#sketches[slot] : undefined };
    });
  }
}

function sum(...sketches: readonly (QuantileSketch | undefined)[]): QuantileSketch {
  const total = new QuantileSketch();
  for (const sketch of sketches) if (sketch !== undefined) total.merge(sketch);
  return total;
}
