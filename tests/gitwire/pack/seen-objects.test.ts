import { expect, test } from "bun:test";
import { type ObjectFormat, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { compareTrees } from "../../../src/gitwire/object/tree-difference.ts";
import { ObjectArena } from "../../../src/gitwire/pack/object-arena.ts";
import { tryGit } from "../../support/git.ts";
import { allObjects, makeRepo } from "./fixtures.ts";
import { index, options, sourceOf } from "./indexing.ts";

/** Indexes a thin pack of the newest commits; what was seen by id, and every object of the repository. */
async function seenOf(format: ObjectFormat, budget: number, seesBlobs: boolean) {
  const repo = makeRepo(format);
  const objects = allObjects(repo);
  const run = tryGit(repo, ["pack-objects", "--thin", "--stdout", "--revs", "-q"], { input: "main\n^main~6\n" });
  const seen = new ObjectArena(budget);
  await index(run.stdout, options(format, { bases: sourceOf(format, objects), seen, seesBlobs }));
  const kept = [...objects].flatMap(([oid]) => {
    const object = seen.get(oid);
    return object === undefined ? [] : [[oid, object] as const];
  });
  const listed = tryGit(repo, ["rev-list", "--objects", "main", "^main~6"]).stdout.toString().trim().split("\n");
  return { objects, seen, kept, sent: listed.map((line) => line.split(" ", 1)[0]!) };
}

for (const format of [SHA1, SHA256]) {
  test(`what is seen of a pack is what it holds but tiny trees, its deltas and added bases too, ${format.name}`, async () => {
    const { objects, kept, sent } = await seenOf(format, 1 << 24, true);
    const seen = new Set(kept.map(([oid]) => oid));
    const missed = sent.filter((oid) => !seen.has(oid)).map((oid) => objects.get(oid)!);
    expect(missed.filter(({ kind, data }) => kind !== "tree" || data.length >= 64)).toEqual([]);
    expect(sent.length - missed.length).toBeGreaterThan(missed.length);
    // The bases of its deltas are not among what was sent.
    expect(kept.filter(([oid]) => !sent.includes(oid)).length).toBeGreaterThan(0);
    for (const [oid, { kind, data }] of kept) {
      expect([oid, kind]).toEqual([oid, objects.get(oid)!.kind]);
      expect(data.equals(objects.get(oid)!.data)).toBe(true);
    }
  });
}

for (const format of [SHA1, SHA256]) {
  test(`of a tree that came as a delta it is known how it differs from its base, ${format.name}`, async () => {
    const { objects, kept } = await seenOf(format, 1 << 24, false);
    const lines = (before: Buffer, after: Buffer): string[] => {
      const told: string[] = [];
      compareTrees(format, before, after, {
        added: (entry) => told.push(`+ ${entry.name()} ${entry.oid()}`),
        removed: (entry) => told.push(`- ${entry.name()} ${entry.oid()}`),
      });
      return told;
    };
    const changed = kept.flatMap(([, { data, change }]) => (change === undefined ? [] : [{ data, change }]));
    expect(changed.length).toBeGreaterThan(0);
    for (const { data, change } of changed) {
      const whole = lines(objects.get(change.base)!.data, data);
      expect(whole.length).toBeGreaterThan(0);
      expect(lines(change.before, change.after)).toEqual(whole);
    }
  });
}

test("blobs are seen only for whoever reads them", async () => {
  const { kept } = await seenOf(SHA1, 1 << 24, false);
  expect([...new Set(kept.map(([, { kind }]) => kind))].sort()).toEqual(["commit", "tree"]);
  const all = await seenOf(SHA1, 1 << 24, true);
  expect(all.kept.filter(([, { kind }]) => kind !== "blob").length).toBe(kept.length);
  expect(all.kept.length).toBeGreaterThan(kept.length);
});

test("a full arena takes no more, and drops nothing", async () => {
  const budget = 2_000;
  const { seen, kept } = await seenOf(SHA1, budget, true);
  expect(kept.length).toBeGreaterThan(2);
  expect(seen.bytes).toBeLessThanOrEqual(budget);
  const before = seen.bytes;
  seen.set(SHA1.zeroOid, { kind: "blob", data: Buffer.alloc(budget / 5) });
  expect([seen.get(SHA1.zeroOid), seen.bytes]).toEqual([undefined, before]);
  for (const [oid] of kept) expect(seen.get(oid)).toBeDefined();
});
