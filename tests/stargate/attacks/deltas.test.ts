/**
 * Attacks on the comparison of a tree with the one it came as a delta of, which stands for reading both: forged trees of a store with many
 * keys, each sent as a delta of the tree that it replaces, under commits that a writer has signed.
 */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { Arena } from "../../support/arena.ts";
import { asDeltas } from "../../support/as-deltas.ts";
import type { Files } from "../../support/forge.ts";
import { type TreeForgery, withTrees } from "../../support/forged-trees.ts";
import { verdict } from "../../support/stargate.ts";

setDefaultTimeout(120_000);

const MODE = 0o100644;
const KEYS = 120;

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.start();
  const many = Object.fromEntries(Array.from({ length: KEYS }, (_, i) => [`cfg:k${i}`, `${i}`]));
  expect(verdict(await arena.http.push(arena.sign(many)))).toBe("ok");
});
afterAll(() => arena.stop());

const pathOf = (files: Files, end: string): string => [...files.keys()].find((path) => path.endsWith(end))!;
const entryOf = (files: Files, end: string): { mode: number; oid: string } => files.get(pathOf(files, end))!;

function forged(forgery: TreeForgery, values: Record<string, string | undefined> = { "cfg:k7": "new" }) {
  const text = (commit: string): string => arena.alice.signCommit(forgery.text?.(commit) ?? commit);
  const planned = asDeltas(arena.http, withTrees(arena.http, arena.http.plan(values), { ...forgery, text }));
  expect(planned.deltas).toBeGreaterThan(2);
  return planned;
}

const forge = async (forgery: TreeForgery, code = "REPLAY_MISMATCH"): Promise<string> =>
  arena.refused(forged(forgery), code);

test("what is honest is taken", async () => {
  expect(verdict(await arena.http.push(forged({}, { "cfg:k1": "honest" })))).toBe("ok");
  expect(verdict(await arena.http.push(forged({}, { "cfg:k2": undefined, "cfg:k3": "3", "cfg:new": "1" })))).toBe("ok");
});

test("another key's pointer is hidden, swapped or buried beside the one that changed", async () => {
  await forge({ index: (files) => files.delete(pathOf(files, "cfg%3Ak50.ref")) });
  await forge({ index: (files) => files.set(pathOf(files, "cfg%3Ak50.ref"), entryOf(files, "cfg%3Ak51.ref")) });
  await forge({
    index: (files) => {
      files.set("cfg%3Ak50.del", entryOf(files, "cfg%3Ak50.ref"));
      files.delete("cfg%3Ak50.ref");
    },
  });
});

test("a pointer is invented, or there in two states", async () => {
  await forge({ index: (files) => files.set("cfg%3Azz.ref", entryOf(files, "cfg%3Ak50.ref")) });
  await forge({ index: (files) => files.set("cfg%3Ak7.del", entryOf(files, "cfg%3Ak7.ref")) });
  await forge({ index: (files) => files.set("cfg%3Ak7@1900000000.ref", entryOf(files, "cfg%3Ak7.ref")) });
  await forge({ index: (files) => files.set("cfg%3Ak7~", entryOf(files, "cfg%3Ak7.ref")) });
});

test("the change itself is left out, or points to what was there before", async () => {
  const before = arena.http.plan({ "cfg:k7": "new" });
  const old = (files: Files): void => {
    const { objects } = arena.http.repo;
    const record = [...before.objects].find(([oid]) => oid === entryOf(files, "cfg%3Ak7.ref").oid);
    expect(record).toBeDefined();
    expect(objects.has(entryOf(files, "cfg%3Ak8.ref").oid)).toBe(true);
    files.set(pathOf(files, "cfg%3Ak7.ref"), entryOf(files, "cfg%3Ak8.ref"));
  };
  await forge({ index: old });
});

test("a key that did not change has another value, other metadata or another mode", async () => {
  const blob = { mode: MODE, oid: "" };
  await forge({ ledger: (files, write) => files.set(pathOf(files, "/cfg%3Ak60"), { ...blob, oid: write("evil") }) });
  await forge({
    ledger: (files, write, read) => {
      const json = read(entryOf(files, "cfg%3Ak60.meta").oid);
      files.set(pathOf(files, "cfg%3Ak60.meta"), { ...blob, oid: write(json.replace('"rev":1', '"rev":9')) });
    },
  });
  await forge(
    {
      ledger: (files) => files.set(pathOf(files, "/cfg%3Ak60"), { ...entryOf(files, "/cfg%3Ak60"), mode: 0o100755 }),
    },
    "KEY_INVALID",
  );
});

test("a key goes without a word, in one of the tries or in both", async () => {
  await forge({ ledger: (files) => files.delete(pathOf(files, "/cfg%3Ak60")) });
  await forge({ ledger: (files) => files.delete(pathOf(files, "cfg%3Ak60.meta")) });
  await forge({
    ledger: (files) => {
      files.delete(pathOf(files, "/cfg%3Ak60"));
      files.delete(pathOf(files, "cfg%3Ak60.meta"));
    },
  });
});

// From some dozens of keys on what was there before is read for all of them at once.
test("one of many pointers is hidden, invented, swapped, of another revision or of another key", async () => {
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`cfg:k${i}`, `many ${i}`]));
  const all = async (index: NonNullable<TreeForgery["index"]>): Promise<void> => {
    await arena.refused(forged({ index }, many), "REPLAY_MISMATCH");
  };
  await all((files) => files.delete(pathOf(files, "cfg%3Ak77.ref")));
  await all((files) => files.delete(pathOf(files, "cfg%3Ak110.ref")));
  await all((files) => files.set("cfg%3Ainvented.ref", entryOf(files, "cfg%3Ak77.ref")));
  await all((files) => files.set(pathOf(files, "cfg%3Ak110.ref"), entryOf(files, "cfg%3Ak77.ref")));
  const edit =
    (change: (record: string) => string): NonNullable<TreeForgery["index"]> =>
    (files, write, read) => {
      const record = read(entryOf(files, "cfg%3Ak77.ref").oid);
      if (change(record) === record) throw new Error("nothing changed");
      files.set(pathOf(files, "cfg%3Ak77.ref"), { mode: MODE, oid: write(change(record)) });
    };
  await all(edit((record) => record.replace(/"rev":(\d+)/, (_, rev) => `"rev":${Number(rev) + 1}`)));
  await all(edit((record) => record.replace(/"size":\d+/, '"size":1')));
  await all(edit((record) => record.replace("cfg:k77", "cfg:k78")));
  expect(verdict(await arena.http.push(forged({}, many)))).toBe("ok");
});
