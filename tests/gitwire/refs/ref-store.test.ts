/** Reading refs: what git shows is what we show. */

import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../../src/errors.ts";
import { type ObjectFormat, SHA1, SHA256 } from "../../../src/gitwire/object/oid.ts";
import type { RefStore } from "../../../src/gitwire/refs/ref-store.ts";
import { openRepository } from "../../../src/gitwire/repo.ts";
import { git, tryGit } from "../../support/git.ts";
import { random } from "../../support/random.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";
import { gitValues, makeFixture, newRepository, openRefs, values } from "./fixture.ts";

const fixture = makeFixture();
const opened: RefStore[] = [];
afterAll(() => {
  for (const store of opened) store.close();
});

function open(...args: Parameters<typeof openRefs>): RefStore {
  const store = openRefs(...args);
  opened.push(store);
  return store;
}

function code(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(KvError);
    return (error as KvError).code;
  }
  return "none";
}

test("a list is what git for-each-ref lists, after each of many changes by git", () => {
  const rng = random("ref-store");
  for (const format of [SHA1, SHA256]) {
    const objects = format === TEST_FORMAT ? fixture : makeFixture(format);
    const dir = newRepository(objects);
    const store = open(dir, objects);
    const names = [
      "refs/heads/main",
      "refs/heads/a/b",
      "refs/heads/a-b",
      "refs/heads/a0",
      "refs/kv/main",
      "refs/tags/é",
      "refs/x/y/z",
    ];
    for (let i = 0; i < 25; i++) {
      const name = rng.pick(names);
      const action = rng.int(5);
      if (action === 0) git(dir, "pack-refs", "--all", ...(rng.int(2) === 0 ? ["--no-prune"] : []));
      else if (action === 1) tryGit(dir, ["update-ref", "-d", name]);
      else git(dir, "update-ref", name, name.includes("tags") ? objects.tag : rng.pick(objects.commits));
      const expected = gitValues(dir);
      expect(values(store)).toEqual(expected);
      expect(store.list().map((ref) => ref.name)).toEqual(Object.keys(expected));
      expect(store.resolve(name)).toBe(expected[name] as string);
      expect(store.resolve("HEAD")).toBe(expected["refs/heads/main"] as string);
    }
  }
});

test("prefixes, symbolic refs and peeling as in git ls-remote", () => {
  const [first, second] = fixture.commits as [string, string];
  const dir = newRepository(fixture, {
    loose: {
      "refs/heads/main": first,
      "refs/remotes/o/HEAD": "ref: refs/remotes/o/main",
      "refs/tags/loose": fixture.tag,
    },
    packed: { "refs/remotes/o/main": second, "refs/tags/packed": fixture.tag, "refs/tags/plain": second },
  });
  fs.writeFileSync(path.join(dir, "refs/heads/dangling"), "ref: refs/heads/nowhere\n");
  const store = open(dir, fixture);
  expect(store.list("refs/remotes/")).toEqual([
    { name: "refs/remotes/o/HEAD", oid: second, symref: "refs/remotes/o/main" },
    { name: "refs/remotes/o/main", oid: second },
  ]);
  expect(store.list("refs/tags/p").map((ref) => ref.name)).toEqual(["refs/tags/packed", "refs/tags/plain"]);
  expect(store.snapshot(["refs/tags/l", "refs/heads/", "refs/tags/loose"]).map((ref) => ref.name)).toEqual([
    "refs/heads/main",
    "refs/tags/loose",
  ]);
  expect(store.list("refs/heads/../../HEAD")).toEqual([]);
  const lines = store.list().flatMap((ref) => {
    const peeled = store.peel(ref);
    return [`${ref.oid}\t${ref.name}`, ...(peeled === undefined ? [] : [`${peeled}\t${ref.name}^{}`])];
  });
  expect([`${first}\tHEAD`, ...lines].join("\n")).toBe(git(dir, "ls-remote", "."));
});

