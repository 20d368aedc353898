/** Numbers of listed objects, kept by ids and by places in packs, held against a plain table of ids. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { OidTable } from "../../../src/gitwire/object/oid-table.ts";
import { ListedObjects } from "../../../src/gitwire/protocol/listed-objects.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { git, gitInput } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { newServer } from "../../support/served.ts";

// Many processes of git, on machines that may be busy.
setDefaultTimeout(60_000);

/** A repository with packs of so many blobs each, three of which are the same in all. */
function packed(format: string, packs: readonly number[]): { dir: string; oids: string[] } {
  const dir = newServer(format);
  git(dir, "config", "fastimport.unpackLimit", "1000");
  const oids: string[] = [];
  for (const [n, count] of packs.entries()) {
    const blobs = Array.from({ length: count }, (_, i) => {
      const text = i < 3 ? `shared ${i}` : `blob ${n} ${i}`;
      return `blob\nmark :${i + 1}\ndata ${text.length}\n${text}\n`;
    });
    gitInput(dir, blobs.join(""), "fast-import", "--quiet", `--export-marks=${dir}/marks`);
    const made = fs.readFileSync(path.join(dir, "marks"), "latin1").matchAll(/ ([0-9a-f]+)/g);
    const ids = [...made].map(([, oid]) => oid!);
    gitInput(dir, `${ids.join("\n")}\n`, "pack-objects", "-q", "objects/pack/pack");
    oids.push(...ids);
  }
  return { dir, oids };
}

test.each(["sha1", "sha256"])("members keep their numbers when they are found in packs, %s", (format) => {
  const rnd = random("listed objects");
  const { dir, oids } = packed(format, [300, 250, 40]);
  const repo = openRepository(dir);
  const strangers = Array.from({ length: 300 }, () => rnd.bytes(repo.format.rawSize).toString("hex"));
  const listed = new ListedObjects(repo.format, () => repo.objects.packs(), 200);
  const model = new OidTable(repo.format);
  for (const oid of rnd.shuffle([...oids, ...strangers, ...oids.slice(0, 100)])) {
    expect(listed.has(oid)).toBe(model.has(oid));
    expect(listed.add(oid)).toBe(model.add(oid));
    expect(listed.size).toBe(model.size);
  }
  // Nothing is asked of the files any more.
  fs.rmSync(path.join(dir, "objects"), { recursive: true });
  repo.objects.close();
  expect(Array.from({ length: listed.size }, (_, n) => listed.oid(n))).toEqual([...model]);
  expect([...oids, ...strangers].map((oid) => listed.indexOf(oid))).toEqual(
    [...oids, ...strangers].map((oid) => model.indexOf(oid)),
  );
  expect(listed.indexOf(rnd.bytes(repo.format.rawSize).toString("hex"))).toBe(-1);
});

test("large packs have a span each, with no object in two of them", () => {
  const { dir, oids } = packed("sha1", [300, 250, 40]);
  const repo = openRepository(dir);
  const listed = new ListedObjects(repo.format, () => repo.objects.packs(), 200);
  for (const oid of oids) listed.add(oid);
  const sizes = repo.objects.packs().map((pack) => [pack.count, listed.spanIn(pack)?.size]);
  // What both hold is counted with the larger one; the pack of 40 objects is too small.
  expect(sizes.sort((a, b) => b[0]! - a[0]!)).toEqual([
    [300, 300],
    [250, 247],
    [40, undefined],
  ]);
  for (let number = 0; number < listed.size; number++) {
    const span = listed.spanOf(number);
    if (span !== undefined) expect(span.index.oid(listed.placeIn(span, number))).toBe(listed.oid(number));
  }
  repo.close();
});

test("without large packs members stay in a table", () => {
  const { dir, oids } = packed("sha1", [300]);
  const repo = openRepository(dir);
  fs.truncateSync(repo.objects.packs()[0]!.path.replace(/pack$/, "idx"), 100);
  const listed = new ListedObjects(repo.format, () => openRepository(dir).objects.packs(), 200);
  expect(oids.map((oid) => listed.add(oid))).toEqual(oids.map((_, i) => i));
  expect(listed.spanOf(5)).toBeUndefined();
  repo.close();
});
