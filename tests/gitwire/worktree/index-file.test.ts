/** The index as git writes it in every version, and with any byte of it changed. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { KvError } from "../../../src/errors.ts";
import { hashBytes, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import { encodeIndex, parseIndex } from "../../../src/gitwire/worktree/index-file.ts";
import { git } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";

for (const format of [SHA1, SHA256]) {
  const { name } = format;
  test(`versions 2 to 4 hold what git ls-files shows, ${name}`, () => {
    const rnd = random(`index ${name}`);
    const dir = tempDir("index");
    git(dir, "init", "-q", `--object-format=${name}`, ".");
    for (let i = 0; i < 60; i++) {
      const folder = `${dir}/${rnd.pick(["", "a", "a/b/c", "é"])}`;
      fs.mkdirSync(folder, { recursive: true });
      fs.writeFileSync(`${folder}/${"x".repeat(rnd.int(30))}${i}`, `${rnd.int(9)}\n`, {
        mode: rnd.pick([0o644, 0o755]),
      });
    }
    fs.writeFileSync(`${dir}/${"n".repeat(250)}`, "long\n");
    git(dir, "add", ".");
    for (const version of [2, 3, 4]) {
      if (version === 3) {
        fs.writeFileSync(`${dir}/intended`, "");
        git(dir, "add", "-N", "intended");
        git(dir, "update-index", "--assume-unchanged", "n".repeat(250));
      } else git(dir, "update-index", `--index-version=${version}`);
      const bytes = fs.readFileSync(`${dir}/.git/index`);
      expect(bytes.readUInt32BE(4)).toBe(version);
      const entries = parseIndex(format, bytes);
      const shown = entries.map(
        ({ mode, oid, stage, path }) => `${mode.toString(8)} ${oid} ${stage}\t${Buffer.from(path, "latin1")}`,
      );
      expect(shown.join("\0")).toBe(git(dir, "ls-files", "--stage", "-z").replace(/\0$/, ""));
      const odd = entries.filter(({ isIgnored, isIntent }) => isIgnored || isIntent).map(({ path }) => path);
      expect(odd).toEqual(version === 2 ? [] : ["intended", "n".repeat(250)]);
      expect(parseIndex(format, encodeIndex(format, entries)).map(({ path, stat }) => [path, stat])).toEqual(
        entries.map(({ path, stat }) => [path, stat]),
      );
      for (let round = 0; round < 300; round++) {
        const copy = Buffer.from(rnd.int(3) === 0 ? bytes.subarray(0, rnd.int(bytes.length)) : bytes);
        const end = copy.length - format.rawSize;
        if (end > 0) {
          copy[rnd.int(rnd.int(2) === 0 ? Math.min(end, 200) : end)] = rnd.pick([0, 255, rnd.int(256)]);
          // Past the checksum, most of the time.
          if (rnd.int(8) > 0) hashBytes(format, copy.subarray(0, end)).copy(copy, end);
        }
        try {
          parseIndex(format, copy);
        } catch (error) {
          if (!(error instanceof KvError)) throw error;
          expect(["CORRUPT", "UNSUPPORTED"]).toContain(error.code);
        }
      }
    }
  });
}
