import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { sweepLeftovers } from "../../../src/gitwire/store/leftovers.ts";
import { git, gitInput } from "../../support/git.ts";
import { tempDir } from "../../support/temp.ts";
import { listDir } from "../pack/fixtures.ts";

const HOUR = 60 * 60_000;
const STEM = `pack-${"ab".repeat(20)}`;

test("what was left long ago goes, what may be in use stays", () => {
  const repo = tempDir("leftovers");
  git(repo, "init", "-q", "--bare", ".");
  const blob = gitInput(repo, "loose", "hash-object", "-w", "--stdin");
  const objects = path.join(repo, "objects");
  const fan = path.join(objects, blob.slice(0, 2));
  const packDir = path.join(objects, "pack");
  const other = `pack-${"cd".repeat(32)}`;
  const kept = `pack-${"ef".repeat(20)}`;
  const files: [file: string, hours: number][] = [
    [path.join(packDir, "tmp_pack_abcdef"), 25],
    [path.join(packDir, "tmp_idx_abcdef"), 23],
    [path.join(packDir, ".tmp-123-pack-1.pack"), 25],
    [path.join(packDir, `${STEM}.pack`), 24 * 15],
    [path.join(packDir, `${STEM}.rev`), 24 * 13],
    [path.join(packDir, `${other}.pack`), 24 * 13],
    [path.join(packDir, `${kept}.pack`), 24 * 15],
    [path.join(packDir, `${kept}.keep`), 24 * 15],
    [path.join(packDir, "pack-foreign.pack"), 24 * 15],
    [path.join(packDir, "README"), 24 * 15],
    [path.join(fan, "tmp_obj_abcdef"), 25],
    [path.join(fan, "tmp_obj_uvwxyz"), 23],
    [path.join(objects, ".tmp-kv-incoming-abcdef", "pack", "tmp_pack_1"), 25],
    [path.join(objects, "tmp_objdir-incoming-uvwxyz", "pack", "tmp_pack_1"), 23],
  ];
  const now = Date.now() + 1000 * HOUR;
  for (const [file, hours] of files) {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, "x");
    const time = (now - hours * HOUR) / 1000;
    fs.utimesSync(file, time, time);
  }
  for (const name of [".tmp-kv-incoming-abcdef", "tmp_objdir-incoming-uvwxyz"]) {
    for (const dir of [path.join(objects, name, "pack"), path.join(objects, name)]) fs.utimesSync(dir, 0, 0);
  }
  fs.utimesSync(path.join(fan, blob.slice(2)), 0, 0);
  expect(sweepLeftovers(objects, now)).toBe(5);
  expect(listDir(packDir)).toEqual(
    [
      "README",
      `${STEM}.rev`,
      `${other}.pack`,
      `${kept}.keep`,
      `${kept}.pack`,
      "pack-foreign.pack",
      "tmp_idx_abcdef",
    ].sort(),
  );
  expect(listDir(fan)).toEqual([blob.slice(2), "tmp_obj_uvwxyz"].sort());
  expect(listDir(objects).filter((name) => /^\.?tmp[-_]/.test(name))).toEqual(["tmp_objdir-incoming-uvwxyz"]);
  expect(sweepLeftovers(objects, now)).toBe(0);
  expect(sweepLeftovers(path.join(repo, "no such folder"), now)).toBe(0);
});
