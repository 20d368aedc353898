/** What is remembered of objects that were just stored is bounded, and the newest of it is there. */

import { expect, test } from "bun:test";
import { RecentBases, type RootedObject } from "../../../src/gitwire/pack/recent-bases.ts";

test("the newest are there, the oldest are forgotten", () => {
  const bases = new RecentBases(100_000);
  const object = (n: number): RootedObject => ({
    root: { oid: `root ${n}`, kind: "tree", size: 2_000, stream: Buffer.alloc(1_000) },
    deltas: [Buffer.alloc(50)],
  });
  for (let n = 0; n < 1_000; n++) {
    bases.add(`object ${n}`, object(n));
    expect(bases.get(`object ${n}`)?.root.oid).toBe(`root ${n}`);
  }
  const held = Array.from({ length: 1_000 }, (_, n) => n).filter((n) => bases.get(`object ${n}`) !== undefined);
  expect(held.at(-1)).toBe(999);
  expect(held[0]).toBe(1_000 - held.length);
  // At least half of the budget, and at most all of it.
  expect(held.length).toBeGreaterThan(35);
  expect(held.length).toBeLessThan(80);
});
