import { expect, test } from "bun:test";
import { KeptDeltas } from "../../../src/gitwire/pack/kept-deltas.ts";
import { random } from "../../support/random.ts";

const rng = random("kept-deltas");

test("deltas come back as they went in, or not at all beyond the budget", () => {
  const sizes = Array.from({ length: 3_000 }, () => rng.pick([0, 1, 30, 200, 4_095, 4_096, 4_097]));
  const deltas = sizes.map((size, i) => Buffer.alloc(size, i));
  for (const budget of [0, 256 * 1024 - 1, 256 * 1024, 1024 * 1024, 1e9]) {
    const kept = new KeptDeltas(budget);
    deltas.forEach((delta, i) => {
      // Not every delta has to be offered.
      if (i % 7 > 0) kept.add(i, delta);
    });
    let bytes = 0;
    deltas.forEach((delta, i) => {
      const found = kept.get(i);
      if (i % 7 === 0 || delta.length > 4_096 || budget < 256 * 1024) expect(found).toBeUndefined();
      else if (budget === 1e9) expect(found?.equals(delta)).toBe(true);
      else if (found !== undefined) expect(found.equals(delta)).toBe(true);
      bytes += found?.length ?? 0;
    });
    expect(bytes).toBeLessThanOrEqual(budget);
    expect(kept.get(deltas.length + 100_000)).toBeUndefined();
  }
});
