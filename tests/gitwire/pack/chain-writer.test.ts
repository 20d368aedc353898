/** Chains of deltas in packs that are combined: how many lead to each version of an object, and that it stays so. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { hashObject, type Oid, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { createDelta } from "../../../src/gitwire/pack/delta-search.ts";
import { ENTRY } from "../../../src/gitwire/pack/pack-entry.ts";
import { mergePacks } from "../../../src/gitwire/pack/pack-merge.ts";
import { git, gitInput } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { allObjects, type HandEntry, handPack, packsOf } from "./fixtures.ts";

const rng = random("chain-writer");

function repository(format = TEST_FORMAT): { dir: string; packDir: string } {
  const dir = tempDir("chains");
  git(dir, "init", "-q", "--bare", `--object-format=${format.name}`, ".");
  return { dir, packDir: path.join(dir, "objects/pack") };
}

/** Versions of an object, each a delta of the one before. */
function versions(count: number, first: Buffer, edit: (data: Buffer, i: number) => Buffer): Buffer[] {
  const all = [first];
  while (all.length < count) all.push(edit(all.at(-1)!, all.length));
  return all;
}

/** Puts packs of `each` versions at a time into the repository: thin ones, completed by git with whole bases. */
function addPacks(dir: string, all: readonly Buffer[], each: number, format = TEST_FORMAT): void {
  for (let start = 0; start < all.length; start += each) {
    const entries = all.slice(start, start + each).map((data, i): HandEntry => {
      const base = all[start + i - 1];
      if (base === undefined) return { type: ENTRY.blob, data };
      return { type: ENTRY.refDelta, data: createDelta(base, data)!, base: hashObject(format, "blob", base) };
    });
    gitInput(dir, handPack(format, entries), "index-pack", "--stdin", "--fix-thin");
  }
}

/** The packs of a repository, older ones first. */
function inOrder(dir: string): string[] {
  return packsOf(dir).sort((a, b) => fs.statSync(a).mtimeMs - fs.statSync(b).mtimeMs);
}

/** Deltas that lead to each object of the pack. */
function depths(dir: string, pack: string): Map<Oid, number> {
  const lines = git(dir, "verify-pack", "-v", pack).split("\n");
  return new Map(
    lines
      .map((line) => line.split(/ +/))
      .filter((words) => words.length >= 5 && /^(blob|tree|commit|tag)$/.test(words[1]!))
      .map((words) => [words[0]!, Number(words[5] ?? 0)]),
  );
}

const onesOf = (i: number): number => [...i.toString(2)].filter((digit) => digit === "1").length;

function lines(count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, (_, i) => `line ${i} ${rng.int(2 ** 32)}`).join("\n"));
}

function withLine(data: Buffer, i: number, words = `changed in ${i}`): Buffer {
  const all = data.toString().split("\n");
  all[(i * 37) % all.length] = words;
  return Buffer.from(all.join("\n"));
}

for (const format of [SHA1, SHA256]) {
  test(`as many deltas lead to a version as its number has ones, ${format.name}`, async () => {
    const { dir, packDir } = repository(format);
    const all = versions(100, lines(400), (data, i) => withLine(data, i));
    addPacks(dir, all, 9, format);
    const before = allObjects(dir);
    const merged = await mergePacks(inOrder(dir), { dir: packDir, format });
    const found = depths(dir, merged.packPath);
    expect(all.map((data) => found.get(hashObject(format, "blob", data))!)).toEqual(all.map((_, i) => onesOf(i)));
    for (const pack of packsOf(dir)) if (pack !== merged.packPath) fs.rmSync(pack);
    expect([...allObjects(dir)]).toEqual([...before]);
    // The deltas are small: none of them has the object in it.
    expect(merged.byteLength).toBeLessThan(all[0]!.length + 100 * 220);
  });
}

test("combined once more, with what came since, nothing that was there is made anew", async () => {
  const { dir, packDir } = repository();
  const all = versions(40, lines(300), (data, i) => withLine(data, i));
  addPacks(dir, all.slice(0, 30), 5);
  const first = await mergePacks(inOrder(dir), { dir: packDir, format: TEST_FORMAT });
  const bytes = fs.readFileSync(first.packPath);
  for (const pack of packsOf(dir)) if (pack !== first.packPath) fs.rmSync(pack);
  addPacks(dir, [all[29]!, ...all.slice(30)], 4);
  const packs = inOrder(dir).filter((pack) => pack !== first.packPath);
  const second = await mergePacks([first.packPath, ...packs], { dir: packDir, format: TEST_FORMAT });
  // All but the header, which has another number of objects, and the checksum.
  const end = bytes.length - TEST_FORMAT.rawSize;
  expect(fs.readFileSync(second.packPath).subarray(12, end).equals(bytes.subarray(12, end))).toBe(true);
  const found = depths(dir, second.packPath);
  expect(all.map((data) => found.get(hashObject(TEST_FORMAT, "blob", data))!)).toEqual(all.map((_, i) => onesOf(i)));
});

