/** The real git pushes to our receive-pack, and beside it to its own: what it prints and what it leaves must agree. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { fsck, git, gitInput, tryGit } from "../../support/git.ts";
import { RECEIVE_PACK } from "../../support/git-server.ts";
import { both, pair } from "../../support/push-pair.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// Many processes of git and bun, on machines that may be busy.
setDefaultTimeout(60_000);

for (const format of [TEST_FORMAT.name]) {
  test(`branches, tags, kv refs, deletions, ${format}`, () => {
    const given = pair({ format });
    git(given.client, "tag", "-a", "-m", "t", "v1");
    expect(both(given, ["main", "v1", "main:refs/kv/main"]).status).toBe(0);
    expect(both(given, ["main:refs/heads/x/y", "HEAD^:refs/tags/light"]).status).toBe(0);
    expect(both(given, ["--atomic", ":refs/heads/x/y", "main:refs/kv-index/main", ":refs/tags/v1"]).status).toBe(0);
    expect(both(given, ["main"]).said).toContain("Everything up-to-date");
  });
}

test("non-fast-forward: allowed by force, refused where the server denies it", () => {
  const given = pair();
  both(given, ["main"]);
  git(given.client, "commit", "-q", "--amend", "-m", "other");
  expect(both(given, ["main"]).said).toContain("non-fast-forward");
  for (const server of [given.ours, given.theirs]) git(server, "config", "receive.denyNonFastForwards", "true");
  expect(both(given, ["--force", "main"]).said).toContain("(non-fast-forward)");
  expect(both(given, ["--force", "main:refs/kv/main"]).status).toBe(0);
  for (const server of [given.ours, given.theirs]) git(server, "config", "receive.denyNonFastForwards", "false");
  expect(both(given, ["--force", "main"]).status).toBe(0);
});

test("deletions a server denies", () => {
  const given = pair();
  both(given, ["main:refs/heads/side"]);
  expect(both(given, [":main"]).said).toContain("(deletion of the current branch prohibited)");
  for (const server of [given.ours, given.theirs]) git(server, "config", "receive.denyDeletes", "true");
  expect(both(given, [":side"]).said).toContain("(deletion prohibited)");
  expect(both(given, ["--atomic", ":side", "main"]).said).toContain("(atomic push failure)");
  for (const server of [given.ours, given.theirs]) {
    git(server, "config", "receive.denyDeletes", "false");
    git(server, "config", "receive.denyDeleteCurrent", "warn");
  }
  expect(both(given, [":main"]).said).toContain("warning: deleting the current branch");
});

test("a branch that is checked out", () => {
  const given = pair({ bare: false });
  expect(both(given, ["main"]).said).toContain("(branch is currently checked out)");
  expect(both(given, ["main:refs/heads/other"]).status).toBe(0);
  // One refused, one not.
  git(given.client, "commit", "-q", "--allow-empty", "-m", "three");
  expect(both(given, ["main", "main:refs/heads/other"]).status).not.toBe(0);
  for (const value of ["refuse", "warn", "ignore"]) {
    for (const server of [given.ours, given.theirs]) git(server, "config", "receive.denyCurrentBranch", value);
    git(given.client, "commit", "-q", "--allow-empty", "-m", value);
    expect(both(given, ["main"]).status).toBe(value === "refuse" ? 1 : 0);
  }
});

test("a branch checked out in a linked worktree of a bare repository", () => {
  const given = pair();
  for (const server of [given.ours, given.theirs]) {
    git(server, "branch", "side", "main");
    git(server, "worktree", "add", "-q", `${server}-tree`, "side");
  }
  const same = (text: string): string => text.replace(/remote: error: refusing[\s\S]*?(?=To )/, "");
  expect(both(given, ["main:side"], same).said).toContain("(branch is currently checked out)");
  expect(both(given, ["main"]).status).toBe(0);
});

test("hidden refs are neither shown nor written", () => {
  const given = pair();
  both(given, ["main:refs/kv/main", "main:refs/secret/x", "main:refs/secret/open/y"]);
  for (const server of [given.ours, given.theirs]) {
    git(server, "config", "--add", "transfer.hideRefs", "refs/secret");
    git(server, "config", "--add", "receive.hideRefs", "!refs/secret/open");
  }
  git(given.client, "commit", "-q", "--allow-empty", "-m", "three");
  const { said } = both(given, ["main:refs/secret/x", "main:refs/secret/open/y", "main:refs/secretive"]);
  expect(said).toContain("(deny updating a hidden ref)");
});

test("a directory in the way of a ref, and a ref in the way of a directory", () => {
  const given = pair();
  both(given, ["main:refs/heads/x"]);
  expect(both(given, ["main:refs/heads/x/y"]).said).toContain(
    "error: cannot lock ref 'refs/heads/x/y': 'refs/heads/x' exists; cannot create 'refs/heads/x/y'",
  );
  both(given, ["main:refs/heads/d/e"]);
  expect(both(given, ["main:refs/heads/d"]).said).toContain("(failed to update ref)");
  for (const server of [given.ours, given.theirs]) git(server, "pack-refs", "--all");
  expect(both(given, ["--atomic", "main:refs/heads/d", "main:refs/heads/z"]).said).toContain(
    "(atomic transaction failed)",
  );
  expect(both(given, ["main:refs/heads/new", "main:refs/heads/new/er"]).status).toBe(1);
});

test("refs of one level neither come nor go", () => {
  const given = pair();
  expect(both(given, ["main:refs/single"]).said).toContain("(funny refname)");
  for (const server of [given.ours, given.theirs]) git(server, "update-ref", "refs/single", "main");
  both(given, [":refs/single"]);
});

test("push options", () => {
  const given = pair();
  expect(both(given, ["-oone=1", "-oü", "main"]).status).toBe(0);
});

test("what an alternate lends the client need not be sent, and a client's shallow history still fits", () => {
  const given = pair();
  both(given, ["main"]);
  git(given.client, "commit", "-q", "--allow-empty", "-m", "three");
  const shallow = `${tempDir("shallow")}/c`;
  git(given.client, "clone", "-q", "--depth=1", `file://${given.ours}`, shallow);
  git(shallow, "commit", "-q", "--allow-empty", "-m", "on top");
  const run = tryGit(shallow, ["push", "-q", `--receive-pack=${RECEIVE_PACK}`, given.ours, "HEAD:refs/heads/top"]);
  expect([run.status, run.stderr]).toEqual([0, ""]);
  expect(git(given.ours, "rev-list", "--count", "top")).toBe("3");
  expect(fsck(given.ours)).toBe("");
});

test("a large push that is refused before its pack is read tells the client why", () => {
  const given = pair({ bare: false });
  // Far more than any pipe holds, and nothing compresses it.
  const noise = Buffer.alloc(4 * 1024 * 1024);
  crypto.getRandomValues(noise.subarray(0, 65_536));
  for (let at = 65_536; at < noise.length; at += 65_536) crypto.getRandomValues(noise.subarray(at, at + 65_536));
  fs.writeFileSync(`${given.client}/noise`, noise);
  git(given.client, "add", ".");
  git(given.client, "commit", "-q", "-m", "noise");
  expect(both(given, ["main"]).said).toContain("(branch is currently checked out)");
  expect(fs.readdirSync(`${given.ours}/.git/objects/pack`)).toEqual([]);
});

test("a large push arrives whole", () => {
  const given = pair();
  for (let i = 0; i < 300; i++) fs.writeFileSync(`${given.client}/file${i}`, `${i}\n`.repeat(1 + (i % 50)));
  git(given.client, "add", ".");
  git(given.client, "commit", "-q", "-m", "many");
  expect(both(given, ["main"]).status).toBe(0);
});

test("many refs at once, atomically and not", () => {
  const given = pair();
  const tags = Array.from({ length: 500 }, (_, i) => `create refs/tags/t${i} ${i % 2 === 0 ? "main" : "main^"}`);
  gitInput(given.client, `${tags.join("\n")}\n`, "update-ref", "--stdin");
  expect(both(given, ["--tags", "--atomic"]).status).toBe(0);
  expect(both(given, ["main:refs/heads/a", "main:refs/heads/b", "main:refs/heads/c"]).status).toBe(0);
});
