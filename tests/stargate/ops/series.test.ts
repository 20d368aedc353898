/** Quantiles, series and counts in bounded memory, against the exact answers. */

import { describe, expect, test } from "bun:test";
import { CountWindow } from "../../../src/stargate/ops/count-window.ts";
import { QuantileSketch } from "../../../src/stargate/ops/quantile-sketch.ts";
import { TimeSeries } from "../../../src/stargate/ops/time-series.ts";
import { random as newRandom } from "../../support/random.ts";

describe("quantiles", () => {
  test("are at most 5 % off, and add up", () => {
    const random = newRandom("quantile sketch");
    for (let round = 0; round < 20; round++) {
      const all: number[] = [];
      const parts = [new QuantileSketch(), new QuantileSketch(), new QuantileSketch()];
      for (let i = 0; i < 2_000; i++) {
        const ms = 0.2 * Math.exp(random.next() * 15);
        all.push(ms);
        parts[i % 3]!.add(ms);
      }
      const sketch = new QuantileSketch();
      for (const part of parts) sketch.merge(part);
      all.sort((a, b) => a - b);
      expect(sketch.count).toBe(all.length);
      for (const q of [0, 0.5, 0.95, 0.99, 1]) {
        const exact = all[Math.max(0, Math.ceil(q * all.length) - 1)]!;
        expect(Math.abs(sketch.quantile(q)! / exact - 1)).toBeLessThan(0.051);
      }
    }
  });

  test("of nothing, of one, and of what is too short or too long", () => {
    const sketch = new QuantileSketch();
    expect(sketch.quantile(0.5)).toBeUndefined();
    sketch.add(0);
    expect(sketch.quantile(0.5)).toBe(0);
    sketch.add(1e12);
    expect(sketch.quantile(1)).toBeGreaterThan(5e6);
    expect(sketch.most).toBe(1e12);
    sketch.clear();
    expect([sketch.count, sketch.most, sketch.quantile(1)]).toEqual([0, 0, undefined]);
  });
});

describe("series", () => {
  test("each step has its own, the window moves along, and what is too old is left out", () => {
    const series = new TimeSeries(4, 1_000);
    const base = 1_000_000;
    series.add(base, 10);
    series.add(base + 999, 10);
    series.add(base + 2_000, 30);
    expect(series.points(base + 3_500).map(({ count }) => count)).toEqual([2, 0, 1, 0]);
    expect(series.points(base + 3_500)[1]).toEqual({ at: base + 1_000, count: 0, p50: null, p95: null });
    expect(series.total(base + 3_500).count).toBe(3);
    // The first step's place is taken by the fifth.
    series.add(base + 4_000, 50);
    expect(series.points(base + 4_000).map(({ count }) => count)).toEqual([0, 1, 0, 1]);
    series.add(base, 10);
    expect(series.total(base + 4_000).count).toBe(2);
    // Long after, nothing of it is left.
    expect(series.total(base + 60_000).count).toBe(0);
  });
});

describe("counts", () => {
  test("go over the window, by name, and hold no more than it", () => {
    const window = new CountWindow(3, 1_000);
    for (let i = 0; i < 10; i++) window.add(i * 1_000, i % 2 === 0 ? "even" : "odd");
    expect([...window.totals(9_500)]).toEqual([
      ["odd", 2],
      ["even", 1],
    ]);
    expect([...window.totals(11_500)]).toEqual([["odd", 1]]);
    expect([...window.totals(60_000)]).toEqual([]);
    window.add(9_000, "odd", 5);
    expect(window.totals(9_500).get("odd")).toBe(7);
    // A clock that is set back a little loses nothing; one that was far ahead leaves nothing.
    window.add(8_000, "even");
    expect([...window.totals(8_500)]).toEqual([
      ["odd", 7],
      ["even", 2],
    ]);
    window.add(2_000, "late");
    expect([...window.totals(2_500)]).toEqual([["late", 1]]);
  });
});
