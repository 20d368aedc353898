/** Finding, opening and making repositories; git is the oracle. */

import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import type { KvError } from "../../src/errors.ts";
import { GitConfig } from "../../src/gitwire/config.ts";
import { SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { initRepository } from "../../src/gitwire/repo/init.ts";
import { checkOwner } from "../../src/gitwire/repo/safe-directory.ts";
import { discoverRepository, openRepository, type Repository } from "../../src/gitwire/repo.ts";
import { executable } from "../support/executable.ts";
import { fsck, git, tryGit } from "../support/git.ts";
import { tempDir } from "../support/temp.ts";

type Env = Record<string, string>;

const BASE: Env = Object.fromEntries(
  Object.entries(process.env).filter(
    (pair): pair is [string, string] => !/^GIT_DIR|^GIT_WORK_TREE/.test(pair[0]) && pair[1] !== undefined,
  ),
);

function code(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as KvError).code;
  }
  return "none";
}

interface Parts {
  readonly gitDir: string;
  readonly commonDir: string;
  readonly objects: string;
  readonly bare: string;
  readonly worktree: string;
}

/** What git says of the place; undefined where it finds no repository. */
function oracle(cwd: string, env: Env = {}): Parts | undefined {
  const ask = (...args: string[]) => {
    const run = tryGit(cwd, ["rev-parse", "--path-format=absolute", ...args], { env });
    return run.status === 0 ? run.stdout.toString().trim() : "";
  };
  const [gitDir = "", commonDir = "", objects = "", bare = ""] = ask(
    "--absolute-git-dir",
    "--git-common-dir",
    "--git-path",
    "objects",
    "--is-bare-repository",
  ).split("\n");
  if (gitDir === "") return undefined;
  return { gitDir, commonDir, objects, bare, worktree: ask("--show-toplevel") };
}

function parts(repository: Repository): Parts {
  const { gitDir, commonDir, objectsDir, bare, worktree = "" } = repository;
  const real = (file: string) => (file === "" ? "" : fs.realpathSync(file));
  return {
    gitDir: real(gitDir),
    commonDir: real(commonDir),
    objects: real(objectsDir),
    bare: String(bare),
    worktree: real(worktree),
  };
}

/** Discovers from `cwd` both ways and compares. */
function same(cwd: string, env: Env = {}): Parts {
  const expected = oracle(cwd, env);
  const found = parts(discoverRepository(cwd, { ...BASE, ...env }));
  expect({ cwd, env, ...found }).toEqual({ cwd, env, ...expected! });
  return found;
}

function none(cwd: string, env: Env = {}): void {
  expect(oracle(cwd, env)).toBeUndefined();
  expect(code(() => discoverRepository(cwd, { ...BASE, ...env }))).toBe("NOT_A_REPOSITORY");
}

function setUp(): { root: string; repo: string; bare: string } {
  const root = fs.realpathSync(tempDir("repo"));
  const repo = path.join(root, "repo");
  git(root, "init", "-q", "repo");
  git(root, "init", "-q", "--bare", "bare.git");
  git(repo, "commit", "-q", "--allow-empty", "-m", "one");
  fs.mkdirSync(path.join(repo, "a/b"), { recursive: true });
  fs.mkdirSync(path.join(root, "nothing/deep"), { recursive: true });
  return { root, repo, bare: path.join(root, "bare.git") };
}

test("a repository is found from where git finds it", () => {
  const { root, repo, bare } = setUp();
  same(repo);
  same(path.join(repo, "a/b"));
  same(path.join(repo, ".git"));
  same(path.join(repo, ".git/refs/heads"));
  same(bare);
  same(path.join(bare, "refs"));
  none(path.join(root, "nothing/deep"));
  fs.symlinkSync(repo, path.join(root, "nothing/link"));
  expect(parts(discoverRepository(path.join(root, "nothing/link"), BASE)).gitDir).toBe(path.join(repo, ".git"));
});

