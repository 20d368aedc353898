import { describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { toKvError } from "../../../src/errors.ts";
import { SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { Pack } from "../../../src/gitwire/pack/pack-reader.ts";
import { verifyPack } from "../../../src/gitwire/pack/verify-pack.ts";
import { failureOf } from "../../support/failure.ts";
import { gitInput } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { allObjects, makeRepo, repackOnce } from "./fixtures.ts";

setDefaultTimeout(60_000);
const rng = random("verify-pack");

/** Gives the file other content, which git keeps read-only. */
function rewrite(file: string, bytes: Buffer): void {
  fs.chmodSync(file, 0o600);
  fs.writeFileSync(file, bytes);
}

for (const format of [SHA1, SHA256]) {
  for (const deltas of ["ofs", "ref"] as const) {
    describe(`a pack by git, ${format.name}, ${deltas}-deltas`, () => {
      const repo = makeRepo(format);
      const pack = repackOnce(repo, deltas);

      test("every object is what its id says", async () => {
        expect(await verifyPack(pack, format)).toBe(allObjects(repo).size);
      });

      test("a flipped bit of an entry is found, unless every object is as before", async () => {
        const good = fs.readFileSync(pack);
        const objects = allObjects(repo);
        let found = 0;
        for (let round = 0; round < 40; round++) {
          const bad = Buffer.from(good);
          bad[12 + rng.int(good.length - 12 - format.rawSize)]! ^= 1 << rng.int(8);
          rewrite(pack, bad);
          const outcome = await verifyPack(pack, format).catch((error: unknown) => toKvError(error).code);
          if (typeof outcome === "string") {
            expect(outcome).toMatch(/^(CORRUPT|LIMIT_EXCEEDED)$/);
            found++;
            continue;
          }
          const read = new Pack(pack, format);
          for (const [oid, { data }] of objects) expect(read.read(read.find(oid)).data.equals(data)).toBe(true);
          read.close();
        }
        expect(found).toBeGreaterThan(20);
        rewrite(pack, good);
        expect(await verifyPack(pack, format)).toBe(objects.size);
      });
    });
  }
}

test("an id that its entry does not hold is told, with the place", async () => {
  const repo = makeRepo(TEST_FORMAT, 5);
  const pack = repackOnce(repo, "ofs");
  const file = path.join(path.dirname(pack), `${path.basename(pack, ".pack")}.idx`);
  const index = fs.readFileSync(file);
  // The last byte of the first id.
  index[8 + 1_024 + TEST_FORMAT.rawSize - 1]! ^= 1;
  rewrite(file, index);
  const oid = index.hexSlice(8 + 1_024, 8 + 1_024 + TEST_FORMAT.rawSize);
  const { code, message } = await failureOf(verifyPack(pack, TEST_FORMAT));
  expect([code, message]).toEqual(["CORRUPT", expect.stringContaining(` does not hold ${oid}`)]);
});

test("objects and deltas above 64 KiB, with small ones between them", async () => {
  const repo = makeRepo(TEST_FORMAT, 1);
  const lines = Array.from({ length: 4_000 }, (_, i) => `line ${i} of a large file ${rng.int(1e9)}\n`);
  const noise = rng.bytes(90_000).toString("hex");
  const texts = [lines.join(""), `${lines.join("")}one more\n`, `${lines.slice(7).join("")}${noise}`, "small", noise];
  const oids = texts.map((text) => gitInput(repo, text, "hash-object", "-w", "--stdin"));
  const name = path.join(repo, "made");
  const checksum = gitInput(repo, `${oids.join("\n")}\n`, "pack-objects", "-q", "--delta-base-offset", name);
  expect(await verifyPack(`${name}-${checksum}.pack`, TEST_FORMAT)).toBe(texts.length);
});
