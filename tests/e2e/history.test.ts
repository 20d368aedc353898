/** History on the command line, with the compiled executable in a store of its own. */

import { beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { etagOf } from "../../src/kv/etag.ts";
import { executable } from "../support/executable.ts";
import { git } from "../support/git.ts";
import { ENV, kv, kvOk } from "../support/scene.ts";
import { tempDir } from "../support/temp.ts";

let dir: string;
/** Ledger commits by what they did. */
const oids: Record<string, string> = {};

beforeAll(() => {
  dir = tempDir("history");
  kvOk(dir, "init");
  oids.dark = kvOk(dir, "set", "cfg:theme", "dark");
  oids.other = kvOk(dir, "set", "cfg:lang", "en");
  oids.light = kvOk(dir, "set", "cfg:theme", "light", "-m", "brighter\n\nfor the summer");
  oids.gone = kvOk(dir, "del", "cfg:theme");
});

/** Lines split at their tabs. */
const rows = (text: string): string[][] => text.split("\n").map((line) => line.split("\t"));
const jsonLines = (text: string): Record<string, unknown>[] => text.split("\n").map((line) => JSON.parse(line));
/** The value as it was then. */
const blobOf = (name: string): string => `${oids[name]}:data/cfg%3Atheme`;
const short = (name: string): string => oids[name]!.slice(0, 12);

describe("history", () => {
  test("shows the revisions of a key, newest first", () => {
    const found = rows(kvOk(dir, "history", "cfg:theme"));
    const etag = (value: string): string => etagOf(Buffer.from(value)).slice(0, "blake3:".length + 12);
    expect(found.map(([oid, , , ...rest]) => [oid, ...rest])).toEqual([
      [short("gone"), "del", "3", "unsigned", "del cfg:theme", "-"],
      [short("light"), "set", "2", "unsigned", "brighter", `5 B, ${etag("light")}`],
      [short("dark"), "set", "1", "unsigned", "set cfg:theme", `4 B, ${etag("dark")}`],
    ]);
    const [, time, who] = found[0]!;
    expect(time).toBe(git(dir, "log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", oids.gone!));
    expect(who).toBe(git(dir, "log", "-1", "--format=%an <%ae>", oids.gone!));
    expect(kvOk(dir, "history", "cfg:theme", "--limit", "1").split("\t")[0]).toBe(short("gone"));
    expect(kvOk(dir, "history", "cfg:theme", "--limit", "0")).toBe("");
  });

  test("with what became of the value, and as JSON", () => {
    const patches = kvOk(dir, "history", "cfg:theme", "--patch").split("\n");
    expect(patches.filter((line) => /^[-+@]/.test(line))).toEqual([
      ...["@@ -1 +0,0 @@", "-light", "@@ -1 +1 @@", "-dark", "+light", "@@ -0,0 +1 @@", "+dark"],
    ]);
    const records = jsonLines(kvOk(dir, "history", "cfg:theme", "--json"));
    expect(records.map(({ op, rev, oid, seq }) => [op, rev, oid, seq])).toEqual([
      ["del", 3, oids.gone, 5],
      ["set", 2, oids.light, 4],
      ["set", 1, oids.dark, 2],
    ]);
    expect(records[1]).toMatchObject({
      ...{ key: "cfg:theme", epoch: "e1", subject: "brighter", signature: { state: "unsigned" } },
      value: {
        type: "inline",
        size: 5,
        ctype: "text/plain; charset=utf-8",
        oid: git(dir, "rev-parse", blobOf("light")),
      },
      txn: expect.stringMatching(/^[0-9A-Z]{26}$/),
    });
  });

  test("of a key that was never set, and of what is no key", () => {
    expect(kv(dir, "history", "nobody")).toMatchObject({
      status: 6,
      stderr: "error: \"nobody\" was never set in the epoch 'e1'\n",
    });
    expect(kv(dir, "history", "").status).toBe(4);
    expect(kv(dir, "history", "k", "--limit", "some").status).toBe(64);
  });

  test("a subject cannot break the columns or drive the terminal", () => {
    kvOk(dir, "set", "evil", "x", "-m", "a\tb\x1b[31mred");
    expect(rows(kvOk(dir, "history", "evil"))[0]![6]).toBe("a\\x09b\\x1b[31mred");
  });

  test("nor turn a line around on a terminal, and what is piped is as it is", () => {
    const store = tempDir("turned");
    kvOk(store, "init");
    kvOk(store, "set", "k", "value \u202e", "-m", "\u202edoog");
    kvOk(store, "set", "\u2067k", "v");
    for (const args of ["history k --patch", "log --keys", "diff 1 --patch"]) {
      const shown = spawnSync("script", ["-qec", `${executable("git-kv")} ${args}`, "/dev/null"], {
        cwd: store,
        env: { ...ENV, TERM: "xterm" },
        encoding: "utf8",
      });
      expect([args, shown.status, /[\u202e\u2067]/.test(shown.stdout)]).toEqual([args, 0, false]);
      expect(shown.stdout).toMatch(/\\u202e|\\u2067/);
      expect(kvOk(store, ...args.split(" "))).toMatch(/[\u202e\u2067]/);
    }
  });

  test("the table of transactions is no trouble for git", () => {
    expect(fs.existsSync(path.join(dir, ".git", "kv", "transactions-main"))).toBe(true);
    git(dir, "gc", "-q");
    expect(rows(kvOk(dir, "history", "cfg:theme")).length).toBe(3);
  });
});

describe("as it was", () => {
  test("get and list --at, by commit, number, name, steps back and time", () => {
    const [{ txn, time }] = jsonLines(kvOk(dir, "history", "cfg:theme", "--json", "--limit", "2")).slice(1) as [
      { txn: string; time: string },
    ];
    for (const at of [oids.light!, short("light"), txn, "4"])
      expect(kv(dir, "get", "cfg:theme", "--at", at).stdout).toBe("light");
    expect(kv(dir, "get", "cfg:theme", "--at", oids.dark!).stdout).toBe("dark");
    expect(kv(dir, "get", "cfg:theme").status).toBe(6);
    // All was made in the same second or the ones after it: the newest then is one of them.
    expect(kv(dir, "get", "cfg:lang", "--at", time).status).toBe(0);
    expect(kv(dir, "get", "cfg:theme", "--at", "2001-01-01")).toMatchObject({
      status: 6,
      stderr: expect.stringContaining(
        "error: 'main' has no transaction as old as 2001-01-01T00:00:00Z: transaction 1 is of 20",
      ),
    });
    expect(kvOk(dir, "list", "--at", "3")).toBe("cfg:lang\ncfg:theme");
    expect(kvOk(dir, "list", "--at", "5", "--deleted")).toBe("cfg:theme");
    expect(kv(dir, "get", "cfg:lang", "--at", "99")).toMatchObject({ status: 4 });
  });

  test("a key that has expired since is there as it was then", () => {
    const oid = kvOk(dir, "set", "brief", "here", "--expires", "@1");
    expect(kv(dir, "get", "brief", "--at", oid).status).toBe(7);
    const expires = `@${Math.floor(Date.now() / 1000) + 1_000}`;
    const soon = kvOk(dir, "set", "brief", "again", "--expires", expires);
    expect(kv(dir, "get", "brief", "--at", soon).stdout).toBe("again");
    expect(kvOk(dir, "list", "--prefix", "brief", "--at", soon)).toBe("brief");
  });
});

describe("log", () => {
  test("shows the transactions, all or those of a prefix, with their keys", () => {
    const all = rows(kvOk(dir, "log"));
    expect(all.map(([oid]) => oid)).toEqual(
      git(dir, "log", "--format=%H", "refs/kv/main")
        .split("\n")
        .map((oid) => oid.slice(0, 12)),
    );
    expect(all.at(-3)!.slice(3)).toEqual(["3", "+1", "-0", "unsigned", "set cfg:lang"]);
    expect(all.at(-1)!.slice(3)).toEqual(["1", "+0", "-0", "unsigned", "init main"]);
    expect(rows(kvOk(dir, "log", "--limit", "2", "--at", "5")).map(([oid]) => oid)).toEqual([
      short("gone"),
      short("light"),
    ]);
    expect(
      kvOk(dir, "log", "--prefix", "cfg:th", "--keys")
        .split("\n")
        .map((line) => line.split("\t")[0]),
    ).toEqual([...[short("gone"), "  - cfg:theme", short("light"), "  + cfg:theme", short("dark"), "  + cfg:theme"]]);
    const [record] = jsonLines(kvOk(dir, "log", "--json", "--keys", "--at", oids.gone!));
    expect(record).toMatchObject({
      ...{ oid: oids.gone, seq: 5, set: 0, del: 1, subject: "del cfg:theme", signature: { state: "unsigned" } },
      keys: [{ op: "del", key: "cfg:theme", rev: 3 }],
    });
    expect(kvOk(dir, "log", "--prefix", "nothing:")).toBe("");
  });
});

describe("diff and revert", () => {
  test("what differs between two states", () => {
    expect(kvOk(dir, "diff", "2", "5")).toBe("+ cfg:lang\n- cfg:theme");
    expect(kvOk(dir, "diff", "5", "2")).toBe("- cfg:lang\n+ cfg:theme");
    expect(kvOk(dir, "diff", "2", "4", "--patch", "--prefix", "cfg:theme")).toBe(
      "~ cfg:theme\n@@ -1 +1 @@\n-dark\n+light\n",
    );
    expect(jsonLines(kvOk(dir, "diff", oids.dark!, oids.light!, "--json", "--prefix", "cfg:t"))).toMatchObject([
      { op: "change", key: "cfg:theme", before: { rev: 1, size: 4 }, after: { rev: 2, size: 5 } },
    ]);
    expect(kvOk(dir, "diff", "2", "5", "--count")).toBe("2");
    expect(kvOk(dir, "diff", "3", "3")).toBe("");
  });

  test("a deletion is taken back, and a change that others built on is not", () => {
    const oid = kvOk(dir, "revert", oids.gone!);
    expect(kv(dir, "get", "cfg:theme").stdout).toBe("light");
    expect(git(dir, "log", "-1", "--format=%s", oid)).toBe("revert del cfg:theme");
    expect(rows(kvOk(dir, "history", "cfg:theme", "-n", "1"))[0]!.slice(3, 5)).toEqual(["set", "4"]);
    expect(kv(dir, "revert", oids.dark!)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('error: "cfg:theme" has changed since transaction 2\n'),
    });
    expect(JSON.parse(kvOk(dir, "revert", oids.other!, "--json", "-m", "no language"))).toMatchObject({
      set: 0,
      del: 1,
    });
    expect(kv(dir, "get", "cfg:lang").status).toBe(6);
    expect(kv(dir, "revert", "2h").status).toBe(4);
  });
});

