/** What is remembered of values: the last version of each key of a namespace, within bounds. */

import { expect, test } from "bun:test";
import { parseKey } from "../../src/kv/key.ts";
import { KnownGroups, NodeList } from "../../src/kv/known-groups.ts";

const OID = "1".repeat(40);
const value = (groups: number) => ({ oid: OID, nodes: Buffer.alloc(groups * 32, groups) });
const [a, b, c] = ["a", "b", "c"].map(parseKey) as [ReturnType<typeof parseKey>, ...ReturnType<typeof parseKey>[]];

test("namespaces have their own keys", () => {
  const known = new KnownGroups();
  const [one, two] = [known.within("one"), known.within("two")];
  one.learn(a, value(1));
  two.learn(a, value(2));
  one.learn(a, value(3));
  expect([one.of(a)?.nodes.length, two.of(a)?.nodes.length, known.of(a), one.of(b!)]).toEqual([
    96,
    64,
    undefined,
    undefined,
  ]);
});

test("those that were read longest ago go first, and one that is too large is not kept", () => {
  const known = new KnownGroups(4 * (10 * 32 + 256));
  for (const [key, groups] of [
    [a, 10],
    [b!, 10],
    [c!, 10],
    [a, 9],
  ] as const)
    known.learn(key, value(groups));
  expect(known.of(b!)).toBeDefined();
  known.learn(parseKey("d"), value(10));
  known.learn(parseKey("e"), value(10));
  expect([known.of(a)?.nodes.length, known.of(b!), known.of(c!)?.nodes.length]).toEqual([288, undefined, 320]);
  known.learn(a, value(60));
  known.learn(c!, value(0));
  expect([known.of(a), known.of(c!)]).toEqual([undefined, undefined]);
});

test("a list of nodes has one for each group that is followed by something", () => {
  const group = 64 * 1024;
  const sizes = [1, group, group + 1, 2 * group, 10 * group + 5];
  expect(sizes.map((size) => new NodeList(size).bytes.length / 32)).toEqual([0, 0, 1, 1, 10]);
});
