/**
 * The shell hook that the bench holds the Stargate against (bench/shell-hook.ts) takes what our planner makes, directories that split and
 * fold included, and refuses what a Stargate refuses. It knows sha1 only.
 */

import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as path from "node:path";
import { installEquivalentHook } from "../../bench/shell-hook.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import type { Files } from "../support/forge.ts";
import { withLedger } from "../support/forged.ts";
import { type TreeForgery, withTrees } from "../support/forged-trees.ts";
import { git, tryGit } from "../support/git.ts";
import { type Planned, TestClient, type TestValues } from "../support/stargate.ts";
import { tempDir } from "../support/temp.ts";
import { TestKey } from "../support/test-key.ts";

setDefaultTimeout(120_000);

const KEY = new TestKey("writer");
const dir = path.join(tempDir("shell-hook"), "client.git");
const server = path.join(path.dirname(dir), "server.git");
let client: TestClient;

beforeAll(() => {
  for (const repo of [dir, server]) git(path.dirname(dir), "init", "-q", "--bare", "--object-format=sha1", repo);
  installEquivalentHook(server, [KEY.line]);
  client = new TestClient(dir, "");
  client.sign = sign;
});

const sign = (commit: Buffer): Buffer => Buffer.from(KEY.signCommit(commit.toString(), "gpgsig"));

/** Pushes with stock git; returns what the hook said, "" where it let the push in. */
function push(planned: Planned, refs = planned.commands): string {
  writePack(client.repo.objects, planned.pack.finish());
  const words = refs.map(({ ref, newOid }) => `${newOid}:${ref}`);
  const { status, stderr } = tryGit(dir, ["push", "-q", "--atomic", "--force", server, ...words]);
  if (status === 0) return "";
  return /refused: (.*?) *$/m.exec(stderr)?.[1] ?? stderr;
}

/** Lets a transaction in, on both sides. */
function accept(values: TestValues): void {
  const planned = client.plan(values);
  expect(push(planned)).toBe("");
  for (const { ref, newOid } of planned.commands) git(dir, "update-ref", ref, newOid);
}

/** A plan with its ledger commit edited, then signed. */
function edited(values: TestValues, edit: (text: string) => string): Planned {
  client.sign = undefined;
  const planned = client.plan(values);
  client.sign = sign;
  return withLedger(client, planned, (text) => {
    const changed = edit(text);
    expect(changed).not.toBe(text);
    return sign(Buffer.from(changed)).toString();
  });
}