test("GIT_DIR, GIT_WORK_TREE, GIT_COMMON_DIR, GIT_OBJECT_DIRECTORY, GIT_CEILING_DIRECTORIES", () => {
  const { root, repo, bare } = setUp();
  const nothing = path.join(root, "nothing");
  same(nothing, { GIT_DIR: path.join(repo, ".git") });
  same(nothing, { GIT_DIR: "../bare.git" });
  same(nothing, { GIT_DIR: bare, GIT_WORK_TREE: path.join(repo, "a") });
  same(repo, { GIT_WORK_TREE: "a" });
  same(repo, { GIT_OBJECT_DIRECTORY: path.join(bare, "objects") });
  same(repo, { GIT_DIR: ".git", GIT_COMMON_DIR: bare });
  none(nothing, { GIT_DIR: path.join(root, "missing") });
  none(repo, { GIT_DIR: nothing });
  const deep = path.join(repo, "a/b");
  none(deep, { GIT_CEILING_DIRECTORIES: `/x:${path.join(repo, "a")}` });
  none(deep, { GIT_CEILING_DIRECTORIES: repo });
  same(deep, { GIT_CEILING_DIRECTORIES: root });
  same(deep, { GIT_CEILING_DIRECTORIES: deep });
  same(repo, { GIT_CEILING_DIRECTORIES: repo });
});

test("worktrees, .git files, separate git folders, core.worktree, core.bare", () => {
  const { root, repo } = setUp();
  const linked = path.join(root, "linked");
  git(repo, "worktree", "add", "-q", linked);
  fs.mkdirSync(path.join(linked, "sub"));
  const found = same(path.join(linked, "sub"));
  expect(found.commonDir).toBe(path.join(repo, ".git"));
  expect(found.gitDir).toBe(path.join(repo, ".git/worktrees/linked"));
  expect(discoverRepository(linked, BASE).refs.head()).toMatchObject({ kind: "branch", ref: "refs/heads/linked" });
  same(linked, { GIT_DIR: path.join(linked, ".git") });

  git(root, "init", "-q", `--separate-git-dir=${path.join(root, "elsewhere")}`, "separate");
  same(path.join(root, "separate"));
  fs.writeFileSync(path.join(root, "separate/.git"), "gitdir: ../elsewhere\n");
  same(path.join(root, "separate"));
  for (const content of ["nonsense\n", "gitdir: ../missing\n", "gitdir:../elsewhere\n", "", "gitdir: \n"]) {
    fs.writeFileSync(path.join(root, "separate/.git"), content);
    none(path.join(root, "separate"));
  }

  git(repo, "config", "core.worktree", "../../linked");
  same(path.join(repo, ".git"), { GIT_DIR: path.join(repo, ".git") });
  same(repo, { GIT_DIR: path.join(repo, ".git") });
  git(repo, "config", "--unset", "core.worktree");
  git(repo, "config", "core.bare", "true");
  same(repo);
  same(linked);
  same(root, { GIT_DIR: path.join(repo, ".git") });
});

test("a folder named .git that is none is passed over, a damaged HEAD hides the repository", () => {
  const { repo } = setUp();
  fs.mkdirSync(path.join(repo, "a/.git"));
  same(path.join(repo, "a/b"));
  fs.writeFileSync(path.join(repo, ".git/HEAD"), "nonsense\n");
  none(repo);
  fs.writeFileSync(path.join(repo, ".git/HEAD"), "ref: refs/heads/other\n");
  same(repo);
});

test.each([
  ["2", "core.bare", "true", "its core.repositoryformatversion is 2, and 0 and 1 are known", "a newer git"],
  ["1", "extensions.unheardof", "1", "its extension 'unheardof' is not known", "a newer git"],
  ["1", "extensions.compatobjectformat", "sha1", "its extension 'compatobjectformat' is not known", "a newer git"],
  ["1", "extensions.objectformat", "md5", "its object format is 'md5', and sha1 and sha256 are known", "a newer git"],
  ["0", "extensions.objectformat", "sha256", "extensions.objectformat, which counts from", "a newer git"],
  ["1", "extensions.refstorage", "reftable", "its refs are stored as 'reftable', and only", "git refs migrate"],
])("format version %s with %s = %s is refused in a clear sentence", (version, name, value, message, hint) => {
  const dir = tempDir("format");
  git(dir, "init", "-q", "--bare");
  // git itself would refuse to go on after the first of these.
  const [section, variable] = name.split(".");
  fs.appendFileSync(
    path.join(dir, "config"),
    `[${section}]\n\t${variable} = ${value}\n[core]\n\trepositoryformatversion = ${version}\n`,
  );
  expect(tryGit(dir, ["rev-parse", "--git-dir"]).status).not.toBe(0);
  expect(code(() => discoverRepository(dir, BASE))).toBe("UNSUPPORTED");
  expect(code(() => openRepository(dir))).toBe("UNSUPPORTED");
  const run = spawnSync(executable("git-kv"), ["get", "a"], { cwd: dir, encoding: "utf8" });
  expect([run.status === 0, run.stderr]).toEqual([false, expect.stringContaining(message)]);
  expect(run.stderr).toContain(hint);
});

