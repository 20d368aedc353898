/** `receive.denyCurrentBranch = updateInstead`: our receive-pack and git's own are pushed to, and their worktrees compared. */

import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { git, tryGit } from "../../support/git.ts";
import { RECEIVE_PACK } from "../../support/git-server.ts";
import { both, commit, type Pair, pair, pushTo } from "../../support/push-pair.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

// Many processes of git and bun, on machines that may be busy.
setDefaultTimeout(120_000);

function worktrees(options: { format?: string } = {}): Pair {
  const given = pair({ bare: false, ...options });
  for (const server of [given.ours, given.theirs]) git(server, "config", "receive.denyCurrentBranch", "updateInstead");
  return given;
}

/** Path, mode and content of every file but those of the repository itself. */
function files(dir: string): string[] {
  const found: string[] = [];
  for (const name of fs.readdirSync(dir, { recursive: true, encoding: "utf8" })) {
    if (name === ".git" || name.startsWith(".git/")) continue;
    const stat = fs.lstatSync(path.join(dir, name));
    const kind = stat.isDirectory() ? "folder" : stat.isSymbolicLink() ? "link" : (stat.mode & 0o111).toString(8);
    const text = stat.isDirectory()
      ? ""
      : stat.isSymbolicLink()
        ? fs.readlinkSync(path.join(dir, name))
        : fs.readFileSync(path.join(dir, name), "utf8");
    found.push(`${name} ${kind} ${text}`);
  }
  return found.sort();
}

function inBothServers(given: Pair, change: (server: string) => void): void {
  for (const server of [given.ours, given.theirs]) change(server);
}

/** What the client says: ours tells it which file it is, git's programs tell whoever started the server. */
const words = (text: string): string =>
  text
    .split("\n")
    .filter((line) => /^(?:To | |error: failed)/.test(line))
    .join("\n");

/** Pushes main to both, which must take it; their worktrees must be alike, and clean. */
function pushAndCompare(given: Pair): void {
  expect(both(given, ["main"], words).status).toBe(0);
  expect(files(given.ours)).toEqual(files(given.theirs));
  // What we wrote into the index is what git sees of the files.
  expect(tryGit(given.ours, ["diff-files", "--quiet"]).status).toBe(0);
  expect(git(given.ours, "status", "--porcelain")).toBe(git(given.theirs, "status", "--porcelain"));
  expect(git(given.ours, "ls-files", "--stage")).toBe(git(given.theirs, "ls-files", "--stage"));
  expect(fs.existsSync(`${given.ours}/.git/index.lock`)).toBe(false);
}

for (const [format, version] of [
  ["sha1", 2],
  ["sha256", 4],
] as const) {
  test(`files come, change and go, ${format}, an index of version ${version}`, () => {
    const given = worktrees({ format });
    inBothServers(given, (server) => {
      git(server, "update-index", `--index-version=${version}`);
      fs.writeFileSync(`${server}/untracked`, "mine\n");
    });
    const { client } = given;
    fs.mkdirSync(`${client}/d/e/f`, { recursive: true });
    for (let i = 0; i < 30; i++) fs.writeFileSync(`${client}/d/e/f/${"long-".repeat(i % 5)}${i}`, `${i}\n`);
    fs.writeFileSync(`${client}/d/run`, "#!/bin/sh\n", { mode: 0o755 });
    fs.symlinkSync("e/f", `${client}/d/link`);
    commit(client, "ü e", "three");
    pushAndCompare(given);
    // A second index of that version, which holds what the first push wrote.
    inBothServers(given, (server) => void git(server, "update-index", `--index-version=${version}`));
    fs.rmSync(`${client}/d/e`, { recursive: true });
    fs.chmodSync(`${client}/d/run`, 0o644);
    fs.rmSync(`${client}/d/link`);
    fs.mkdirSync(`${client}/d/link`);
    fs.writeFileSync(`${client}/d/link/now`, "a folder\n");
    fs.rmSync(`${client}/a`);
    commit(client, "d/e", "a file where a folder was");
    pushAndCompare(given);
    expect(fs.readdirSync(given.ours).sort()).toEqual([".git", "b", "d", "untracked", "ü e"]);
    fs.rmSync(`${client}/d`, { recursive: true });
    commit(client, "b", "less");
    pushAndCompare(given);
    expect(files(given.ours)).toEqual(["b 0 less\n", "untracked 0 mine\n", "ü e 0 three\n"]);
  });
}

