import { expect, test } from "bun:test";
import type { GitObject } from "../../../src/gitwire/object/object.ts";
import { ObjectCache } from "../../../src/gitwire/pack/object-cache.ts";
import { random } from "../../support/random.ts";

const blob = (size: number): GitObject => ({ kind: "blob", data: Buffer.alloc(size) });
/** What an object of 744 bytes costs is 1,000: 256 are its entry's. */
const SIZE = 744;

function filled(budget: number, count: number): ObjectCache {
  const cache = new ObjectCache(budget);
  for (let i = 0; i < count; i++) cache.set(`k${i}`, blob(SIZE));
  return cache;
}

const held = (cache: ObjectCache, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `k${i}`).filter((key) => cache.get(key) !== undefined);

test("what was not used for longest is dropped", () => {
  const cache = new ObjectCache(10_000);
  for (let i = 0; i < 100; i++) {
    cache.set(`k${i}`, blob(SIZE));
    // The first one is used all the time.
    expect(cache.get("k0")).toBeDefined();
    expect(cache.get(`k${i}`)).toBeDefined();
  }
  expect(cache.get("k1")).toBeUndefined();
  expect(cache.get("k50")).toBeUndefined();
});

test("the budget is never passed", () => {
  const { int } = random("object cache");
  const cache = new ObjectCache(50_000);
  for (let i = 0; i < 5_000; i++) {
    const key = `k${int(200)}`;
    if (cache.get(key) === undefined) cache.set(key, blob(int(20_000)));
    expect(cache.bytes).toBeLessThanOrEqual(50_000);
  }
  expect(cache.bytes).toBeGreaterThan(0);
});

test("an object above a quarter of the budget is not kept", () => {
  const cache = new ObjectCache(4_000);
  cache.set("fits", blob(SIZE));
  cache.set("large", blob(SIZE + 1));
  expect([cache.hasRoom(SIZE), cache.hasRoom(SIZE + 1)]).toEqual([true, false]);
  expect(cache.get("fits")?.data.length).toBe(SIZE);
  expect(cache.get("large")).toBeUndefined();
});

test("a key that is there keeps its object", () => {
  const cache = new ObjectCache(10_000);
  const first = blob(10);
  cache.set("k", first);
  const { bytes } = cache;
  cache.set("k", blob(20));
  expect(cache.get("k")).toBe(first);
  expect(cache.bytes).toBe(bytes);
});

test("aged, it keeps what was used since the time before", () => {
  const cache = filled(50_000, 10);
  cache.age();
  expect(cache.bytes).toBe(10_000);
  expect(held(cache, 3)).toEqual(["k0", "k1", "k2"]);
  cache.age();
  expect(cache.bytes).toBe(3_000);
  cache.set("k9", blob(SIZE));
  cache.age();
  expect([held(cache, 10), cache.bytes]).toEqual([["k9"], 2_000]);
  cache.age();
  cache.age();
  expect(cache.bytes).toBe(0);
});

test("cleared, it is empty and takes objects again", () => {
  const cache = filled(10_000, 20);
  cache.clear();
  expect([cache.bytes, held(cache, 20)]).toEqual([0, []]);
  cache.set("k1", blob(SIZE));
  expect(held(cache, 20)).toEqual(["k1"]);
});