test("HEAD: a branch, one not born yet, a commit, a symbolic link, none", () => {
  const [first] = fixture.commits as [string];
  const dir = newRepository(fixture, { packed: { "refs/heads/main": first } });
  const store = open(dir, fixture);
  expect(store.head()).toEqual({ kind: "branch", ref: "refs/heads/main", oid: first });
  fs.writeFileSync(path.join(dir, "HEAD"), "ref:refs/heads/new \n");
  expect(store.head()).toEqual({ kind: "branch", ref: "refs/heads/new", oid: undefined });
  fs.writeFileSync(path.join(dir, "HEAD"), `${first.toUpperCase()}\n`);
  expect(store.head()).toEqual({ kind: "detached", oid: first });
  fs.rmSync(path.join(dir, "HEAD"));
  fs.symlinkSync("refs/heads/main", path.join(dir, "HEAD"));
  expect(store.head()).toEqual({ kind: "branch", ref: "refs/heads/main", oid: first });
  fs.rmSync(path.join(dir, "HEAD"));
  expect(code(() => store.head())).toBe("NOT_A_REPOSITORY");
});

test("setSymbolic moves HEAD as git symbolic-ref reads it", async () => {
  const dir = newRepository(fixture, { loose: { "refs/heads/other": fixture.commits[0]! } });
  const store = open(dir, fixture);
  await store.setSymbolic("HEAD", "refs/heads/other");
  expect(git(dir, "symbolic-ref", "HEAD")).toBe("refs/heads/other");
  expect(store.head()).toEqual({ kind: "branch", ref: "refs/heads/other", oid: fixture.commits[0] });
});

test("damage is told when a ref is asked for, and left out of lists", () => {
  const [first] = fixture.commits as [string];
  const broken = {
    "refs/heads/empty": "",
    "refs/heads/short": "1234",
    "refs/heads/long": `${first}00`,
    "refs/heads/out": "ref: ../../x",
  };
  const dir = newRepository(fixture, {
    loose: { ...broken, "refs/heads/good": first, "refs/heads/zero": "0".repeat(TEST_FORMAT.hexSize) },
  });
  const store = open(dir, fixture);
  for (const name of Object.keys(broken)) expect(code(() => store.resolve(name))).toBe("CORRUPT");
  expect(values(store)).toEqual({ "refs/heads/good": first });
  fs.writeFileSync(path.join(dir, "refs/heads/a"), "ref: refs/heads/b\n");
  fs.writeFileSync(path.join(dir, "refs/heads/b"), "ref: refs/heads/a\n");
  expect(code(() => store.resolve("refs/heads/a"))).toBe("CORRUPT");
  expect(values(store)).toEqual({ "refs/heads/good": first });
});

test("a name is never a path out of the repository", () => {
  const dir = newRepository(fixture);
  const store = open(dir, fixture);
  for (const name of ["../x", "refs/../HEAD", "config", "", "refs/heads/a\0"]) {
    expect(code(() => store.resolve(name))).toBe("REF_INVALID");
  }
});

test("linked worktrees share refs and have some of their own, as in git", () => {
  const [first, second] = fixture.commits as [string, string];
  const dir = newRepository(fixture, { loose: { "refs/heads/main": first, "refs/bisect/bad": first } });
  const tree = path.join(dir, "..", `${path.basename(dir)}-wt`);
  git(dir, "worktree", "add", "-q", "--no-checkout", "-b", "side", tree, second);
  git(tree, "update-ref", "refs/worktree/mine", first);
  git(tree, "update-ref", "refs/bisect/good", second);
  const gitDir = git(tree, "rev-parse", "--absolute-git-dir");
  const own = open(dir, fixture, { gitDir });
  const main = open(dir, fixture);
  expect(values(own)).toEqual(gitValues(tree));
  expect(values(main)).toEqual(gitValues(dir));
  expect(values(own)).not.toEqual(values(main));
  expect(own.head()).toEqual({ kind: "branch", ref: "refs/heads/side", oid: second });
  expect(own.resolve("main-worktree/HEAD")).toBe(first);
  expect(main.resolve(`worktrees/${path.basename(gitDir)}/HEAD`)).toBe(second);
  fs.rmSync(tree, { recursive: true });
});