test("extensions.worktreeConfig: each worktree's own core.bare and core.worktree, the main one's too", () => {
  const { root, repo, bare } = setUp();
  const linked = path.join(root, "linked");
  git(repo, "worktree", "add", "-q", linked);
  // Without the extension the files are nothing.
  for (const gitDir of [".git", ".git/worktrees/linked"]) {
    fs.writeFileSync(path.join(repo, gitDir, "config.worktree"), "[core]\n\tbare = true\n");
  }
  expect([same(repo).bare, same(linked).bare]).toEqual(["false", "false"]);
  git(repo, "config", "core.repositoryformatversion", "1");
  git(repo, "config", "extensions.worktreeConfig", "true");
  expect([same(repo).bare, same(linked).bare]).toEqual(["true", "true"]);
  fs.writeFileSync(path.join(repo, ".git/worktrees/linked/config.worktree"), "");
  same(linked);
  git(repo, "config", "--unset", "core.bare");
  expect([same(repo).bare, same(linked).bare]).toEqual(["true", "false"]);
  const elsewhere = path.join(root, "nothing");
  fs.writeFileSync(path.join(repo, ".git/config.worktree"), `[core]\n\tworktree = ${elsewhere}\n`);
  same(path.join(repo, ".git"), { GIT_DIR: path.join(repo, ".git") });
  // As `git worktree add` leaves a bare repository that turns the extension on.
  git(bare, "config", "core.repositoryformatversion", "1");
  git(bare, "config", "extensions.worktreeConfig", "true");
  git(bare, "config", "--unset", "core.bare");
  fs.writeFileSync(path.join(bare, "config.worktree"), "[core]\n\tbare = true\n");
  expect(same(bare).bare).toBe("true");
});

test.each([
  ["1", { noop: "1", "noop-v1": "1", preciousobjects: "true", partialclone: "origin", worktreeconfig: "true" }],
  ["0", { unheardof: "1" }],
])("format version %s with extensions %j is used", (version, extensions) => {
  const dir = tempDir("format");
  // The extension that says sha256 would have no place in version 0.
  git(dir, "init", "-q", "--bare", "--object-format=sha1");
  git(dir, "config", "core.repositoryformatversion", version);
  for (const [name, value] of Object.entries(extensions)) git(dir, "config", `extensions.${name}`, value);
  same(fs.realpathSync(dir));
});

test("openRepository takes a worktree, a git folder, or either without .git, and no hint from the environment", () => {
  const { root, repo, bare } = setUp();
  const env = { ...BASE, GIT_DIR: bare, GIT_OBJECT_DIRECTORY: path.join(bare, "objects") };
  expect(openRepository(repo, env)).toMatchObject({ gitDir: path.join(repo, ".git"), worktree: repo, bare: false });
  expect(openRepository(repo, env).objectsDir).toBe(path.join(repo, ".git/objects"));
  expect(openRepository(path.join(repo, ".git"), BASE)).toMatchObject({ gitDir: path.join(repo, ".git"), bare: false });
  expect(openRepository(path.join(root, "bare"), BASE)).toMatchObject({
    gitDir: bare,
    bare: true,
    worktree: undefined,
  });
  expect(code(() => openRepository(path.join(repo, "a"), BASE))).toBe("NOT_A_REPOSITORY");
  expect(code(() => openRepository(path.join(root, "missing"), BASE))).toBe("NOT_A_REPOSITORY");
});

