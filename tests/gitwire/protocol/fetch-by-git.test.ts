/** The real git clones and fetches from our upload-pack. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import type { Oid } from "../../../src/gitwire/object/oid.ts";
import { fsck, git, gitInput, tryGit } from "../../support/git.ts";
import { UPLOAD_PACK } from "../../support/git-server.ts";
import { randomHistory } from "../../support/history.ts";
import { random } from "../../support/random.ts";
import { newServer, reach } from "../../support/served.ts";
import { tempDir } from "../../support/temp.ts";
import { OTHER_FORMAT, TEST_FORMAT } from "../../support/test-format.ts";

// Many processes of git and bun, on machines that may be busy.
setDefaultTimeout(60_000);

const VERSIONS = [0, 2] as const;
const PROGRAM = `--upload-pack=${UPLOAD_PACK}`;

function clone(server: string, version: number, ...flags: string[]): string {
  const dir = `${tempDir("clone")}/c`;
  git("/", "-c", `protocol.version=${version}`, "clone", "-q", "--mirror", PROGRAM, ...flags, `file://${server}`, dir);
  git(dir, "config", "protocol.version", `${version}`);
  git(dir, "config", "gc.auto", "0");
  return dir;
}

const refsOf = (dir: string): string => git(dir, "for-each-ref", "--format=%(objectname) %(refname)");

for (const [version, formats] of [
  [0, [TEST_FORMAT]],
  [1, [OTHER_FORMAT]],
  [2, [TEST_FORMAT, OTHER_FORMAT]],
] as const) {
  test(`clone, then fetch again and again, v${version}`, () => {
    const rnd = random(`fetch v${version}`);
    for (const { name: format } of formats) {
      const server = newServer(format);
      const history = randomHistory(server, rnd);
      history.grow(20);
      const client = clone(server, version);
      expect(refsOf(client)).toBe(refsOf(server));
      for (let n = 0; n < 2; n++) {
        history.grow(1 + rnd.int(15));
        git(client, "fetch", "-q", PROGRAM);
        expect(refsOf(client)).toBe(refsOf(server));
      }
      expect(fsck(client)).toBe("");
    }
  });
}

test("an empty repository, and one whose HEAD leads nowhere", () => {
  for (const version of VERSIONS) {
    const server = newServer();
    git(server, "symbolic-ref", "HEAD", "refs/heads/trunk");
    const dir = `${tempDir("empty")}/c`;
    git("/", "-c", `protocol.version=${version}`, "clone", "-q", PROGRAM, `file://${server}`, dir);
    // Only v2 tells the name of a branch without a commit.
    if (version === 2) expect(git(dir, "symbolic-ref", "HEAD")).toBe("refs/heads/trunk");
    gitInput(
      server,
      "",
      "update-ref",
      "refs/kv/main",
      git(server, "commit-tree", "-m", "x", gitInput(server, "", "mktree")),
    );
    git(dir, "-c", `protocol.version=${version}`, "fetch", "-q", PROGRAM, "origin", "refs/kv/main:refs/kv/main");
    expect(refsOf(dir)).toBe(refsOf(server));
  }
});

test("a checkout of what HEAD names, detached or not", () => {
  for (const version of VERSIONS) {
    const server = newServer();
    randomHistory(server, random("head")).grow(10);
    git(server, "symbolic-ref", "HEAD", git(server, "for-each-ref", "--count=1", "--format=%(refname)", "refs/heads"));
    for (const detach of [false, true]) {
      if (detach) fs.writeFileSync(`${server}/HEAD`, `${git(server, "rev-parse", "HEAD")}\n`);
      const dir = `${tempDir("checkout")}/c`;
      git("/", "-c", `protocol.version=${version}`, "clone", "-q", PROGRAM, `file://${server}`, dir);
      expect(git(dir, "rev-parse", "HEAD")).toBe(git(server, "rev-parse", "HEAD"));
      expect(git(dir, "status", "--porcelain")).toBe("");
    }
  }
});

test("tags come with what they point at", () => {
  for (const version of VERSIONS) {
    const server = newServer();
    const tree = gitInput(server, "", "mktree");
    const commit = git(server, "commit-tree", "-m", "x", tree);
    git(server, "update-ref", "refs/heads/main", commit);
    git(server, "tag", "-a", "-m", "t", "v1", "main");
    git(server, "tag", "-a", "-m", "t", "v1-again", "v1");
    const dir = `${tempDir("tags")}/c`;
    git("/", "init", "-q", "--bare", dir);
    git(dir, "-c", `protocol.version=${version}`, "fetch", "-q", PROGRAM, server, "refs/heads/main:refs/heads/main");
    expect(git(dir, "tag")).toBe("v1\nv1-again");
    expect(fsck(dir).replace(/^notice: .*/, "")).toBe("");
  }
});

