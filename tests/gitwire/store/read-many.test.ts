/** Many objects at once: each is what a reader of one gets, or left to that reader. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Oid } from "../../../src/gitwire/object/oid.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { git, gitInput } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { newServer } from "../../support/served.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

setDefaultTimeout(60_000);
const rng = random("read-many");

/** Blobs that begin alike, so that they become deltas of each other; returns their ids. */
function writeBlobs(dir: string, name: string, count: number, bytes: number): Oid[] {
  const folder = path.join(dir, name);
  fs.mkdirSync(folder);
  const files = Array.from({ length: count }, (_, i) => path.join(folder, `${i}`));
  const alike = rng.bytes(bytes).toString("hex");
  for (const [i, file] of files.entries()) fs.writeFileSync(file, `${alike} ${name} ${i}`);
  return gitInput(dir, `${files.join("\n")}\n`, "hash-object", "-w", "--stdin-paths").split("\n");
}

function pack(dir: string, oids: readonly Oid[], ...options: string[]): string {
  const name = path.join(dir, "objects/pack/pack");
  const checksum = gitInput(dir, `${oids.join("\n")}\n`, "pack-objects", "-q", ...options, name);
  git(dir, "prune-packed");
  return `${name}-${checksum}.pack`;
}

/** Reads `oids` at once and one by one; returns how many came at once. */
function compare(dir: string, oids: readonly Oid[]): number {
  const [many, one] = [openRepository(dir), openRepository(dir)];
  const objects = many.objects.readMany(oids);
  expect(objects.length).toBe(oids.length);
  let came = 0;
  for (const [i, object] of objects.entries()) {
    if (object === undefined) continue;
    came++;
    expect({ kind: object.kind, data: object.data }).toEqual(one.objects.read(oids[i]!)!);
  }
  for (const repo of [many, one]) repo.close();
  return came;
}

test("from packs of whole objects and of deltas, in any order", () => {
  const dir = newServer();
  const near = writeBlobs(dir, "near", 900, 100);
  pack(dir, near, "--delta-base-offset", "--depth=10");
  const named = writeBlobs(dir, "named", 300, 60);
  pack(dir, named, "--depth=3");
  const whole = writeBlobs(dir, "whole", 200, 700);
  pack(dir, whole, "--window=0");
  const large = writeBlobs(dir, "large", 4, 60_000);
  pack(dir, large, "--delta-base-offset");
  const packed = [...near, ...named, ...whole, ...large];
  const loose = writeBlobs(dir, "loose", 20, 20);
  const missing = Array.from({ length: 20 }, () => rng.bytes(TEST_FORMAT.rawSize).toString("hex"));
  for (const count of [1, 7, 300, packed.length]) {
    const shuffled = packed.map((oid) => [rng.int(2 ** 30), oid] as const).sort(([a], [b]) => a - b);
    expect(
      compare(
        dir,
        shuffled.slice(0, count).map(([, oid]) => oid),
      ),
    ).toBe(count);
  }
  expect(compare(dir, [...packed, ...loose, ...missing])).toBe(packed.length);
  expect(compare(dir, [])).toBe(0);
  // What is asked for twice comes once at least.
  expect(compare(dir, [...near, ...near])).toBeGreaterThanOrEqual(near.length);
});

test("what is damaged is left to who reads it alone", () => {
  const dir = newServer();
  const blobs = writeBlobs(dir, "blobs", 400, 100);
  const file = pack(dir, blobs, "--delta-base-offset");
  const bytes = fs.readFileSync(file);
  fs.chmodSync(file, 0o600);
  for (let round = 0; round < 60; round++) {
    const torn = Buffer.from(bytes);
    for (let i = 0; i < 3; i++) torn[rng.int(bytes.length - 100) + 50]! ^= 1 << rng.int(8);
    fs.writeFileSync(file, torn);
    const [many, one] = [openRepository(dir), openRepository(dir)];
    const objects = many.objects.readMany(blobs);
    for (const [i, object] of objects.entries()) {
      if (object !== undefined) expect(object.data).toEqual(one.objects.read(blobs[i]!)!.data);
    }
    for (const repo of [many, one]) repo.close();
  }
});

test("a pack that is gone has nothing", () => {
  const dir = newServer();
  const blobs = writeBlobs(dir, "blobs", 100, 20);
  const file = pack(dir, blobs);
  const repo = openRepository(dir);
  expect(repo.objects.has(blobs[0]!)).toBe(true);
  repo.objects.close();
  expect(repo.objects.packs().length).toBe(1);
  fs.rmSync(file);
  expect(repo.objects.readMany(blobs)).toEqual(blobs.map(() => undefined));
  repo.close();
});