for (const format of [SHA1, SHA256]) {
  for (const bare of [false, true]) {
    test(`init ${format.name}${bare ? " --bare" : ""}: git finds nothing wrong, and the same files as its own`, () => {
      const root = tempDir("init");
      const mine = path.join(root, "deep/mine");
      const theirs = path.join(root, "theirs");
      const repository = initRepository(mine, { bare, format, defaultBranch: "trunk" });
      expect(repository).toMatchObject({ bare, worktree: bare ? undefined : mine });
      expect(repository.format.name).toBe(format.name);
      expect(repository.refs.head()).toEqual({ kind: "branch", ref: "refs/heads/trunk", oid: undefined });
      expect(fsck(mine)).toMatch(/^(notice: .*)?$/s);
      git(root, "init", "-q", "-b", "trunk", `--object-format=${format.name}`, ...(bare ? ["--bare"] : []), "theirs");
      const files = (dir: string) =>
        (fs.readdirSync(dir, { recursive: true }) as string[]).filter((name) => !name.endsWith(".sample")).sort();
      expect(files(mine)).toEqual(files(theirs));
      const prefix = bare ? "" : ".git/";
      for (const file of ["config", "HEAD", "description"]) {
        const read = (dir: string) => fs.readFileSync(path.join(dir, prefix + file), "utf8");
        expect(read(mine)).toBe(read(theirs));
      }
      if (!bare) {
        expect(git(mine, "status", "--porcelain")).toBe("");
        git(mine, "commit", "-q", "--allow-empty", "-m", "one");
        expect(repository.refs.head()).toMatchObject({ oid: git(mine, "rev-parse", "HEAD") });
        expect(repository.objects.read(git(mine, "rev-parse", "HEAD"))?.kind).toBe("commit");
        expect(fsck(mine)).toBe("");
      }
      // Again: nothing is overwritten.
      fs.appendFileSync(repository.configFile, "[x]\n\ty = 1\n");
      expect(initRepository(mine, { bare, format }).config.get("x.y")).toBe("1");
      expect(git(mine, "symbolic-ref", "HEAD")).toBe("refs/heads/trunk");
      const other = format === SHA1 ? SHA256 : SHA1;
      expect(code(() => initRepository(mine, { bare, format: other }))).toBe("UNSUPPORTED");
    });
  }
}

test("init refuses a branch name that is none", () => {
  expect(code(() => initRepository(tempDir("init"), { defaultBranch: "a..b" }))).toBe("REF_INVALID");
});

test("reflogs follow core.logAllRefUpdates and name the committer of the environment and the config", async () => {
  const { repo } = setUp();
  git(repo, "config", "user.name", "Con Fig");
  const commit = git(repo, "commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "two");
  const env = { ...BASE, GIT_COMMITTER_NAME: "", GIT_COMMITTER_EMAIL: "env@example.com" };
  const repository = openRepository(repo, env);
  await repository.refs.update([{ name: "HEAD", newOid: commit }], { message: "kv: why" });
  expect(git(repo, "log", "-g", "-1", "--format=%gn <%ge> %gs %H", "HEAD")).toBe(
    `Con Fig <env@example.com> kv: why ${commit}`,
  );
  expect(git(repo, "log", "-g", "-1", "--format=%gs", git(repo, "symbolic-ref", "HEAD"))).toBe("kv: why");
  const bare = initRepository(path.join(repo, "b.git"), { bare: true });
  fs.writeFileSync(path.join(bare.objectsDir, "info/alternates"), `${repo}/.git/objects\n`);
  await bare.refs.update([{ name: "refs/heads/main", newOid: commit }]);
  expect(fs.existsSync(path.join(bare.gitDir, "logs"))).toBe(false);
});

test("objects are found in GIT_ALTERNATE_OBJECT_DIRECTORIES, as in a receive hook", () => {
  const { repo, bare } = setUp();
  const commit = git(repo, "rev-parse", "HEAD");
  const alternates = `/nowhere:"${path.join(repo, ".git/objects")}"`;
  expect(discoverRepository(bare, BASE).objects.has(commit)).toBe(false);
  expect(discoverRepository(bare, { ...BASE, GIT_ALTERNATE_OBJECT_DIRECTORIES: alternates }).objects.has(commit)).toBe(
    true,
  );
});

test("close can be followed by more work", () => {
  const { repo } = setUp();
  git(repo, "pack-refs", "--all");
  const repository = openRepository(repo, BASE);
  const head = repository.refs.resolve("HEAD");
  repository.close();
  repository.close();
  expect(repository.refs.resolve("HEAD")).toBe(head as string);
  repository.close();
});

test("safe.directory: somebody else's repository is used only when allowed, the last word counting", () => {
  const dir = fs.realpathSync(tempDir("owner"));
  const foreign = path.join(dir, "foreign");
  fs.mkdirSync(foreign);
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) fs.chownSync(foreign, 12345, 12345);
  const file = path.join(dir, "config");
  const attempt = (values: readonly string[], extra: Env = {}) =>
    code(() => {
      fs.writeFileSync(file, values.map((value) => `[safe]\n\tdirectory = ${value}\n`).join(""));
      const env = { ...BASE, HOME: path.dirname(dir), GIT_CONFIG_GLOBAL: file, ...extra };
      // "/" belongs to root: somebody else to everybody but root, for whom the chown above made one.
      checkOwner([isRoot ? foreign : "/"], dir, () => GitConfig.load({ env }), env);
    });
  expect(attempt([])).toBe("NOT_A_REPOSITORY");
  expect(attempt([dir])).toBe("none");
  expect(attempt([`~/${path.basename(dir)}`])).toBe("none");
  expect(attempt(["*"])).toBe("none");
  expect(attempt(["*", ""])).toBe("NOT_A_REPOSITORY");
  expect(attempt([`${path.dirname(dir)}/*`])).toBe("none");
  expect(attempt([`${path.dirname(dir)}`])).toBe("NOT_A_REPOSITORY");
  if (isRoot) expect(attempt([], { SUDO_UID: "12345" })).toBe("none");
});