/** Each makes the worktrees unfit to be updated, and says what git answers. */
const UNFIT: readonly [what: string, answer: string, change: (server: string) => void][] = [
  [
    "a changed file",
    "Working directory has unstaged changes",
    (server) => fs.writeFileSync(`${server}/a`, "changed\n"),
  ],
  // As long as it was, and in the same second.
  [
    "a changed file of the same size",
    "Working directory has unstaged changes",
    (server) => fs.writeFileSync(`${server}/a`, "eno\n"),
  ],
  ["a file that is gone", "Working directory has unstaged changes", (server) => fs.rmSync(`${server}/a`)],
  ["another mode", "Working directory has unstaged changes", (server) => fs.chmodSync(`${server}/a`, 0o755)],
  [
    "a staged file",
    "Working directory has staged changes",
    (server) => {
      fs.writeFileSync(`${server}/new`, "new\n");
      git(server, "add", "new");
    },
  ],
  [
    "a staged removal",
    "Working directory has staged changes",
    (server) => void git(server, "rm", "-q", "--cached", "a"),
  ],
  [
    "an untracked file in the way",
    "Could not update working tree to new HEAD",
    (server) => fs.writeFileSync(`${server}/b`, "mine\n"),
  ],
  [
    "an untracked file in a folder in the way",
    "Could not update working tree to new HEAD",
    (server) => {
      fs.mkdirSync(`${server}/b/c`, { recursive: true });
      fs.writeFileSync(`${server}/b/c/d`, "mine\n");
    },
  ],
  [
    "a merge that is not resolved",
    "Up-to-date check failed",
    (server) => {
      const blob = git(server, "rev-parse", "HEAD:a");
      const lines = [1, 2, 3].map((stage) => `100644 ${blob} ${stage}\ta\n`).join("");
      git(server, "rm", "-q", "--cached", "a");
      tryGit(server, ["update-index", "--index-info"], { input: lines });
    },
  ],
  ["a locked index", "Up-to-date check failed", (server) => fs.writeFileSync(`${server}/.git/index.lock`, "")],
];

test("what would be lost is kept, and the push refused in git's words", () => {
  const given = worktrees();
  for (const [what, answer, change] of UNFIT) {
    inBothServers(given, change);
    const before = files(given.ours);
    const { said, status } = both(given, ["main"], words);
    expect([what, status, said]).toEqual([what, 1, expect.stringContaining(`(${answer})`)]);
    expect([what, files(given.ours)]).toEqual([what, before]);
    inBothServers(given, (server) => {
      fs.rmSync(`${server}/.git/index.lock`, { force: true });
      git(server, "reset", "-q", "--hard");
      git(server, "clean", "-qfdx");
    });
  }
  // Empty folders are in nobody's way, and touching a file changes nothing.
  inBothServers(given, (server) => {
    fs.mkdirSync(`${server}/b/c`, { recursive: true });
    fs.utimesSync(`${server}/a`, 1_700_000_000, 1_700_000_000);
  });
  pushAndCompare(given);
});

test("a branch without a commit, and a linked worktree", () => {
  const given = worktrees();
  inBothServers(given, (server) => {
    git(server, "checkout", "-q", "--orphan", "fresh");
    git(server, "rm", "-q", "-rf", "--cached", ".");
    git(server, "clean", "-qfdx");
    git(server, "worktree", "add", "-q", "-f", `${server}-linked`, "main");
  });
  expect(both(given, ["main:fresh"], words).status).toBe(0);
  expect(files(given.ours)).toEqual(["a 0 one\n", "b 0 two\n"]);
  expect(git(given.ours, "status", "--porcelain")).toBe("");
  expect(both(given, ["main"], words).status).toBe(0);
  expect(files(`${given.ours}-linked`)).toEqual(files(`${given.theirs}-linked`));
  expect(git(`${given.ours}-linked`, "status", "--porcelain")).toBe("");
});

test("what this server cannot write as git does is refused with the reason", () => {
  const given = worktrees();
  const push = (): string => pushTo(given.ours, given.client, [`--receive-pack=${RECEIVE_PACK}`], ["main"]).said;
  git(given.ours, "config", "core.autocrlf", "true");
  expect(push()).toContain("core.autocrlf asks for files to be converted");
  git(given.ours, "config", "core.autocrlf", "input");
  fs.writeFileSync(`${given.client}/.gitattributes`, "# filter=x\n*.c text\n*.x filter=y\n");
  commit(given.client, "c", "with attributes");
  expect(push()).toContain("'.gitattributes' asks for files to be converted");
  fs.writeFileSync(`${given.client}/.gitattributes`, "# filter=x\n*.c text -diff\n");
  commit(given.client, "c", "with other attributes");
  git(given.ours, "update-index", "--skip-worktree", "a");
  expect(push()).toContain("'a' is marked as not to be looked at");
  git(given.ours, "update-index", "--no-skip-worktree", "a");
  git(given.ours, "update-index", "--split-index");
  expect(push()).toContain('the index has the extension "link"');
  git(given.ours, "update-index", "--no-split-index");
  fs.appendFileSync(`${given.ours}/.git/index`, "x");
  expect(push()).toContain("the index is damaged");
  fs.truncateSync(`${given.ours}/.git/index`, fs.statSync(`${given.ours}/.git/index`).size - 1);
  expect(push()).not.toContain("remote: error");
  expect(git(given.ours, "status", "--porcelain")).toBe("");
  expect(TEST_FORMAT.hexSize).toBe(git(given.ours, "rev-parse", "HEAD").length);
});