test("versions that fork, in packs that are combined again and again in any order: no chain is longer than the number has digits", async () => {
  const { dir, packDir } = repository();
  const all = [lines(500)];
  const parents = [-1];
  while (all.length < 150) {
    const parent = Math.max(0, all.length - 1 - rng.int(4));
    all.push(withLine(all[parent]!, all.length));
    parents.push(parent);
  }
  for (let start = 0; start < all.length; ) {
    const end = start + 1 + rng.int(8);
    const entries = all.slice(start, end).map((data, i): HandEntry => {
      const base = all[parents[start + i]!];
      if (base === undefined) return { type: ENTRY.blob, data };
      return { type: ENTRY.refDelta, data: createDelta(base, data)!, base: hashObject(TEST_FORMAT, "blob", base) };
    });
    gitInput(dir, handPack(TEST_FORMAT, entries), "index-pack", "--stdin", "--fix-thin");
    start = end;
  }
  const before = allObjects(dir);
  for (let packs = rng.shuffle(packsOf(dir)); packs.length > 1; packs = rng.shuffle(packsOf(dir))) {
    const chosen = packs.slice(0, 2 + rng.int(6));
    const merged = await mergePacks(chosen, { dir: packDir, format: TEST_FORMAT });
    for (const pack of chosen) {
      if (pack === merged.packPath) continue;
      fs.rmSync(pack);
      fs.rmSync(pack.replace(/pack$/, "idx"));
    }
  }
  expect([...allObjects(dir)]).toEqual([...before]);
  expect(Math.max(...depths(dir, packsOf(dir)[0]!).values())).toBeLessThanOrEqual(
    Math.floor(Math.log2(all.length + 1)),
  );
});

test("versions with bytes of their own, as commits have, are deltas of the whole one", async () => {
  const { dir, packDir } = repository();
  const text = (): Buffer => Buffer.from(`${"the same in all ".repeat(20)}${rng.bytes(80).toString("hex")}`);
  const all = Array.from({ length: 60 }, text);
  addPacks(dir, all, 7);
  const merged = await mergePacks(inOrder(dir), { dir: packDir, format: TEST_FORMAT });
  const found = depths(dir, merged.packPath);
  expect(all.map((data) => found.get(hashObject(TEST_FORMAT, "blob", data))!)).toEqual(
    all.map((_, i) => Math.min(i, 1)),
  );
});

test("where the deltas of many versions become as large as the object, it is whole again", async () => {
  const { dir, packDir } = repository();
  const all = versions(120, lines(16), (data, i) => withLine(data, i, `changed to ${rng.int(2 ** 32)}`));
  addPacks(dir, all, 120);
  const merged = await mergePacks(packsOf(dir), { dir: packDir, format: TEST_FORMAT });
  const found = [...depths(dir, merged.packPath).values()];
  expect(Math.max(...found)).toBeLessThanOrEqual(5);
  const whole = found.filter((depth) => depth === 0).length;
  expect(whole).toBeGreaterThan(2);
  expect(whole).toBeLessThan(15);
});

test("large deltas stay as they are, fifty of them at the most", async () => {
  const { dir, packDir } = repository();
  const all = versions(70, rng.bytes(20_000), (data) => Buffer.concat([data.subarray(6_000), rng.bytes(6_000)]));
  addPacks(dir, all, 70);
  const merged = await mergePacks(packsOf(dir), { dir: packDir, format: TEST_FORMAT });
  const found = depths(dir, merged.packPath);
  const expected = all.map((_, i) => i % 51);
  expect(all.map((data) => found.get(hashObject(TEST_FORMAT, "blob", data))!)).toEqual(expected);
});

test("of an object that is there twice the oldest entry is taken, of a large one the whole", async () => {
  for (const [size, expected] of [
    [2_000, 1],
    [40_000, 0],
  ] as const) {
    const { dir, packDir } = repository();
    const [first, second] = [rng.bytes(size), rng.bytes(100)];
    const all = [first, Buffer.concat([first, second])];
    addPacks(dir, all, 2);
    addPacks(dir, [all[1]!], 1);
    const merged = await mergePacks(inOrder(dir), { dir: packDir, format: TEST_FORMAT });
    expect(depths(dir, merged.packPath).get(hashObject(TEST_FORMAT, "blob", all[1]!))).toBe(expected);
  }
});
