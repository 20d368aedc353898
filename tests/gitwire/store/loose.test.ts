import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import * as zlib from "node:zlib";
import { KvError } from "../../../src/errors.ts";
import { hashObject, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { decodeLoose, hasLoose, loosePath, looseStartingWith, readLoose } from "../../../src/gitwire/store/loose.ts";
import { writeLooseFile } from "../../../src/gitwire/store/loose-writer.ts";
import { fsck, git, gitBytes, gitInput } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { listDir } from "../pack/fixtures.ts";
import { failEveryCall } from "./faults.ts";

const rng = random("loose");

for (const format of [SHA1, SHA256]) {
  describe(`loose objects, ${format.name}`, () => {
    const repo = tempDir("loose");
    git(repo, "init", "-q", "--bare", `--object-format=${format.name}`, ".");
    const dir = path.join(repo, "objects");

    test("git's are read, ours are read by git", () => {
      for (const size of [0, 1, 30, 41, 3_000, 200_000]) {
        const data = rng.bytes(size);
        const theirs = gitInput(repo, data, "hash-object", "-w", "--stdin");
        expect(readLoose(dir, theirs)).toEqual({ kind: "blob", data });
        const other = Buffer.concat([data, Buffer.from("!")]);
        const ours = writeLooseFile(dir, format, "blob", other, { fsync: true });
        expect(ours).toBe(hashObject(format, "blob", other));
        expect(gitBytes(repo, "cat-file", "blob", ours).equals(other)).toBe(true);
        expect(readLoose(dir, ours)?.data.equals(other)).toBe(true);
        expect(fs.statSync(loosePath(dir, ours)).mode & 0o777).toBe(0o444);
      }
      const tree = git(repo, "mktree");
      expect(readLoose(dir, tree)).toEqual({ kind: "tree", data: Buffer.alloc(0) });
      expect(
        fsck(repo)
          .replace(/notice: .*/g, "")
          .trim(),
      ).toBe("");
    });

    test("an object that is there is not written again", () => {
      const oid = writeLooseFile(dir, format, "blob", Buffer.from("again"), { fsync: false });
      const before = fs.statSync(loosePath(dir, oid)).ino;
      expect(writeLooseFile(dir, format, "blob", Buffer.from("again"), { fsync: false })).toBe(oid);
      expect(fs.statSync(loosePath(dir, oid)).ino).toBe(before);
    });

    test("what is not there", () => {
      expect(readLoose(dir, format.zeroOid)).toBeUndefined();
      expect(hasLoose(dir, format.zeroOid)).toBe(false);
      expect(looseStartingWith(dir, format, "0000", 10)).toEqual([]);
    });

    test("prefixes", () => {
      const oids = Array.from({ length: 600 }, (_, i) =>
        writeLooseFile(dir, format, "blob", Buffer.from(`prefix ${i}`), { fsync: false }),
      );
      fs.writeFileSync(path.join(dir, oids[0]!.slice(0, 2), "tmp_obj_foreign"), "");
      for (const oid of oids.slice(0, 10)) {
        const found = looseStartingWith(dir, format, oid.slice(0, 3), 1_000);
        for (const other of oids) if (other.startsWith(oid.slice(0, 3))) expect(found).toContain(other);
        for (const other of found) expect(other.startsWith(oid.slice(0, 3))).toBe(true);
        expect(looseStartingWith(dir, format, oid, 5)).toEqual([oid]);
      }
    });
  });
}

describe("damaged files", () => {
  const codeOf = (stored: Buffer): string | undefined => {
    try {
      decodeLoose(stored, "file");
      return undefined;
    } catch (error) {
      if (error instanceof KvError) return error.code;
      throw error;
    }
  };

  test("headers that are none", () => {
    const cases = [
      "blob 3",
      "blob 4\0abc",
      "blob 2\0abc",
      "blob 03\0abc",
      "blob -3\0abc",
      "blob\0abc",
      "bloc 3\0abc",
      "\0",
    ];
    cases.push("", "blob  3\0abc", "Blob 3\0abc", "constructor 3\0abc", `blob ${"9".repeat(40)}\0abc`);
    for (const text of cases)
      expect([text, codeOf(zlib.deflateSync(Buffer.from(text, "latin1")))]).toEqual([text, "CORRUPT"]);
    expect(codeOf(zlib.deflateSync(Buffer.from("blob 3\0abc")))).toBeUndefined();
  });

  test("cut, flipped, or with something behind", () => {
    const good = zlib.deflateSync(Buffer.from("blob 26\0abcdefghijklmnopqrstuvwxyz"));
    for (let end = 0; end < good.length; end++) expect(codeOf(good.subarray(0, end))).toBe("CORRUPT");
    expect(codeOf(Buffer.concat([good, Buffer.from("x")]))).toBe("CORRUPT");
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = Buffer.from(good);
      bad[bit >> 3]! ^= 1 << (bit & 7);
      const code = codeOf(bad);
      if (code === undefined) expect(decodeLoose(bad, "file").data.toString()).toBe("abcdefghijklmnopqrstuvwxyz");
      else expect(code).toBe("CORRUPT");
    }
  });
});

test("whichever call fails, no broken object and no temporary file is left", async () => {
  const dir = tempDir();
  const data = rng.bytes(500);
  const oid = hashObject(TEST_FORMAT, "blob", data);
  const calls = await failEveryCall(
    () => writeLooseFile(dir, TEST_FORMAT, "blob", data, { fsync: true }),
    () => {
      const names = listDir(path.join(dir, oid.slice(0, 2)));
      expect(names.filter((name) => name.startsWith("tmp_"))).toEqual([]);
      if (names.length > 0) expect(readLoose(dir, oid)?.data.equals(data)).toBe(true);
      fs.rmSync(path.join(dir, oid.slice(0, 2)), { recursive: true, force: true });
    },
  );
  expect(calls).toBeGreaterThan(5);
});
