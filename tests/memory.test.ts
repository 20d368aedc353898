/** When buffers are collected: where work makes the process grow, and not where it goes on in the same memory. */

import { expect, spyOn, test } from "bun:test";
import { BufferMeter } from "../src/memory.ts";

const MiB = 1024 * 1024;

/** Collections while `work` is done a hundred times. */
function collectionsOf(work: () => void): number {
  const collect = spyOn(Bun, "gc");
  try {
    for (let i = 0; i < 100; i++) work();
    return collect.mock.calls.length;
  } finally {
    collect.mockRestore();
  }
}

test("a process that grows by its buffers has them collected", () => {
  const meter = new BufferMeter();
  const taken: Buffer[] = [];
  const collections = collectionsOf(() => {
    taken.push(Buffer.alloc(MiB, 1));
    meter.add(MiB);
  });
  expect(taken.length).toBe(100);
  expect(collections).toBeGreaterThan(0);
});

test("work in one buffer that is used again is not held up", () => {
  const room = Buffer.alloc(MiB, 1);
  const meter = new BufferMeter();
  expect(
    collectionsOf(() => {
      room.fill(2);
      meter.add(room.length);
    }),
  ).toBe(0);
});

test("small things are not counted", () => {
  const meter = new BufferMeter();
  const kept: Buffer[] = [];
  const collections = collectionsOf(() => {
    kept.push(Buffer.alloc(MiB, 1));
    for (let i = 0; i < 1_024; i++) meter.add(1_024);
  });
  expect([collections, kept.length]).toEqual([0, 100]);
});