test("doctor finds a store in order, and ends with the status of what it does not", () => {
  const checks = jsonLines(kvOk(dir, "doctor", "--json"));
  expect(checks.map(({ status }) => status)).not.toContain("fail");
  expect(checks.find(({ check }) => check === "namespace")?.message).toContain("'main' at transaction ");
  const run = kv(dir, "doctor", "--ns", "nowhere");
  expect(run.status).toBe(6);
  expect(run.stdout).toContain(
    "fail  namespace  namespace 'nowhere' is not in this repository\n                 hint: ",
  );
});

test("the table of changed keys changes no answer, over the start of an epoch too", () => {
  const store = tempDir("history-table");
  kvOk(store, "init");
  const work = (round: string): void => {
    for (const [i, key] of ["a", "b", "a", "c", "a", "b", "a"].entries()) {
      if (i === 4) kvOk(store, "del", key);
      else if (i === 5) kvOk(store, "set", key, `${round} ${i}`, "--ttl", "1h");
      else kvOk(store, "set", key, `${round} ${i}`);
    }
  };
  work("first");
  kvOk(store, "del", "c");
  kvOk(store, "compact");
  work("second");
  kvOk(store, "revert", kvOk(store, "set", "b", "to be taken back"));
  kvOk(store, "mset", "--file", lines(store, 300));
  work("third");
  const ask = (): string[] =>
    [
      ...["a", "b", "c", "m7"].flatMap((key) => [
        ["history", key],
        ["history", key, "--epochs", "--json"],
      ]),
      ...["a", "c"].map((key) => ["history", key, "--patch", "--limit", "3"]),
      ...["-1", "-3", "-7", "-9", "-12", "-17", "2"].map((at) => ["diff", at, "--json"]),
      ...[
        ["diff", "-1", "-5"],
        ["diff", "-2", "-20", "--count"],
        ["diff", "-6", "--prefix", "a", "--patch"],
      ],
    ].map((args) => kvOk(store, ...args));
  const table = path.join(store, ".git", "kv", "changes-main");
  // Where no file can be, all is found in the trees.
  fs.rmSync(table, { force: true });
  fs.mkdirSync(table);
  const expected = ask();
  fs.rmdirSync(table);
  expect(ask()).toEqual(expected);
  expect(fs.statSync(table).isFile()).toBe(true);
  fs.rmSync(table);
  kvOk(store, "compact");
  const made = fs.statSync(table).size;
  expect(kvOk(store, "history", "a", "--epochs").split("\n").length).toBe(12);
  expect(fs.statSync(table).size).toBe(made);
  // Where the ledger is set back, and may come again, nothing is taken from the table.
  const written = fs.readFileSync(table);
  const refs = ["refs/kv/main", "refs/kv-index/main"].map((ref) => [ref, git(store, "rev-parse", ref)] as const);
  for (const [ref, oid] of refs) git(store, "update-ref", ref, `${oid}~3`);
  expect(kvOk(store, "history", "b").split("\n").length).toBeGreaterThan(3);
  expect(kvOk(store, "diff", "-2").split("\n").length).toBe(2);
  for (const [ref, oid] of refs) git(store, "update-ref", ref, oid);
  expect(ask()).toEqual(expected);
  expect(fs.readFileSync(table).equals(written)).toBe(true);
});

/** A file of lines that set `count` keys. */
function lines(dir: string, count: number): string {
  const file = path.join(dir, "lines.jsonl");
  fs.writeFileSync(
    file,
    Array.from({ length: count }, (_, i) => `${JSON.stringify({ op: "set", key: `m${i}`, value: `${i}` })}\n`).join(""),
  );
  return file;
}
