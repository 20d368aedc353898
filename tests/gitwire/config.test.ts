/** The whole of git's configuration: files, order, includes, environment, and what values mean; git is the oracle. */

import { expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../src/errors.ts";
import { parseBool, parseInteger } from "../../src/gitwire/config/config-value.ts";
import { GitConfig } from "../../src/gitwire/config.ts";
import { git, tryGit } from "../support/git.ts";
import { random } from "../support/random.ts";
import { tempDir } from "../support/temp.ts";

interface Place {
  readonly home: string;
  readonly repo: string;
  readonly gitDir: string;
  readonly env: Record<string, string>;
}

/** A home folder and a repository on branch `main`, with the files given (paths from the home folder). */
function place(files: Readonly<Record<string, string>>, extra: Record<string, string> = {}): Place {
  const home = fs.realpathSync(tempDir("config"));
  const repo = path.join(home, "code/repo");
  fs.mkdirSync(repo, { recursive: true });
  git(repo, "init", "-q", "-b", "main");
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(home, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    if (name === "code/repo/.git/config") fs.appendFileSync(file, text);
    else fs.writeFileSync(file, text);
  }
  const system = path.join(home, "system");
  const env: Record<string, string> = {
    HOME: home,
    GIT_CONFIG_SYSTEM: system,
    PATH: process.env.PATH ?? "",
    LC_ALL: "C",
    ...extra,
  };
  return { home, repo, gitDir: path.join(repo, ".git"), env };
}

function load({ gitDir, env }: Place): GitConfig {
  return GitConfig.load({ gitDir, env });
}

type Line = readonly [scope: string, file: string, name: string, value: string | undefined];

/** `git config --list --show-origin --show-scope`; undefined where git refuses. */
function oracle({ repo, env }: Place): Line[] | undefined {
  const cleared = Object.fromEntries(
    Object.keys(process.env)
      .filter((k) => /^GIT_|^XDG_/.test(k))
      .map((k) => [k, undefined]),
  );
  const run = tryGit(repo, ["config", "--list", "--show-origin", "--show-scope", "-z"], {
    env: { ...cleared, ...env } as Record<string, string>,
  });
  if (run.status !== 0) return undefined;
  const fields = run.stdout.toString().split("\0").slice(0, -1);
  return Array.from({ length: fields.length / 3 }, (_, i) => {
    const [scope, origin, pair] = fields.slice(i * 3) as [string, string, string];
    const end = pair.indexOf("\n");
    const file = origin === "command line:" ? "" : path.resolve(repo, origin.replace(/^file:/, ""));
    return [scope, file, end < 0 ? pair : pair.slice(0, end), end < 0 ? undefined : pair.slice(end + 1)];
  });
}

function ours(config: GitConfig): Line[] {
  return config.entries().map(({ scope, file, name, value }) => [scope, file ?? "", name, value]);
}

test("all files in their order, with their includes, as git lists them", () => {
  const at = place(
    {
      system: "[a]\n\tk = system\n",
      ".config/git/config": "[a]\n\tk = xdg\n[include]\n\tpath = sub/inc1\n[b]\n\tafter = include\n",
      ".config/git/sub/inc1": "[inc]\n\tone = 1\n[include]\n\tpath = ../inc2\n\tpath = ~/inc3\n\tpath = missing\n",
      ".config/git/inc2": "[inc]\n\ttwo\n",
      inc3: "[inc]\n\tthree = 3\n",
      ".gitconfig": "[a]\n\tk = home\n",
      "code/repo/.git/config": '[extensions]\n\tworktreeConfig = true\n[a]\n\tk = local\n[Remote "O.x"]\n\tUrl = u\n',
      "code/repo/.git/config.worktree": "[a]\n\tk = worktree\n",
    },
    {
      GIT_CONFIG_COUNT: "2",
      GIT_CONFIG_KEY_0: "A.k",
      GIT_CONFIG_VALUE_0: "counted",
      GIT_CONFIG_KEY_1: "url.X.insteadOf",
      GIT_CONFIG_VALUE_1: "",
      GIT_CONFIG_PARAMETERS: `'a.k'='it'\\''s' 'a.Old=way' 'a.flag' 'a.empty'='' 'X.Y.z'='1=2' 'a.novalue'=`,
    },
  );
  const config = load(at);
  expect(ours(config)).toEqual(oracle(at)!);
  expect(config.getAll("a.k")).toEqual(["system", "xdg", "home", "local", "worktree", "counted", "it's"]);
  expect(config.get("A.K")).toBe("it's");
  expect(config.get("inc.two")).toBe("");
  expect(config.getBool("inc.two")).toBe(true);
  expect(config.get("no.such")).toBeUndefined();
  expect(config.subsections("remote")).toEqual(["O.x"]);
  expect(config.get("remote.O.x.url")).toBe("u");
  expect(config.get("remote.o.x.url")).toBeUndefined();
  expect(config.sections()).toEqual(["a", "include", "inc", "b", "core", "extensions", "remote", "url", "x"]);
  expect(config.protectedOnly().getAll("a.k")).toEqual(["system", "xdg", "home", "counted", "it's"]);
});

test("XDG_CONFIG_HOME, GIT_CONFIG_GLOBAL, GIT_CONFIG_NOSYSTEM", () => {
  const files = {
    system: "[a]\n\tk = s\n",
    "x/git/config": "[a]\n\tk = x\n",
    ".gitconfig": "[a]\n\tk = h\n",
    other: "[a]\n\tk = o\n",
  };
  for (const extra of [
    { XDG_CONFIG_HOME: "<home>/x" },
    { GIT_CONFIG_GLOBAL: "<home>/other" },
    { GIT_CONFIG_GLOBAL: "" },
    { GIT_CONFIG_NOSYSTEM: "1" },
    { GIT_CONFIG_NOSYSTEM: "false" },
  ]) {
    const at = place(files);
    const env = Object.fromEntries(Object.entries(extra).map(([k, v]) => [k, v.replace("<home>", at.home)]));
    const here = { ...at, env: { ...at.env, ...env } };
    expect(ours(load(here))).toEqual(oracle(here)!);
  }
});

test("includeIf: gitdir, onbranch, hasconfig", () => {
  const conditions = [
    "gitdir:~/code/",
    "gitdir:~/code",
    "gitdir:code/",
    "gitdir:repo/.git",
    "gitdir:repo/",
    "gitdir:/*/*/**/.git",
    "gitdir:CODE/",
    "gitdir/i:CODE/",
    "gitdir:./code/repo/.git",
    "gitdir:.git",
    "gitdir:**/repo/**",
    "gitdir:/nowhere/",
    "gitdir:r?po/",
    "gitdir:[q-s]epo/.git",
    "gitdir:",
    "onbranch:main",
    "onbranch:ma*",
    "onbranch:feature/",
    "onbranch:*",
    "onbranch:**",
    "onbranch:main/",
    "nonsense:x",
    "gitdir",
    "hasconfig:remote.*.url:https://example.com/**",
    "hasconfig:remote.*.url:https://example.com/*",
    "hasconfig:remote.*.url:*",
    "hasconfig:remote.*.url:**",
    "hasconfig:branch.*.remote:*",
  ];
  for (const branch of ["main", "feature/one"]) {
    const text = conditions.map((condition, i) => `[includeIf "${condition}"]\n\tpath = inc${i}\n`).join("");
    const files = Object.fromEntries(conditions.map((_, i) => [`inc${i}`, `[hit]\n\tc${i} = 1\n`]));
    const at = place({
      ...files,
      ".gitconfig": text,
      "code/repo/.git/config": '[remote "o"]\n\turl = https://example.com/org/repo.git\n',
    });
    git(at.repo, "symbolic-ref", "HEAD", `refs/heads/${branch}`);
    expect(ours(load(at))).toEqual(oracle(at)!);
  }
});

test("a repository reached by a symbolic link fits gitdir by either path", () => {
  const at = place({
    ".gitconfig": '[includeIf "gitdir:link/"]\n\tpath = a\n[includeIf "gitdir:code/"]\n\tpath = b\n',
    a: "[hit]\na\n",
    b: "[hit]\nb\n",
  });
  fs.symlinkSync(at.repo, path.join(at.home, "link"));
  const linked = GitConfig.load({ gitDir: path.join(at.home, "link/.git"), env: at.env });
  expect([linked.getBool("hit.a"), linked.getBool("hit.b")]).toEqual([true, true]);
});

test("files included because of remote URLs may not set any", () => {
  const at = place({
    ".gitconfig": '[includeIf "hasconfig:remote.*.url:**"]\n\tpath = inc\n[remote "o"]\n\turl = u\n',
    inc: '[remote "p"]\n\turl = v\n',
  });
  expect(oracle(at)).toBeUndefined();
  expect(() => load(at)).toThrow(/sets a remote's URL/);
});

test.each([
  [{ ".gitconfig": "[include]\n\tpath = ~/.gitconfig\n" }, /nested too deep/],
  [{ ".gitconfig": "[a\n" }, /bad config line 1 in .*\.gitconfig/],
  [{ ".gitconfig": "[include]\n\tpath\n" }, /missing value for 'include\.path'/],
  [{ ".gitconfig": "[include]\n\tpath = ~nosuchuser/x\n" }, /cannot be expanded/],
])("%j is refused, as by git", (files, message) => {
  const at = place(files as Record<string, string>);
  expect(oracle(at)).toBeUndefined();
  expect(() => load(at)).toThrow(message);
});

test.each([
  { GIT_CONFIG_COUNT: "x" },
  { GIT_CONFIG_COUNT: "1" },
  { GIT_CONFIG_COUNT: "1", GIT_CONFIG_KEY_0: "a.b" },
  { GIT_CONFIG_COUNT: "1", GIT_CONFIG_KEY_0: "nodot", GIT_CONFIG_VALUE_0: "" },
  { GIT_CONFIG_COUNT: "99999999999" },
  { GIT_CONFIG_PARAMETERS: "'a.b" },
  { GIT_CONFIG_PARAMETERS: "a.b=c" },
  { GIT_CONFIG_PARAMETERS: "'a.b'x" },
  { GIT_CONFIG_PARAMETERS: "'include.path'='relative'" },
])("the environment %j is refused, as by git", (env) => {
  const at = place({}, env as Record<string, string>);
  expect(oracle(at)).toBeUndefined();
  expect(() => load(at)).toThrow(KvError);
});

test("booleans and integers are read as git reads them", () => {
  const dir = tempDir("config-values");
  const file = path.join(dir, "f");
  const samples = [
    undefined,
    "",
    "true",
    "TRUE",
    "Yes",
    "on",
    "oN",
    "false",
    "no",
    "Off",
    "0",
    "1",
    "-1",
    "2k",
    "0k",
    "1K",
    "3M",
    "1g",
    "0x10",
    "0X1f",
    "010",
    "08",
    "1.5",
    "k",
    "1kk",
    " 1",
    "1 ",
    "+3",
    "truee",
    "t",
    "10240000000g",
    "--1",
    "1 k",
    "0x",
    "-0",
  ];
  for (const value of samples) {
    fs.writeFileSync(file, value === undefined ? "[a]\n\tk\n" : `[a]\n\tk = "${value}"\n`);
    const read = (type: string): string | undefined => {
      const run = tryGit(dir, ["config", "--file", file, `--type=${type}`, "a.k"]);
      return run.status === 0 ? run.stdout.toString().trim() : undefined;
    };
    const attempt = (parse: () => unknown): string | undefined => {
      try {
        return String(parse());
      } catch (error) {
        expect((error as KvError).code).toBe("CONFIG");
        return undefined;
      }
    };
    expect([value, attempt(() => parseBool("a.k", value))]).toEqual([value, read("bool")]);
    expect([value, attempt(() => parseInteger("a.k", value))]).toEqual([value, read("int")]);
  }
});

test("a bad value is told with its file and line", () => {
  const at = place({ ".gitconfig": "[a]\n\tgood = 1\n\tbad = maybe\n\tn = 1x\n\tp = ~other/x\n\tq = ~/x\n" });
  const config = load(at);
  expect(() => config.getBool("a.bad")).toThrow(
    `bad boolean config value 'maybe' for 'a.bad' in ${at.home}/.gitconfig at line 3`,
  );
  expect(() => config.getInt("a.n")).toThrow(/bad number config value '1x'.* at line 4/);
  expect(() => config.getPath("a.p")).toThrow(/at line 5/);
  expect(config.getPath("a.q")).toBe(`${at.home}/x`);
  expect(config.getInt("a.good")).toBe(1);
});

test("http.<url>.* as git config --get-urlmatch finds it", () => {
  const rng = random("url-match");
  const dir = tempDir("url-match");
  const file = path.join(dir, ".gitconfig");
  const patterns = [
    "https://example.com",
    "https://example.com/",
    "https://EXAMPLE.com:443/a",
    "https://example.com/a/",
    "https://example.com/a/b",
    "https://user@example.com",
    "https://user@example.com/a",
    "https://*.example.com",
    "https://*.*.com",
    "http://example.com",
    "https://example.com:8443",
    "https://sub.example.com/%61",
    "https://example.com/a/../b",
    "nonsense",
    "https://",
    "https://example.com/a?q",
    "https://sub.example.com",
    "https://*/",
    "https://exam*.com",
    "https://example.com:0443/a",
    "https://example.com/%7euser",
    "ssh://example.com",
  ];
  const urls = [
    "https://example.com",
    "https://example.com/a",
    "https://example.com/a/b/c.git",
    "https://example.com/ab",
    "https://user@example.com/a/x",
    "https://other@example.com/a",
    "https://sub.example.com/a/r",
    "https://x.sub.example.com/",
    "http://example.com/a",
    "https://example.com:443/a/",
    "https://example.com:8443/a",
    "https://example.com/b",
    "https://example.com/~user/r",
    "https://Example.COM/a?q",
    "https://user:pw@example.com/a/b",
    "https://example.com/a/./b",
  ];
  for (let i = 0; i < 120; i++) {
    const chosen = rng.shuffle(patterns).slice(0, 1 + rng.int(6));
    let text = rng.int(2) === 0 ? "[http]\n\tproxy = general\n" : "";
    for (const [n, pattern] of chosen.entries()) text += `[http "${pattern}"]\n\tproxy = p${n}\n\tother = x\n`;
    fs.writeFileSync(file, text);
    const url = rng.pick(urls);
    const run = tryGit(dir, ["config", "--file", file, "--get-urlmatch", "http.proxy", url]);
    const expected = run.status === 0 ? run.stdout.toString().trim() : undefined;
    const config = GitConfig.load({ env: { GIT_CONFIG_GLOBAL: file, GIT_CONFIG_NOSYSTEM: "1" } });
    expect({ text, url, value: config.urlMatch("http", "proxy", url).at(-1) }).toEqual({
      text,
      url,
      value: expected as string,
    });
  }
});

test("values with less specific URLs are kept until a more specific one comes", () => {
  const text = ["", ' "https://h/a"', ' "https://h"', "", ' "https://h/a"']
    .map((url, i) => `[http${url}]\n\textraHeader = ${i}\n`)
    .join("");
  const at = place({ ".gitconfig": text });
  expect(load(at).urlMatch("http", "extraHeader", "https://h/a/b")).toEqual(["0", "1", "4"]);
  expect(load(at).urlMatch("http", "extraHeader", "https://elsewhere/")).toEqual(["0", "3"]);
});

test("globs in conditions are git's wildmatch", () => {
  const rng = random("wildmatch");
  const pieces = [
    "a",
    "b",
    "*",
    "**",
    "?",
    "/",
    "[a-c]",
    "[!a]",
    "[^/]",
    "\\*",
    "[[:alpha:]]",
    "[]a]",
    "[a",
    ".",
    "**/",
    "/**",
    "[a-]",
    "é",
    "a*b",
    "/**/",
    "/**/",
    "/***/",
    "\\/",
  ];
  for (let round = 0; round < 12; round++) {
    const patterns = Array.from({ length: 60 }, () =>
      Array.from({ length: 1 + rng.int(5) }, () => rng.pick(pieces)).join(""),
    );
    const branch = `x${Array.from({ length: 1 + rng.int(3) }, () => rng.pick(["a", "b", "ab", "c"])).join(rng.pick(["/", "", "/c/"]))}`;
    const usable = patterns.map((p) => `x${p}`);
    const text = usable
      .map((p, i) => `[includeIf "onbranch:${p.replaceAll("\\", "\\\\")}"]\n\tpath = ~/inc${i}\n`)
      .join("");
    const files = Object.fromEntries(usable.map((_, i) => [`inc${i}`, `[hit]\n\tc${i} = 1\n`]));
    const at = place({ ...files, ".gitconfig": text });
    git(at.repo, "symbolic-ref", "HEAD", `refs/heads/${branch}`);
    const hits = (lines: readonly Line[]) =>
      lines.filter(([, , name]) => name.startsWith("hit.")).map(([, , name]) => usable[Number(name.slice(5))]);
    expect({ branch, hits: hits(ours(load(at))) }).toEqual({ branch, hits: hits(oracle(at)!) });
  }
});
