/** When buffers are collected: where work makes the process grow, and not where it goes on in the same memory. */

import { expect, spyOn, test } from "bun:test";
import { BufferMeter, HeapMeter } from "../src/memory.ts";

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

/** Looks at a heap of so many MiB one after the other; for each whether it was collected. Of what is collected 40 MiB are left. */
function looks(...sizes: readonly number[]): boolean[] {
  let used = 40 * MiB;
  const memory = spyOn(process, "memoryUsage").mockImplementation((() => ({ heapUsed: used })) as never);
  const collect = spyOn(Bun, "gc").mockImplementation(() => {
    used = 40 * MiB;
    return 0;
  });
  try {
    const meter = new HeapMeter(24 * MiB);
    return sizes.map((size) => {
      used = size * MiB;
      const before = collect.mock.calls.length;
      const said = meter.collect();
      expect(collect.mock.calls.length - before).toBe(said ? 1 : 0);
      return said;
    });
  } finally {
    collect.mockRestore();
    memory.mockRestore();
  }
}

test("a heap that has grown is collected, and measured from what was left", () => {
  expect(looks(40, 63, 65, 63, 41, 64)).toEqual([false, false, true, false, false, true]);
});

test("a heap that the runtime has collected itself is measured from there", () => {
  expect(looks(60, 20, 43, 44)).toEqual([false, false, false, true]);
});

test("a large heap may grow by half", () => {
  let used = 400 * MiB;
  const memory = spyOn(process, "memoryUsage").mockImplementation((() => ({ heapUsed: used })) as never);
  const collect = spyOn(Bun, "gc").mockImplementation(() => 0);
  try {
    const meter = new HeapMeter(24 * MiB);
    used = 590 * MiB;
    expect(meter.collect()).toBe(false);
    used = 600 * MiB;
    expect(meter.collect()).toBe(true);
    expect(meter.collect()).toBe(false);
  } finally {
    collect.mockRestore();
    memory.mockRestore();
  }
});