test("packed-refs that is replaced is read again, even by a file of the same size and time", () => {
  const [first, second] = fixture.commits as [string, string];
  const dir = newRepository(fixture, { packed: { "refs/heads/main": first } });
  const store = open(dir, fixture);
  const file = path.join(dir, "packed-refs");
  const time = new Date(1_700_000_000_000);
  fs.utimesSync(file, time, time);
  for (const oid of [first, second, first, second]) {
    fs.writeFileSync(`${file}.x`, fs.readFileSync(file, "utf8").replace(/^[0-9a-f]{40,64}/m, oid));
    fs.utimesSync(`${file}.x`, time, time);
    fs.renameSync(`${file}.x`, file);
    expect(store.resolve("refs/heads/main")).toBe(oid);
    expect(store.resolve("refs/heads/main")).toBe(oid);
  }
  fs.rmSync(file);
  expect(store.resolve("refs/heads/main")).toBeUndefined();
});

test("a list begun before a transaction and ended after it is taken again", () => {
  const [first, second] = fixture.commits as [string, string];
  const dir = newRepository(fixture, { loose: { "refs/kv/a": first }, packed: { "refs/kv/b": first } });
  const store = open(dir, fixture);
  // What a transaction of another process does, just when we have read packed-refs and not yet the loose files.
  const read = store.packed.read.bind(store.packed);
  let reads = 0;
  store.packed.read = () => {
    const packed = read();
    if (reads++ === 0) {
      fs.writeFileSync(`${dir}/new`, `${second} refs/kv/a\n${second} refs/kv/b\n`);
      fs.rmSync(path.join(dir, "refs/kv/a"));
      fs.renameSync(`${dir}/new`, path.join(dir, "packed-refs"));
    }
    return packed;
  };
  expect(values(store)).toEqual({ "refs/kv/a": second, "refs/kv/b": second });
  expect(reads).toBe(2);
});

test("ids of the other format are told from damage: somebody changed extensions.objectFormat", () => {
  for (const [real, said] of [
    [SHA1, SHA256],
    [SHA256, SHA1],
  ] as const) {
    const dir = tempDir("format");
    git(dir, "init", "-q", "--bare", `--object-format=${real.name}`, ".");
    git(dir, "update-ref", "refs/heads/one", git(dir, "commit-tree", "-m", "x", git(dir, "mktree")));
    git(dir, "config", "core.repositoryformatversion", said === SHA1 ? "0" : "1");
    if (said === SHA1) git(dir, "config", "--file", "config", "--unset", "extensions.objectformat");
    else git(dir, "config", "--file", "config", "extensions.objectformat", said.name);
    const where = ["ref refs/heads/one is damaged", "packed-refs is damaged"];
    for (const [i, file] of where.entries()) {
      const { refs } = openRepository(dir, {});
      const fault = codeAndText(() => refs.resolve("refs/heads/one"));
      expect(fault).toEqual([
        "CORRUPT",
        `${file}: it holds object ids of ${real.name}, and the config says that the repository is ${said.name}`,
        expect.stringContaining("extensions.objectFormat"),
      ]);
      if (i === 0) packByHand(dir, real);
    }
  }
});

/** Git will not do it: it does not understand the repository either. */
function packByHand(dir: string, format: ObjectFormat): void {
  const file = path.join(dir, "refs/heads/one");
  const oid = fs.readFileSync(file, "latin1").trim();
  expect(oid).toHaveLength(format.hexSize);
  fs.writeFileSync(
    path.join(dir, "packed-refs"),
    `# pack-refs with: peeled fully-peeled sorted \n${oid} refs/heads/one\n`,
  );
  fs.rmSync(file);
}

function codeAndText(act: () => unknown): [string, string, string | undefined] | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    const { code, message, hint } = error as KvError;
    return [code, message, hint];
  }
}
