/** Which of many ids are here: small packs are gone through, large ones looked up in, and so with loose objects. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Oid } from "../../../src/gitwire/object/oid.ts";
import { SortedIds } from "../../../src/gitwire/object/sorted-ids.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { atOnce } from "../../../src/time-slice.ts";
import { git, gitInput } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { newServer } from "../../support/served.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

setDefaultTimeout(60_000);
const rng = random("known-objects");

/** Writes as many blobs, loose; returns their ids. */
function writeBlobs(dir: string, name: string, count: number): Oid[] {
  const folder = path.join(dir, name);
  fs.mkdirSync(folder);
  const files = Array.from({ length: count }, (_, i) => path.join(folder, `${i}`));
  for (const [i, file] of files.entries()) fs.writeFileSync(file, `${name} ${i}`);
  return gitInput(dir, `${files.join("\n")}\n`, "hash-object", "-w", "--stdin-paths").split("\n");
}

function pack(dir: string, oids: readonly Oid[], ...options: string[]): string {
  const name = path.join(dir, "objects/pack/pack");
  const checksum = gitInput(dir, `${oids.join("\n")}\n`, "pack-objects", "-q", ...options, name);
  git(dir, "prune-packed");
  return `${name}-${checksum}`;
}

function unknown(count: number): Oid[] {
  return Array.from({ length: count }, () => rng.bytes(TEST_FORMAT.rawSize).toString("hex"));
}

/** What is found of `oids`, and where: in which pack, or loose. */
function found(dir: string, oids: readonly Oid[]): Map<Oid, string> {
  const repo = openRepository(dir);
  const known = atOnce(repo.objects.known(SortedIds.of(repo.format, oids)));
  const places = oids.flatMap((oid, number): [Oid, string][] => {
    const location = known.location(number);
    expect(known.has(number)).toBe(location !== undefined);
    if (location === undefined) return [];
    if (location.kind === "loose") return [[oid, "loose"]];
    const { pack: at, offset, position } = location;
    expect([at.find(oid), at.index.oid(position)]).toEqual([offset, oid]);
    return [[oid, at.path.replace(/\.pack$/, "")]];
  });
  expect(known.size).toBe(places.length);
  repo.close();
  return new Map(places);
}

for (const indexVersion of [1, 2]) {
  // Version 1 is for sha1 alone.
  test.skipIf(indexVersion === 1 && TEST_FORMAT.name !== "sha1")(
    `packs and loose objects, index ${indexVersion}`,
    () => {
      const dir = newServer();
      const option = `--index-version=${indexVersion}`;
      const large = writeBlobs(dir, "large", 3_000);
      const largePack = pack(dir, large, option);
      const small = writeBlobs(dir, "small", 40);
      const smallPack = pack(dir, small, option);
      const loose = writeBlobs(dir, "loose", 600);
      // Few are looked up in the large pack and one by one on disk; for many the packs and folders are gone through.
      for (const share of [0.01, 1]) {
        const some = <T>(all: readonly T[]): T[] => all.slice(0, Math.ceil(all.length * share));
        const wanted = [...some(large), ...some(small), ...some(loose), ...unknown(share === 1 ? 5_000 : 50)];
        const want = new Map([
          ...some(large).map((oid): [Oid, string] => [oid, largePack]),
          ...some(small).map((oid): [Oid, string] => [oid, smallPack]),
          ...some(loose).map((oid): [Oid, string] => [oid, "loose"]),
        ]);
        expect(found(dir, rng.shuffle(wanted))).toEqual(want);
      }
    },
  );
}

test("a pack whose index is damaged or gone is passed over, and its objects are found where else they are", () => {
  const dir = newServer();
  const oids = writeBlobs(dir, "twice", 300);
  const first = pack(dir, oids);
  const others = writeBlobs(dir, "others", 10);
  const second = pack(dir, [...oids, ...others]);
  fs.chmodSync(`${second}.idx`, 0o600);
  fs.truncateSync(`${second}.idx`, 2_000);
  expect(found(dir, [...oids, ...others])).toEqual(new Map(oids.map((oid) => [oid, first])));
});
