/** The differences of two states against plain maps of what they hold. */

import { expect, test } from "bun:test";
import { keyText } from "../../src/kv/key.ts";
import type { Operation } from "../../src/kv/operation.ts";
import type { NamespaceState } from "../../src/kv/state.ts";
import { diffStates, isVisible } from "../../src/kv/state-diff.ts";
import { KvModel } from "../support/kv-model.ts";
import { random } from "../support/random.ts";

test("any two states of a history, in both directions, by prefix", async () => {
  const seeded = random("state-diff");
  const model = new KvModel();
  const live = new Map<string, string>();
  const states: { state: NamespaceState; held: Map<string, string> }[] = [];
  const long = (i: number): string => `long:${"y".repeat(250)}${i}`;
  for (let i = 0; i < 40; i++) {
    const operations: Operation[] = [];
    const touched = new Set<string>();
    for (let n = 0; n < 1 + seeded.int(30); n++) {
      const key = seeded.int(10) === 0 ? long(seeded.int(5)) : `${seeded.pick(["a", "b", "é"])}:${seeded.int(300)}`;
      if (touched.has(key)) continue;
      touched.add(key);
      if (live.has(key) && seeded.int(3) === 0) {
        operations.push(model.del(key));
        live.delete(key);
      } else {
        const value = `v${seeded.int(3)}`;
        operations.push(model.set(key, value, value === "v2" ? { labels: { a: "1" } } : {}));
        live.set(key, value);
      }
    }
    model.commit(operations);
    states.push({ state: model.state!, held: new Map(live) });
  }
  for (let run = 0; run < 60; run++) {
    const [a, b] = [seeded.pick(states), seeded.pick(states)];
    const prefix = seeded.pick(["", "a:", "a:1", "long:", "Ã©:"]);
    const found = await diffStates(model.objects, a.state, b.state, prefix);
    const keys = found.map(({ key }) => key);
    expect(keys).toEqual([...keys].sort());
    const seen = found.filter(isVisible).map(({ key, before, after }) => {
      const text = keyText(key);
      return [text, before && a.held.get(text), after && b.held.get(text)];
    });
    const expected = [...new Set([...a.held.keys(), ...b.held.keys()])]
      .filter((key) => Buffer.from(key).latin1Slice().startsWith(prefix) && a.held.get(key) !== b.held.get(key))
      .sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)))
      .map((key) => [key, a.held.get(key), b.held.get(key)]);
    expect(seen).toEqual(expected);
  }
  expect((await diffStates(model.objects, undefined, states[0]!.state)).length).toBe(states[0]!.held.size);
});

test("who waits is told how many were found, and may break it off", async () => {
  const model = new KvModel();
  model.commit(Array.from({ length: 20_000 }, (_, i) => model.set(`k${i}`, "x")));
  const told: string[] = [];
  const progress = (text: string): void => void told.push(text);
  await diffStates(model.objects, undefined, model.state!, "", { progress });
  expect(told.at(-1)).toBe("");
  expect(told[0]).toMatch(/^comparing: \d+ keys differ$/);
  const abort = new AbortController();
  const once = (): void => abort.abort(new Error("broken off"));
  const broken = diffStates(model.objects, undefined, model.state!, "", { signal: abort.signal, progress: once });
  expect(await broken.catch((error: Error) => error.message)).toBe("broken off");
}, 60_000);

test("costs what differs, not what there is", async () => {
  const model = new KvModel();
  model.commit(Array.from({ length: 5_000 }, (_, i) => model.set(`k${i}`, "x")));
  const before = model.state!;
  model.commit(Array.from({ length: 20 }, (_, i) => model.set(`k${i * 100}`, "y")));
  model.objects.reads.tree = 0;
  model.objects.reads.blob = 0;
  expect((await diffStates(model.objects, before, model.state!)).length).toBe(20);
  expect(model.objects.reads.blob).toBe(40);
  // Two of each of the few levels above each key.
  expect(model.objects.reads.tree).toBeLessThanOrEqual(2 * 20 * 3);
});