test("a client with a long history of its own finds the common part", () => {
  for (const version of VERSIONS) {
    const server = newServer();
    randomHistory(server, random("common")).grow(20);
    const client = clone(server, version);
    // 400 commits the server never saw, newer than all it has: more than one round of negotiation.
    let stream = "";
    for (let n = 1; n <= 400; n++) {
      const from = n === 1 ? "from refs/heads/main^0\n" : "";
      stream += `commit refs/heads/own\ncommitter C <c@d> ${1_800_000_000 + n} +0000\ndata 1\nx\n${from}\n`;
    }
    gitInput(client, stream, "fast-import", "--quiet");
    const base = git(server, "rev-parse", "main");
    git(server, "update-ref", "refs/heads/main", git(server, "commit-tree", "-p", base, "-m", "new", `${base}^{tree}`));
    git(server, "update-ref", "refs/heads/other", git(server, "commit-tree", "-m", "root", `${base}^{tree}`));
    const before = git(client, "count-objects", "-v");
    git(client, "fetch", "-q", PROGRAM, "origin", "refs/heads/main:refs/heads/main");
    expect(git(client, "rev-parse", "main")).toBe(git(server, "rev-parse", "main"));
    // One commit came, not the history: it is few enough to be unpacked.
    const count = (text: string): number => Number(/^count: (\d+)/m.exec(text)?.[1]);
    expect(count(git(client, "count-objects", "-v")) - count(before)).toBe(1);
  }
});

test("many refs, and prefixes that pick some", () => {
  const server = newServer();
  const commit = git(server, "commit-tree", "-m", "x", gitInput(server, "", "mktree"));
  const lines = Array.from({ length: 2_000 }, (_, i) => `create refs/heads/b${i} ${commit}`);
  gitInput(server, `${lines.join("\n")}\ncreate refs/kv/main ${commit}\n`, "update-ref", "--stdin");
  git(server, "pack-refs", "--all");
  for (const version of VERSIONS) {
    const run = tryGit("/", ["-c", `protocol.version=${version}`, "ls-remote", PROGRAM, server]);
    expect(run.stdout.toString().split("\n").length - 1).toBe(2_001);
    const some = tryGit("/", ["-c", `protocol.version=${version}`, "ls-remote", PROGRAM, server, "refs/kv/*"]);
    expect(some.stdout.toString()).toBe(`${commit}\trefs/kv/main\n`);
  }
});

test("only what a visible ref reaches is given away", () => {
  const { server, tip, old, blob, lostCommit, lostBlob } = reach();
  const fetch = (version: number, oid: Oid): ReturnType<typeof tryGit> => {
    const dir = `${tempDir("want")}/c`;
    git("/", "init", "-q", "--bare", dir);
    return tryGit(dir, ["-c", `protocol.version=${version}`, "fetch", "-q", PROGRAM, server, oid]);
  };
  for (const oid of [tip, old, blob, `${git(server, "rev-parse", `${old}^{tree}`)}`])
    expect(fetch(2, oid).stderr).toBe("");
  for (const oid of [lostCommit, lostBlob, "1".repeat(TEST_FORMAT.hexSize)]) {
    expect(fetch(2, oid).stderr).toContain(`upload-pack: not our ref ${oid}`);
    expect(fetch(2, oid).status).not.toBe(0);
  }
});