test("a repository of another user is not found, as in git", () => {
  if (process.geteuid?.() !== 0) return; // only root can give files away
  const { repo } = setUp();
  fs.chownSync(path.join(repo, ".git"), 12345, 12345);
  none(repo);
  same(repo, { GIT_DIR: path.join(repo, ".git") });
  same(repo, { GIT_CONFIG_COUNT: "1", GIT_CONFIG_KEY_0: "safe.directory", GIT_CONFIG_VALUE_0: repo });
  expect(openRepository(repo, BASE).gitDir).toBe(path.join(repo, ".git"));
});

test("a repository of another user is not served unless that is allowed, as with git upload-pack", () => {
  if (process.geteuid?.() !== 0) return; // only root can give files away
  const { root, repo } = setUp();
  const linked = path.join(root, "linked");
  git(repo, "worktree", "add", "-q", "-b", "side", linked);
  const gitDir = path.join(repo, ".git");
  const serves = (dir: string, allowed: string[] = []) => {
    const env: Env = { ...BASE, GIT_CONFIG_COUNT: String(allowed.length) };
    for (const [i, value] of allowed.entries()) {
      env[`GIT_CONFIG_KEY_${i}`] = "safe.directory";
      env[`GIT_CONFIG_VALUE_${i}`] = value;
    }
    const ours = code(() => openRepository(dir, env, { owned: true })) === "none";
    // A flush at once: nothing is wanted.
    const git = tryGit("/", ["upload-pack", dir], { env, input: "0000" }).status === 0;
    return [ours, git];
  };
  expect(serves(repo)).toEqual([true, true]);
  fs.chownSync(gitDir, 12345, 12345);
  expect(serves(repo)).toEqual([false, false]);
  expect(serves(gitDir)).toEqual([false, false]);
  expect(serves(repo, [gitDir])).toEqual([true, true]);
  expect(serves(repo, ["*"])).toEqual([true, true]);
  expect(serves(repo, ["/elsewhere"])).toEqual([false, false]);
  // Git 2.39 wants the git folder named, its later versions the worktree too, as for every other command.
  expect(serves(repo, [repo])[0]).toBe(true);
  fs.chownSync(gitDir, 0, 0);
  fs.chownSync(repo, 12345, 12345);
  expect(serves(repo)).toEqual([true, true]);
  expect(serves(linked)).toEqual([true, true]);
  fs.lchownSync(path.join(linked, ".git"), 12345, 12345);
  expect(serves(linked)).toEqual([false, false]);
});

