/** A million packed refs: those that are asked for are found without reading, or holding, the others. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { git, gitInput } from "../../support/git.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

setDefaultTimeout(120_000);

const COUNT = 1_000_000;
const SRC = path.resolve(import.meta.dir, "../../../src/gitwire");
const nameOf = (i: number): string => `refs/changes/${String(i).padStart(7, "0")}/head`;

/** A repository whose packed-refs file has so many lines; main leads to a commit, and so do all the others. */
function crowded(): { dir: string; commit: string } {
  const dir = tempDir("many");
  git(dir, "init", "-q", "--bare", "-b", "main", ".");
  const commit = git(dir, "commit-tree", "-m", "x", gitInput(dir, "", "mktree"));
  const fd = fs.openSync(path.join(dir, "packed-refs"), "w");
  fs.writeSync(fd, "# pack-refs with: peeled fully-peeled sorted \n");
  for (let i = 0; i < COUNT; i += 10_000) {
    fs.writeSync(fd, Array.from({ length: 10_000 }, (_, k) => `${commit} ${nameOf(i + k)}\n`).join(""));
  }
  fs.writeSync(fd, `${commit} refs/heads/main\n`);
  fs.closeSync(fd);
  return { dir, commit };
}

test("an ls-refs with a prefix answers from a million refs within a few megabytes", () => {
  const { dir, commit } = crowded();
  const script = `
    const fs = await import("node:fs");
    const { openRepository } = await import("${SRC}/repo.ts");
    const { repositoryUploadHost } = await import("${SRC}/protocol/upload-pack-host.ts");
    const most = () => Number(/VmHWM:\\s+(\\d+)/.exec(fs.readFileSync("/proc/self/status", "utf8"))[1]);
    const repo = openRepository("${dir}");
    const host = repositoryUploadHost(repo);
    const before = most();
    const refs = host.refs(["HEAD", "refs/heads/", "refs/changes/0500"]);
    const one = repo.refs.resolve("${nameOf(COUNT - 1)}");
    const none = repo.refs.resolve("refs/changes/none");
    // Ours comes on top of them, and is found.
    await repo.refs.update([{ name: "refs/heads/new", newOid: one }]);
    const after = host.refs(["refs/heads/"]).map(({ name }) => name);
    console.log(JSON.stringify({ count: refs.length, first: refs[0], one, none, after, grown: most() - before }));
  `;
  const run = Bun.spawnSync([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
  const { grown, ...found } = JSON.parse(run.stdout.toString());
  console.error(`${grown} KiB more`);
  expect(found).toEqual({
    count: 1_000 + 2,
    first: { name: "HEAD", oid: commit, symref: "refs/heads/main" },
    one: commit,
    after: ["refs/heads/main", "refs/heads/new"],
  });
  expect(grown).toBeLessThan(64 * 1024);
  expect(fs.statSync(path.join(dir, "packed-refs")).size).toBeGreaterThan(COUNT * TEST_FORMAT.hexSize);
  expect(git(dir, "rev-parse", "refs/heads/new", nameOf(7))).toBe(`${commit}\n${commit}`);
});
