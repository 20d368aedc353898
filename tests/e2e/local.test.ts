/** Local mode with the compiled executable: no server, no network, and no git on PATH. */

import { describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { etagOf } from "../../src/kv/etag.ts";
import { executable, runProgram } from "../support/executable.ts";
import { fsck, git, gitBytes, gitInput } from "../support/git.ts";
import { ENV, kv, kvOk } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

function store(): string {
  const dir = tempDir("local");
  kvOk(dir, "init");
  return dir;
}

describe("a store in an empty folder", () => {
  test("set, get, del, mset, list, and a log that reads well", () => {
    const dir = store();
    const oid = kvOk(dir, "set", "cfg:theme", "dark");
    expect(oid).toBe(git(dir, "rev-parse", "refs/kv/main"));
    expect(kv(dir, "get", "cfg:theme").stdout).toBe("dark");
    fs.writeFileSync(path.join(dir, "logo.bin"), Buffer.from([0, 1, 2, 255]));
    fs.writeFileSync(
      path.join(dir, "batch.jsonl"),
      '{"op":"set","key":"a","value":{"x":1}}\n{"op":"set","key":"b","file":"logo.bin"}\n\n{"op":"del","key":"cfg:theme"}\n',
    );
    const answer = JSON.parse(kvOk(dir, "mset", "--file", "batch.jsonl", "--json"));
    expect(answer).toMatchObject({ seq: 3, set: 2, del: 1, oid: git(dir, "rev-parse", "refs/kv/main") });
    expect(answer.tree).toBe(git(dir, "rev-parse", "refs/kv/main^{tree}"));
    expect(kvOk(dir, "list")).toBe("a\nb");
    expect(kv(dir, "get", "a").stdout).toBe('{"x":1}');
    expect(runProgram(executable("git-kv"), ["get", "b"], { cwd: dir, encoding: "latin1" }).stdout).toBe(
      "\0\x01\x02\xff",
    );
    expect(kv(dir, "get", "cfg:theme")).toMatchObject({ status: 6, stdout: "" });
    expect(git(dir, "log", "--format=%s", "refs/kv/main")).toBe("mset: 2 set, 1 del\nset cfg:theme\ninit main");
    expect(
      git(dir, "log", "-1", "--format=%(trailers:only,keyonly)", "refs/kv/main").split("\n").filter(Boolean),
    ).toEqual([
      ...["KV-NS", "KV-Txn", "KV-Seq", "Base-Tree", "KV-Index-Tree", "KV-Chunks-Tree", "KV-Policy", "Epoch"],
      ...["Keys-Set", "Keys-Del"],
    ]);
    expect(fsck(dir)).toBe("notice: HEAD points to an unborn branch (main)");
  });

  test("a key whose time is past is written, and a warning says that it is expired; once for many", () => {
    const dir = store();
    const one = kv(dir, "set", "late", "v", "--expires", "2001-01-01");
    const said =
      "warning: the key expires at a time that is past: it is expired on arrival, and not there for readers\n";
    expect([one.status, one.stderr]).toEqual([0, said]);
    expect(kv(dir, "get", "late").status).toBe(7);
    expect(kv(dir, "set", "soon", "v", "--ttl", "1h").stderr).toBe("");
    const entries = ["a", "b"].map((key) => `{"op":"set","key":"${key}","value":1,"expires":"2001-01-01"}`);
    fs.writeFileSync(path.join(dir, "batch"), `${entries.join("\n")}\n{"op":"set","key":"c","value":1}\n`);
    const many =
      "warning: 2 keys expire at times that are past: they are expired on arrival, and not there for readers\n";
    const batch = kv(dir, "mset", "--file", "batch");
    expect([batch.status, batch.stderr]).toEqual([0, many]);
    fs.writeFileSync(
      path.join(dir, "entries"),
      '{"key":"d","value":"1","expires":1}\n{"key":"e","value":"1","expires":2}\n',
    );
    const imported = kv(dir, "import", "entries");
    expect([imported.status, imported.stderr]).toEqual([0, expect.stringContaining(many)]);
  });

  test("no git executable is needed", () => {
    const dir = tempDir("bare-container");
    const env = { PATH: "/nonexistent", HOME: dir };
    const run = (...args: string[]) => runProgram(executable("git-kv"), args, { cwd: dir, env });
    expect(run("init").status).toBe(0);
    expect(run("set", "k", "v").status).toBe(0);
    expect(run("get", "k").stdout).toBe("v");
    expect(fsck(dir)).toBe("notice: HEAD points to an unborn branch (main)");
  });

  test("in an existing repository, from a subfolder, a worktree and a bare one", () => {
    const dir = tempDir("existing");
    git(dir, "init", "-q", "-b", "main");
    git(dir, "commit", "-q", "--allow-empty", "-m", "first");
    fs.mkdirSync(path.join(dir, "deep", "down"), { recursive: true });
    kvOk(path.join(dir, "deep", "down"), "init");
    kvOk(path.join(dir, "deep"), "set", "k", "from a subfolder");
    git(dir, "worktree", "add", "-q", "../wt-of-existing", "-b", "other");
    const worktree = path.join(dir, "..", "wt-of-existing");
    expect(kv(worktree, "get", "k").stdout).toBe("from a subfolder");
    kvOk(worktree, "set", "k", "from a worktree");
    expect(kv(dir, "get", "k").stdout).toBe("from a worktree");
    fs.rmSync(worktree, { recursive: true });
    git(dir, "init", "-q", "--bare", "bare.git");
    kvOk(path.join(dir, "bare.git"), "init");
    kvOk(dir, "--repo", "bare.git", "set", "k", "bare");
    expect(kv(dir, "get", "k", "--repo", "bare.git").stdout).toBe("bare");
    expect(fsck(dir)).toBe("");
  });

  test("a write that is to wait for a mirror is refused where none comes, before anything is written", () => {
    const dir = store();
    const made = kvOk(dir, "set", "a", "1");
    fs.writeFileSync(path.join(dir, "batch.jsonl"), '{"op":"set","key":"b","value":"2"}\n');
    fs.writeFileSync(path.join(dir, "keys.json"), '{"c":"3"}');
    const [blob, tree] = [kvOk(dir, "list", "--long", "--json"), git(dir, "rev-parse", "refs/kv/main^{tree}")];
    const writes = [
      ["set", "a", "2"],
      ["set", "a", "1"],
      ["del", "a"],
      ["mset", "--file", "batch.jsonl"],
      ["cas", "set", "new", "1", "--if-absent", "--expect-tree", tree],
      ["import", "keys.json"],
      ["revert", made],
    ];
    const expectRefused = (message: string): void => {
      for (const write of writes) {
        const run = kv(dir, ...write, "--wait");
        expect([run.status, run.stdout, run.stderr]).toEqual([5, "", expect.stringContaining(message)]);
      }
      expect(kvOk(dir, "list", "--long", "--json")).toBe(blob);
      expect(git(dir, "rev-parse", "refs/kv/main")).toBe(made);
    };
    expectRefused("there is no remote 'origin' in this repository");
    git(dir, "init", "-q", "--bare", "../mirror-of-local.git");
    git(dir, "remote", "add", "origin", "../mirror-of-local.git");
    expectRefused("no Stargate brings what is written here to the mirror");
    // What writes nothing does not have to wait either.
    kvOk(dir, "import", "keys.json", "--dry-run", "--wait");
    kvOk(dir, "set", "a", "2", "--no-wait");
  });

  test("an unchanged value makes no commit and says so", () => {
    const dir = store();
    const oid = kvOk(dir, "set", "k", "v");
    const again = kv(dir, "set", "k", "v");
    expect(again).toMatchObject({ status: 0, stdout: `${oid}\n`, stderr: "unchanged: no commit was made\n" });
    expect(JSON.parse(kvOk(dir, "set", "k", "v", "--json"))).toMatchObject({ oid, unchanged: true });
    expect(kvOk(dir, "set", "k", "v", "--label", "a=b")).not.toBe(oid);
  });

  test("values from standard input, files and flags", () => {
    const dir = store();
    const big = Buffer.alloc(1024 * 1024, "x");
    runProgram(executable("git-kv"), ["set", "stdin", "-"], { cwd: dir, env: ENV, input: big });
    expect(kv(dir, "get", "stdin").stdout).toHaveLength(big.length);
    fs.writeFileSync(path.join(dir, "v.txt"), "from a file");
    kvOk(dir, "set", "file", "--file", "v.txt", "--ctype", "text/markdown", "--label", "team=core", "--ttl", "30d");
    const record = JSON.parse(kvOk(dir, "get", "file", "--json"));
    expect(record).toMatchObject({
      value: "from a file",
      ctype: "text/markdown",
      labels: { team: "core" },
      rev: 1,
      size: 11,
    });
    expect(record.expires).toBeGreaterThan(Date.now() / 1000 + 29 * 86_400);
    kvOk(dir, "get", "file", "--output", "out.txt");
    expect(fs.readFileSync(path.join(dir, "out.txt"), "utf8")).toBe("from a file");
    expect(kvOk(dir, "get", "file", "--output", "-")).toBe("from a file");
    expect(kvOk(dir, "get", "file", "--output", "-", "--range", "-4")).toBe("file");
    expect(fs.existsSync(path.join(dir, "-"))).toBe(false);
  });

  test("expired keys", () => {
    const dir = store();
    kvOk(dir, "set", "old", "v", "--expires", "2020-01-01");
    expect(kv(dir, "get", "old")).toMatchObject({ status: 7, stdout: "" });
    expect(kv(dir, "get", "old").stderr).toContain("not found");
    expect(kv(dir, "get", "old", "--allow-expired").stdout).toBe("v");
    expect(kvOk(dir, "list")).toBe("");
    expect(kvOk(dir, "list", "--expired")).toBe("old");
    expect(kv(dir, "set", "k", "v", "--expires", "2h").status).toBe(4);
    expect(kv(dir, "get", "old").stderr).toContain("(it expired at 2020-01-01T00:00:00Z)");
    kvOk(dir, "set", "new", "v", "--ttl", "30d");
    kvOk(dir, "set", "ever", "v", "--ttl", "never");
    expect(kvOk(dir, "list")).toBe("ever\nnew");
    expect(kvOk(dir, "list", "--allow-expired")).toBe("ever\nnew\nold");
    expect(kvOk(dir, "list", "--count", "--expired")).toBe("1");
    // What has expired is absent to a condition, and its revisions go on.
    kvOk(dir, "set", "old", "again", "--if-absent");
    expect(JSON.parse(kvOk(dir, "get", "old", "--json"))).toMatchObject({ value: "again", rev: 2 });
  });

  test("keys that expire by the policy, and a policy that lets readers have them", () => {
    const dir = store();
    const apply = (retention: string): void => {
      fs.mkdirSync(path.join(dir, ".kv"), { recursive: true });
      const policy = path.join(dir, ".kv", "policy.yaml");
      fs.writeFileSync(policy, `version: 1\nnamespaces: { "*": { retention: ${retention} } }\n`);
      kvOk(dir, "policy", "apply", policy);
    };
    const expires = (key: string): unknown => JSON.parse(kvOk(dir, "get", key, "--json")).expires;
    kvOk(dir, "set", "before", "v");
    apply("{ ttl_default: 1h }");
    const from = Math.floor(Date.now() / 1000) + 3600;
    kvOk(dir, "set", "k", "v");
    kvOk(dir, "set", "own", "v", "--ttl", "30d");
    kvOk(dir, "set", "ever", "v", "--expires", "never");
    kvOk(dir, "set", "old", "v", "--expires", "2020-01-01");
    expect(expires("k")).toBeGreaterThanOrEqual(from);
    expect(expires("k")).toBeLessThan(from + 600);
    expect(expires("own")).toBeGreaterThan(from + 86_400);
    expect([expires("ever"), expires("before")]).toEqual([undefined, undefined]);
    expect(kv(dir, "get", "old").status).toBe(7);
    expect(kvOk(dir, "list")).toBe("before\never\nk\nown");
    apply("{ enforce_readside: false }");
    const read = kv(dir, "get", "old");
    expect([read.status, read.stdout]).toEqual([0, "v"]);
    expect(read.stderr).toStartWith('warning: "old" expired at 2020-01-01T00:00:00Z');
    expect(kvOk(dir, "list")).toBe("before\never\nk\nold\nown");
  });

  test("conditions", () => {
    const dir = store();
    kvOk(dir, "set", "k", "one", "--if-absent");
    expect(kv(dir, "set", "k", "two", "--if-absent").status).toBe(2);
    const blob = git(dir, "rev-parse", "refs/kv/main:data/k");
    const tree = git(dir, "rev-parse", "refs/kv/main^{tree}");
    expect(kv(dir, "set", "k", "two", "--expect-blob", "0").status).toBe(2);
    expect(kv(dir, "set", "k", "two", "--expect-tree", blob).status).toBe(2);
    expect(kv(dir, "cas", "set", "k", "two", "--expect-blob", blob).status).toBe(64);
    expect(kv(dir, "cas", "set", "k", "two", "--expect-blob", blob, "--expect-tree", tree).status).toBe(0);
    expect(kv(dir, "cas", "set", "k", "three", "--expect-blob", blob, "--expect-tree", tree).status).toBe(2);
    expect(kv(dir, "get", "k").stdout).toBe("two");
    const newest = JSON.parse(kvOk(dir, "log", "--limit", "1", "--json")).tree;
    expect(newest).toBe(git(dir, "rev-parse", "refs/kv/main^{tree}"));
    expect(kv(dir, "cas", "set", "k", "three", "--if-absent", "--expect-tree", newest).status).toBe(2);
    expect(kv(dir, "cas", "set", "other", "one", "--if-absent", "--expect-tree", newest).status).toBe(0);
    expect(kv(dir, "cas", "set", "other", "two", "--if-absent").status).toBe(64);
    expect(kv(dir, "del", "k", "gone").status).toBe(6);
    expect(kv(dir, "get", "k").stdout).toBe("two");
    expect(kv(dir, "del", "k", "gone", "--ignore-missing").status).toBe(0);
  });

  test("listings: order, prefix, after, limit, long, count, NUL", () => {
    const dir = store();
    const keys = ["b", "a:2", "a:1", "é", "a", "a:10", "Z"];
    fs.writeFileSync(
      path.join(dir, "b.jsonl"),
      keys.map((key) => JSON.stringify({ op: "set", key, value: "v" })).join("\n"),
    );
    kvOk(dir, "mset", "--file", "b.jsonl");
    expect(kvOk(dir, "list")).toBe("Z\na\na:1\na:10\na:2\nb\né");
    expect(kvOk(dir, "list", "--prefix", "a:")).toBe("a:1\na:10\na:2");
    expect(kvOk(dir, "list", "--prefix", "a", "--after", "a:1", "--limit", "1")).toBe("a:10");
    expect(kvOk(dir, "list", "--count")).toBe("7");
    expect(kvOk(dir, "list", "-0", "--prefix", "a:1")).toBe("a:1\0a:10\0");
    expect(kvOk(dir, "list", "--long", "--prefix", "b")).toBe(`1\tinline\t1\t-\t${etagOf(Buffer.from("v"))}\t-\tb`);
    kvOk(dir, "del", "b");
    expect(kvOk(dir, "list", "--deleted", "--json")).toBe('{"key":"b","deleted":true}');
  });
});

test("a value under another one's etag is not described", () => {
  const dir = store();
  kvOk(dir, "set", "k", "value");
  const tree = git(dir, "rev-parse", "refs/kv/main^{tree}");
  const data = gitInput(dir, `100644 blob ${gitInput(dir, "other", "hash-object", "-w", "--stdin")}\tk\n`, "mktree");
  const listing = git(dir, "ls-tree", tree).replace(/[0-9a-f]{40,64}\tdata/, `${data}\tdata`);
  const forged = gitInput(dir, `${listing}\n`, "mktree");
  const commit = gitBytes(dir, "cat-file", "commit", "refs/kv/main").toString().replace(tree, forged);
  git(dir, "update-ref", "refs/kv/main", gitInput(dir, commit, "hash-object", "-t", "commit", "-w", "--stdin"));
  expect(kv(dir, "get", "k").stdout).toBe("other");
  expect(kv(dir, "get", "k", "--json")).toMatchObject({ status: 5, stdout: expect.stringContaining('"CORRUPT"') });
});

describe("bad input", () => {
  test("an invalid key", () => {
    const dir = store();
    for (const key of ["", "a\nb", "x".repeat(1025)]) expect(kv(dir, "set", key, "v").status).toBe(4);
    expect(kv(dir, "set", "x".repeat(1024), "v").status).toBe(0);
  });

  test("not a repository, no namespace", () => {
    const empty = tempDir("nothing");
    const run = kv(empty, "get", "k");
    expect(run).toMatchObject({ status: 5, stdout: "" });
    expect(run.stderr).toStartWith("error: ");
    git(empty, "init", "-q");
    expect(kv(empty, "set", "k", "v")).toMatchObject({ status: 6 });
    expect(kv(empty, "set", "k", "v").stderr).toContain("git kv init");
    expect(kv(empty, "get", "k", "--ns", "No").status).toBe(4);
  });

  test("a setting is named where it is what is wrong", () => {
    const dir = store();
    git(dir, "config", "kv.namespace", "Bad Name");
    expect(kv(dir, "get", "k").stderr).toStartWith("error: kv.namespace: 'Bad Name' is not a valid namespace\n");
    expect(kv(dir, "get", "k", "--ns", "main").status).toBe(6);
    expect(kv(dir, "get", "k", "--ns", "Bad Name").stderr).toStartWith("error: 'Bad Name' is not a valid");
    git(dir, "config", "kv.namespace", "other");
    expect(kv(dir, "get", "k").stderr).toStartWith(
      "error: namespace 'other' is not in this repository, and kv.namespace names it\n",
    );
    git(dir, "config", "--unset", "kv.namespace");
    git(dir, "config", "kv.readFrom", "moon");
    for (const args of [["get", "k"], ["list"], ["serve"]]) {
      expect(kv(dir, ...args)).toMatchObject({
        status: 4,
        stderr: "error: kv.readFrom: 'moon' is none of local, mirror and stargate\n",
      });
    }
    expect(kv(dir, "list", "--read-from", "local").status).toBe(0);
    expect(kv(dir, "verify", "--since", "abc").status).toBe(4);
  });

  test("bad lines in a batch are all named, and nothing is written", () => {
    const dir = store();
    const before = git(dir, "for-each-ref");
    const lines = [
      '{"op":"set","key":"good","value":1}',
      "not json",
      '{"op":"put","key":"k"}',
      '{"op":"set","key":"twice","value":1}',
      '{"op":"set","key":"missing","file":"no-such-file"}',
      '{"op":"set","key":"twice","value":2}',
      '{"op":"set","key":"a\\u0000b","value":2}',
      '{"op":"set","key":"k","value":2,"colour":"red"}',
      '{"op":"set","key":"k"}',
      '{"op":"del","key":"d","if":{"absent":false}}',
    ];
    fs.writeFileSync(path.join(dir, "bad.jsonl"), lines.join("\n"));
    const run = kv(dir, "mset", "--file", "bad.jsonl");
    expect(run).toMatchObject({ status: 4, stdout: "" });
    const named = [...run.stderr.matchAll(/^line (\d+): /gm)].map((match) => Number(match[1]));
    expect(named).toEqual([2, 3, 5, 6, 7, 8, 9, 10]);
    expect(run.stderr).toContain("no-such-file");
    expect(run.stderr).toContain("line 6: the key is on line 4 already");
    expect(git(dir, "for-each-ref")).toBe(before);
    const json = kv(dir, "mset", "--file", "bad.jsonl", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: "INPUT_INVALID", exit: 4 } });
    expect(kv(dir, "mset", "--file", "no-such-batch.jsonl").status).toBe(4);
    expect(fs.readdirSync(path.join(dir, ".git", "objects", "pack")).filter((name) => name.startsWith("tmp"))).toEqual(
      [],
    );
  });

  test("values given twice or not at all, several keys, unreadable flags", () => {
    const dir = store();
    for (const args of [
      ["set", "k"],
      ["set", "k", "v", "--file", "f"],
      ["get", "a", "b"],
      ["get", "a", "--output", "f", "--output-dir", "d"],
      ["list", "--limit", "x"],
      ["mset"],
    ]) {
      expect(kv(dir, ...args).status).toBe(64);
    }
    for (const args of [
      ["set", "k", "v", "--label", "x"],
      ["set", "k", "v", "--ctype", "x"],
      ["set", "k", "v", "--ttl", "x"],
    ]) {
      expect(kv(dir, ...args).status).toBe(4);
    }
    expect(kv(dir, "set", "k", "v", "-m", "KV-Seq: 7").status).toBe(4);
  });

  test("Ctrl-C in the middle leaves nothing half done", async () => {
    const dir = store();
    const before = git(dir, "for-each-ref");
    const child = spawn(executable("git-kv"), ["mset", "--file", "-"], {
      cwd: dir,
      env: ENV,
      stdio: ["pipe", "ignore", "pipe"],
    });
    // More than a pipe holds: written once it is being read.
    const line = JSON.stringify({ op: "set", key: "k", value: "v".repeat(300_000) });
    await new Promise<void>((resolve) => child.stdin.write(`${line}\n`, () => resolve()));
    child.kill("SIGINT");
    const status = await new Promise((resolve) => child.once("exit", resolve));
    expect(status).toBe(130);
    expect(git(dir, "for-each-ref")).toBe(before);
    expect(kvOk(dir, "set", "k", "after")).toHaveLength(TEST_FORMAT.hexSize);
    expect(fsck(dir)).toBe("notice: HEAD points to an unborn branch (main)");
  });
});

describe("many writers in one repository", () => {
  test("none loses a key", async () => {
    const dir = store();
    const writers = Array.from({ length: 8 }, (_, i) =>
      Bun.spawn([executable("git-kv"), "set", `k${i}`, "v"], { cwd: dir, env: ENV, stdout: "ignore", stderr: "pipe" }),
    );
    for (const writer of writers) {
      const stderr = await new Response(writer.stderr).text();
      expect([await writer.exited, stderr]).toEqual([0, ""]);
    }
    expect(kvOk(dir, "list", "--count")).toBe("8");
    expect(git(dir, "rev-list", "--count", "refs/kv/main")).toBe("9");
    expect(fsck(dir)).toBe("notice: HEAD points to an unborn branch (main)");
  });
});