test("what is served by its address is what git serves, and so is what is refused", () => {
  const { root, repo, bare } = setUp();
  const at = (name: string): string => path.join(root, name);
  const copy = (name: string, ...settings: [string, string][]): string => {
    fs.cpSync(bare, at(name), { recursive: true });
    for (const [key, value] of settings) git(at(name), "config", key, value);
    return at(name);
  };
  git(repo, "worktree", "add", "-q", "-b", "side", at("linked"));
  fs.symlinkSync(bare, at("link"));
  fs.writeFileSync(at("file"), "text");
  fs.mkdirSync(at("worktree"));
  fs.writeFileSync(at("worktree/.git"), "gitdir: ../bare.git");
  fs.mkdirSync(at("lost"));
  fs.writeFileSync(at("lost/.git"), "gitdir: /nowhere");
  const newer: [string, string] = ["core.repositoryFormatVersion", "1"];
  copy("extension.git", newer, ["extensions.frotz", "true"]);
  copy("reftable.git", newer, ["extensions.refStorage", "reftable"]);
  copy("ninth.git", ["core.repositoryFormatVersion", "9"]);
  copy("old.git", ["extensions.frotz", "true"]);
  fs.appendFileSync(`${copy("config.git")}/config`, "[core");
  fs.rmSync(`${copy("headless.git")}/HEAD`);
  fs.writeFileSync(`${copy("junk.git")}/HEAD`, "junk\n");
  fs.rmSync(`${copy("refless.git")}/refs`, { recursive: true });
  fs.rmSync(`${copy("objectless.git")}/objects`, { recursive: true });
  const inside = ["repo", "repo/", "repo/.git", "repo/a", "repo/.git/refs", "bare", "bare.git", "bare.git//", "link"];
  inside.push("linked", "linked/.git", "linked/.git/x", "nothing", "file", "file/x", "nowhere", "worktree", "lost");
  inside.push("extension.git", "reftable.git", "ninth.git", "old.git", "config.git", "headless.git", "junk.git");
  inside.push("refless.git", "objectless.git", "");
  const served = inside.map((name) => {
    // The config is read when it is asked for.
    const ours = code(() => openRepository(at(name), BASE, { owned: true }).config) === "none";
    return [name, ours ? "served" : "refused"];
  });
  const byGit = inside.map((name) => {
    const run = tryGit("/", ["upload-pack", `${root}/${name}`], { input: "0000" });
    return [name, run.status === 0 ? "served" : "refused"];
  });
  expect(served).toEqual(byGit);
  expect(served.filter(([, verdict]) => verdict === "served").length).toBeGreaterThan(9);
});

test("a git file is a repository's address; another file, or one that leads nowhere, is none", () => {
  const { repo, root } = setUp();
  const linked = path.join(root, "linked");
  git(repo, "worktree", "add", "-q", "-b", "side", linked);
  const file = path.join(root, "file");
  fs.writeFileSync(file, "gitdir: repo/.git\n");
  expect(openRepository(file, BASE).commonDir).toBe(path.join(root, "repo/.git"));
  expect(openRepository(path.join(linked, ".git"), BASE).commonDir).toBe(openRepository(linked, BASE).commonDir);
  for (const text of ["gitdir: nowhere\n", "gitdir: \n", "x", ""]) {
    fs.writeFileSync(file, text);
    expect(code(() => openRepository(file, BASE))).toBe("NOT_A_REPOSITORY");
    expect(tryGit("/", ["upload-pack", file], { input: "0000" }).status).toBe(128);
  }
  expect(code(() => openRepository(path.join(repo, "a", "b"), BASE))).toBe("NOT_A_REPOSITORY");
});

test("safe.bareRepository = explicit: a bare repository has to be named", () => {
  const { bare } = setUp();
  const env = { GIT_CONFIG_COUNT: "1", GIT_CONFIG_KEY_0: "safe.bareRepository", GIT_CONFIG_VALUE_0: "explicit" };
  none(bare, env);
  same(bare, { ...env, GIT_DIR: bare });
});

test("the first look at the config serves what was read on the way; after an edit it is read again", () => {
  const dir = path.join(tempDir("config-read"), "r");
  const first = initRepository(dir);
  git(dir, "config", "x.y", "1");
  first.reloadConfig();
  expect(first.config.get("x.y")).toBe("1");
  const repository = openRepository(dir);
  expect(repository.config.get("x.y")).toBe("1");
  git(dir, "config", "x.y", "2");
  expect(repository.config.get("x.y")).toBe("1");
  repository.reloadConfig();
  expect(repository.config.get("x.y")).toBe("2");
  expect(openRepository(dir).config.get("x.y")).toBe("2");
});

test("who is killed while a repository is made makes it with the next try, of the format that was asked for", () => {
  const init = [executable("git-kv"), "init"];
  const env = { ...process.env, GIT_DEFAULT_HASH: "sha256" };
  for (let when = 1; when <= 6; when++) {
    const dir = tempDir("killed-init");
    const inject = ["-f", "-o", "/dev/null", "-e", `inject=write:signal=KILL:when=${when}`];
    spawnSync("strace", [...inject, ...init], { cwd: dir, env, stdio: "ignore" });
    const again = spawnSync(init[0]!, init.slice(1), { cwd: dir, env, encoding: "utf8" });
    expect([when, again.status, again.stderr]).toEqual([when, 0, expect.stringContaining("is ready")]);
    expect(git(dir, "rev-parse", "--show-object-format")).toBe("sha256");
    expect(git(dir, "config", "core.bare")).toBe("false");
  }
});
