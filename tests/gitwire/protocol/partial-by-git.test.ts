/** The real git makes shallow and partial clones from our upload-pack, and goes on from there. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { fsck, git, tryGit } from "../../support/git.ts";
import { UPLOAD_PACK } from "../../support/git-server.ts";
import { randomHistory } from "../../support/history.ts";
import { random } from "../../support/random.ts";
import { newServer } from "../../support/served.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// Many processes of git and bun, on machines that may be busy.
setDefaultTimeout(120_000);

const PROGRAM = `--upload-pack=${UPLOAD_PACK}`;

/** A clone that asks our upload-pack whatever it does later, lazy fetches included. */
function clone(server: string, version: number, ...flags: string[]): string {
  const dir = `${tempDir("partial")}/c`;
  git("/", "-c", `protocol.version=${version}`, "clone", "-q", PROGRAM, ...flags, `file://${server}`, dir);
  for (const [key, value] of [
    ["protocol.version", `${version}`],
    ["gc.auto", "0"],
    ["remote.origin.uploadpack", UPLOAD_PACK],
  ] as const) {
    git(dir, "config", key, value);
  }
  return dir;
}

function serverWith(format: string, seed: string, commits: number) {
  const server = newServer(format);
  const history = randomHistory(server, random(seed));
  history.grow(commits);
  while (tryGit(server, ["rev-parse", "-q", "--verify", "main~3"]).status !== 0) history.grow(5);
  return { server, history };
}

const depths = (dir: string): number => Number(git(dir, "rev-list", "--count", "HEAD"));

for (const version of [0, 2] as const) {
  const format = TEST_FORMAT.name;
  test(`shallow: clone, deepen, by date, without a branch, unshallow, v${version} ${format}`, () => {
    const { server, history } = serverWith(format, `shallow v${version} ${format}`, 30);
    const dir = clone(server, version, "--depth=1", "--no-single-branch");
    expect(depths(dir)).toBe(1);
    expect(fsck(dir)).toBe("");
    git(dir, "fetch", "-q", "--depth=3");
    expect(git(dir, "rev-list", "--first-parent", "HEAD").split("\n").length).toBe(3);
    git(dir, "fetch", "-q", "--deepen=1");
    expect(fsck(dir)).toBe("");
    history.grow(12);
    // What is new comes on top of the shallow history, as a thin pack or not.
    git(dir, "fetch", "-q");
    expect(git(dir, "rev-parse", "origin/main")).toBe(git(server, "rev-parse", "main"));
    expect(fsck(dir)).toBe("");
    const since = git(server, "log", "--format=%ct", "-n1", "main~2");
    git(dir, "fetch", "-q", `--shallow-since=${since}`, "origin", "main");
    expect(fsck(dir)).toBe("");
    if (git(server, "rev-list", "main", "--not", "side") !== "") {
      git(dir, "fetch", "-q", "--shallow-exclude=side", "origin", "main");
      expect(fsck(dir)).toBe("");
    }
    git(dir, "fetch", "-q", "--unshallow");
    expect(git(dir, "rev-parse", "--is-shallow-repository")).toBe("false");
    expect(git(dir, "rev-list", "--objects", "origin/main").length).toBe(
      git(server, "rev-list", "--objects", "main").length,
    );
    expect(fsck(dir)).toBe("");
  });

  test(`partial: clone, check out, fetch what is missing later, v${version} ${format}`, () => {
    const { server, history } = serverWith(format, `partial v${version} ${format}`, 30);
    for (const filter of ["blob:none", "tree:0", "blob:limit=30", "combine:blob:none+tree:3"]) {
      const dir = clone(server, version, `--filter=${filter}`, "--no-checkout");
      const missing = git(dir, "rev-list", "--objects", "--missing=print", "--all").split("\n");
      if (filter !== "blob:limit=30") expect(missing.some((line) => line.startsWith("?"))).toBe(true);
      // The checkout fetches every blob it needs in one request, by their ids.
      git(dir, "checkout", "-q", "main");
      expect(git(dir, "status", "--porcelain")).toBe("");
      git(dir, "checkout", "-q", "HEAD~2");
      history.grow(5);
      git(dir, "fetch", "-q");
      git(dir, "checkout", "-q", "origin/main");
      expect(git(dir, "rev-parse", "HEAD^{tree}")).toBe(git(server, "rev-parse", "main^{tree}"));
      expect(git(dir, "log", "-p", "--format=%H", "-n5")).toBe(git(server, "log", "-p", "--format=%H", "-n5", "main"));
      expect(fsck(dir)).toBe("");
    }
  });
}

test("shallow and partial at once, with only one branch", () => {
  const { server } = serverWith(TEST_FORMAT.name, "both", 30);
  const dir = clone(server, 2, "--depth=2", "--filter=blob:none", "--single-branch");
  expect(git(dir, "rev-list", "--first-parent", "HEAD").split("\n").length).toBe(2);
  expect(git(dir, "status", "--porcelain")).toBe("");
  expect(fsck(dir)).toBe("");
});

test("a repository that is shallow itself: its clones are as shallow", () => {
  const { server } = serverWith(TEST_FORMAT.name, "shallow server", 30);
  const middle = `${tempDir("middle")}/m.git`;
  git("/", "clone", "-q", "--bare", "--depth=3", "--no-single-branch", `file://${server}`, middle);
  for (const version of [0, 2]) {
    const dir = clone(middle, version);
    expect(git(dir, "rev-parse", "--is-shallow-repository")).toBe("true");
    expect(depths(dir)).toBe(depths(middle));
    expect(fsck(dir)).toBe("");
    const shallower = clone(middle, version, "--depth=1");
    expect(depths(shallower)).toBe(1);
    git(shallower, "fetch", "-q", "--depth=100");
    expect(depths(shallower)).toBe(depths(middle));
    expect(fsck(shallower)).toBe("");
  }
});

test("thousands of blobs by their ids in one request", () => {
  const server = newServer();
  const files = Array.from(
    { length: 5_000 },
    (_, i) => `M 100644 inline d${i % 40}/f${i}\ndata ${`${i}`.length}\n${i}\n`,
  );
  const head = "commit refs/heads/main\ncommitter C <c@d> 1700000000 +0000\ndata 1\nx\n";
  expect(tryGit(server, ["fast-import", "--quiet"], { input: `${head}${files.join("")}\n` }).status).toBe(0);
  const dir = clone(server, 2, "--filter=blob:none");
  expect(git(dir, "status", "--porcelain")).toBe("");
  expect(git(dir, "ls-files").split("\n").length).toBe(5_000);
});