describe("the shell hook", () => {
  test("takes what the planner makes", () => {
    accept({ "user:1": "one", 'q "\\é.ref': "odd", ["x".repeat(300)]: "long" });
    accept({ "user:1": "two" });
    accept({ "user:1": undefined, "user:2": "new" });
    accept({ "user:1": "again" });
    accept({ "user:2": "the same value, then once more" });
    accept(Object.fromEntries(Array.from({ length: 260 }, (_, i) => [`many:${i}`, `value ${i}`])));
    accept({ "many:7": "changed in a directory that is split", "many:300": "new there" });
    accept(Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`many:${i}`, undefined])));
    expect(git(server, "rev-parse", "refs/kv/main")).toBe(git(dir, "rev-parse", "refs/kv/main"));
    expect(git(server, "fsck", "--strict")).toBe("");
  });

  const lies: readonly (readonly [what: string, edit: (text: string) => string, says: RegExp])[] = [
    ["the number of keys", (text) => text.replace("Keys-Set: 1", "Keys-Set: 2"), /does not say what it does/],
    ["KV-Seq", (text) => text.replace(/KV-Seq: \d+/, "KV-Seq: 99"), /does not say what it does/],
    ["KV-Txn", (text) => text.replace(/KV-Txn: .{4}/, "KV-Txn: 0000"), /does not say what it does/],
    ["the tree of the kv-index", (text) => text.replace(/KV-Index-Tree: ..../, "KV-Index-Tree: 0000"), /does not say/],
    ["the policy", (text) => text.replace("KV-Policy: -", `KV-Policy: ${"1".repeat(40)}`), /does not say what it does/],
    ["the epoch", (text) => text.replace("Epoch: e1", "Epoch: e2"), /does not say what it does/],
    ["another trailer", (text) => text.replace("Epoch: e1", "Epoch: e1\nKV-More: 1"), /does not say what it does/],
    ["another header", (text) => text.replace("\n\n", "\nencoding utf-8\n\n"), /other headers/],
    [
      "the parent",
      (text) => text.replace(/parent .*/, `parent ${git(dir, "rev-parse", "refs/kv/main~2")}`),
      /is not built on/,
    ],
  ];
  for (const [what, edit, says] of lies) {
    test(`refuses a ledger commit that lies about ${what}`, () => {
      expect(push(edited({ "user:1": "x" }, edit))).toMatch(says);
    });
  }

  test("refuses what no writer signed", () => {
    client.sign = undefined;
    const unsigned = client.plan({ "user:1": "x" });
    const stranger = new TestKey("stranger");
    client.sign = (commit) => Buffer.from(stranger.signCommit(commit.toString(), "gpgsig"));
    const strangers = client.plan({ "user:1": "x" });
    client.sign = sign;
    for (const planned of [unsigned, strangers]) expect(push(planned)).toMatch(/no writer signed/);
    const planned = client.plan({ "user:1": "x" });
    const broken = withLedger(client, planned, (text) => text.replace("\n\nset", "\n\nSet"));
    expect(push(broken)).toMatch(/no writer signed/);
  });

  test("refuses one ref without the other, a deletion, and what is no ref of a transaction", () => {
    const planned = client.plan({ "user:1": "x" });
    const [ledger, index] = planned.commands;
    expect(push(planned, [ledger!])).toMatch(/no transaction/);
    expect(push(planned, [index!])).toMatch(/no transaction/);
    expect(push(planned, [ledger!, { ...index!, ref: "refs/kv-index/other" }])).toMatch(/no transaction/);
    expect(push(planned, [ledger!, index!, { ...index!, ref: "refs/heads/main" }])).toMatch(/no ref of a transaction/);
    expect(tryGit(dir, ["push", "-q", server, ":refs/kv/main", ":refs/kv-index/main"]).status).not.toBe(0);
  });
  const end = (files: Files, suffix: string): string => [...files.keys()].find((name) => name.endsWith(suffix))!;
  const rewrite =
    (suffix: string, from: RegExp, to: string): NonNullable<TreeForgery["ledger"]> =>
    (files, write, read) => {
      const name = end(files, suffix);
      const [text, forged] = [read(files.get(name)!.oid), read(files.get(name)!.oid).replace(from, to)];
      expect(forged).not.toBe(text);
      files.set(name, { mode: 0o100644, oid: write(forged) });
    };
  const meta = "user%3A1.meta";
  const entry = "user%3A1.ref";
  const other = "user%3A2";
  const forgeries: readonly (readonly [what: string, forgery: TreeForgery, says: RegExp])[] = [
    ["an etag", { ledger: rewrite(meta, /blake3:..../, "blake3:0000") }, /is not blake3:0000/],
    ["a size", { ledger: rewrite(meta, /"size":\d+/, '"size":9') }, /has another record/],
    ["a revision", { ledger: rewrite(meta, /"rev":\d+/, '"rev":77') }, /has another record/],
    ["a base", { ledger: rewrite(meta, /"base":"..../, '"base":"0000') }, /has another record/],
    ["a key", { ledger: rewrite(meta, /"user:1"/, '"user:3"') }, /changes its key/],
    ["another value", { ledger: rewrite("/user%3A1", /x/, "y") }, /the kv-index says otherwise/],
    ["a blob in the kv-index", { index: rewrite(entry, /"oid":"..../, '"oid":"0000') }, /the kv-index says otherwise/],
    ["a size in the kv-index", { index: rewrite(entry, /"size":\d+/, '"size":9') }, /the kv-index says otherwise/],
    ["another key's value", { ledger: rewrite(other, /^/, "more") }, /has no record/],
    ["another key's record", { ledger: rewrite(`${other}.meta`, /"rev":\d+/, '"rev":5') }, /is not in the kv-index/],
    ["another key's entry", { index: rewrite(`${other}.ref`, /"rev":\d+/, '"rev":5') }, /has no record/],
    ["kv.json", { ledger: rewrite("kv.json", /main/, "mine") }, /no file of a key/],
    [
      "a file more",
      { ledger: (files, write) => void files.set("data/note", { mode: 0o100644, oid: write("x") }) },
      /no record/,
    ],
    [
      "a mode",
      {
        ledger: (files) => void files.set(end(files, meta), { mode: 0o100755, oid: files.get(end(files, meta))!.oid }),
      },
      /no plain file/,
    ],
    ["an entry that is gone", { index: (files) => void files.delete(end(files, entry)) }, /is not in the kv-index/],
    [
      "a tombstone",
      {
        index: (files) => {
          files.set("user%3A1.del", files.get(end(files, entry))!);
          files.delete(end(files, entry));
        },
      },
      /is not in the kv-index/,
    ],
    [
      "a place",
      {
        ledger: (files) => {
          for (const name of [end(files, meta), end(files, "data/user%3A1")]) {
            files.set(name.replace("/", "/0/1/"), files.get(name)!);
            files.delete(name);
          }
        },
      },
      /in the wrong place/,
    ],
  ];
  for (const [what, forgery, says] of forgeries) {
    test(`refuses a transaction that forges ${what}`, () => {
      client.sign = undefined;
      const planned = client.plan({ "user:1": "x" });
      client.sign = sign;
      const text = (commit: string): string => sign(Buffer.from(commit)).toString();
      expect(push(withTrees(client, planned, { ...forgery, text }))).toMatch(says);
    });
  }

  test("the forger's tools change nothing by themselves", () => {
    client.sign = undefined;
    const planned = client.plan({ "user:1": "y" });
    client.sign = sign;
    expect(push(withTrees(client, planned, { text: (commit) => sign(Buffer.from(commit)).toString() }))).toBe("");
  });
});
