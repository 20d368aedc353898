import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { systemClock } from "../../src/clock.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { initRepository } from "../../src/gitwire/repo/init.ts";
import { openRepository, type Repository } from "../../src/gitwire/repo.ts";
import { writeLoose, writePack } from "../../src/gitwire/store/object-writer.ts";
import { tidyUp } from "../../src/kv/tidy.ts";
import { Workspace } from "../../src/kv/workspace.ts";
import { git } from "../support/git.ts";
import { tempDir } from "../support/temp.ts";

const signal = new AbortController().signal;

function workspaceOf(repo: Repository, stop = signal): Workspace {
  return new Workspace(repo, undefined, {
    env: {},
    clock: systemClock,
    signal: stop,
    progress: () => {},
    warn: () => {},
  });
}

/** A repository with so many packs. */
function withPacks(count: number): { dir: string; repo: Repository; packs: () => number } {
  const dir = tempDir("tidy");
  const repo = initRepository(dir, { bare: true });
  for (let i = 0; i < count; i++) {
    const builder = new PackBuilder(repo.format);
    builder.write("blob", Buffer.from(`blob ${i}`));
    writePack(repo.objects, builder.finish(), { fsync: false });
  }
  const packDir = path.join(repo.objectsDir, "pack");
  return { dir, repo, packs: () => fs.readdirSync(packDir).filter((name) => name.endsWith(".pack")).length };
}

test("many packs become few, a few stay, and leftovers go", async () => {
  const few = withPacks(16);
  await tidyUp(workspaceOf(few.repo));
  expect(few.packs()).toBe(16);
  const many = withPacks(17);
  const left = path.join(many.repo.objectsDir, "pack", "tmp_pack_abcdef");
  fs.writeFileSync(left, "");
  fs.utimesSync(left, 1, 1);
  await tidyUp(workspaceOf(many.repo));
  expect(many.packs()).toBe(1);
  expect(fs.existsSync(left)).toBe(false);
  expect(git(many.dir, "count-objects", "-v")).toContain("in-pack: 17\n");
});

test("many loose objects become a pack, as many as gc.auto says", async () => {
  const dir = tempDir("tidy");
  const repo = initRepository(dir, { bare: true });
  for (let i = 0; i < 1_500; i++) writeLoose(repo.objects, "blob", Buffer.from(`blob ${i}`), { fsync: false });
  await tidyUp(workspaceOf(repo));
  expect(git(dir, "count-objects", "-v")).toContain("count: 1500\n");
  git(dir, "config", "gc.auto", "100");
  await tidyUp(workspaceOf(openRepository(dir, {})));
  expect(git(dir, "count-objects", "-v")).toMatch(/^count: 0\n.*\nin-pack: 1500\npacks: 1\n/);
});

test("whoever turned git's housekeeping off does not want ours", async () => {
  for (const [name, value] of [
    ["gc.auto", "0"],
    ["maintenance.auto", "false"],
  ] as const) {
    const { dir, packs } = withPacks(17);
    git(dir, "config", name, value);
    await tidyUp(workspaceOf(openRepository(dir, {})));
    expect(packs()).toBe(17);
  }
});

test("nothing it meets makes the verb fail", async () => {
  const { repo, packs } = withPacks(17);
  const packDir = path.join(repo.objectsDir, "pack");
  const victim = path.join(packDir, fs.readdirSync(packDir).find((name) => name.endsWith(".pack"))!);
  const bytes = fs.readFileSync(victim);
  bytes[15]! ^= 1;
  fs.chmodSync(victim, 0o644);
  fs.writeFileSync(victim, bytes);
  await tidyUp(workspaceOf(repo));
  expect(packs()).toBe(17);
  const stopped = withPacks(17);
  await tidyUp(workspaceOf(stopped.repo, AbortSignal.abort()));
  expect(fs.readdirSync(stopped.repo.objectsDir).filter((name) => /^\.?tmp[-_]/.test(name))).toEqual([]);
});
