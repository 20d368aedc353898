import { expect, test } from "bun:test";
import { RecentObjects } from "../../../src/gitwire/pack/recent-objects.ts";
import { random } from "../../support/random.ts";

const rng = random("recent-objects");

test("gives back what came last, as long as there is room, and nothing else", () => {
  for (const budget of [0, 100_000, 300_000, 1_000_000]) {
    const recent = new RecentObjects(budget);
    const all: Buffer[] = [];
    // Entries that are no objects, or too large, are not added.
    for (let entry = 0; entry < 3_000; entry++) {
      const length = rng.int(10) === 0 ? rng.int(70_000) : rng.int(300);
      all.push(Buffer.alloc(length, entry % 251));
      if (rng.int(20) > 0) recent.add(entry, Buffer.concat([all[entry]!, Buffer.from("more")]), length);
      let held = 0;
      for (let before = Math.max(0, entry - rng.int(200)); before <= entry; before++) {
        const found = recent.get(before);
        if (found === undefined) continue;
        held += found.length;
        if (!found.equals(all[before]!)) throw new Error(`entry ${before} of ${entry} is another`);
      }
      expect(held).toBeLessThanOrEqual(budget);
    }
    expect(recent.get(2_999 - 64 * 1024)).toBeUndefined();
  }
});

test("the first object may be empty", () => {
  const recent = new RecentObjects(256 * 1024);
  recent.add(0, Buffer.from("unused"), 0);
  recent.add(1, Buffer.from("text"), 4);
  expect([recent.get(0)?.toString(), recent.get(1)?.toString(), recent.get(2)]).toEqual(["", "text", undefined]);
});

test("what came so long before that its slot was taken is gone", () => {
  const recent = new RecentObjects(1_000_000);
  for (let entry = 0; entry < 64 * 1024 + 2; entry++) recent.add(entry, Buffer.from("x"), 1);
  expect([recent.get(1), recent.get(2)?.toString(), recent.get(64 * 1024 + 1)?.toString()]).toEqual([
    undefined,
    "x",
    "x",
  ]);
});

test("nothing is left of another pack", () => {
  const recent = new RecentObjects(512 * 1024);
  for (let entry = 0; entry < 100; entry++) recent.add(entry, rng.bytes(10_000), 10_000);
  recent.clear();
  for (let entry = 0; entry < 100; entry++) expect(recent.get(entry)).toBeUndefined();
  recent.add(3, Buffer.from("text"), 4);
  expect([recent.get(3)?.toString(), recent.get(99)]).toEqual(["text", undefined]);
});
