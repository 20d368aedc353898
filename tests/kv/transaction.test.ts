/** What a transaction does to keys: revisions, expiry, labels, conditions, messages. */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { MODE, parseTree } from "../../src/gitwire/object/tree.ts";
import { findInIndex } from "../../src/kv/index-list.ts";
import { keyDigits, keyName, parseKey } from "../../src/kv/key.ts";
import { findInTrie } from "../../src/kv/ledger-trie.ts";
import type { Condition, Operation } from "../../src/kv/operation.ts";
import { type Metadata, parseIndexRecord, parseMetadata } from "../../src/kv/record.ts";
import { KvModel } from "../support/kv-model.ts";
import { readValue } from "../support/read.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

/** The clock of KvModel's committer. */
const NOW = 1_767_322_800;

function codeOf(run: () => unknown): string {
  try {
    run();
    return "ok";
  } catch (error) {
    if (error instanceof KvError) return error.code;
    throw error;
  }
}

function metadata(model: KvModel, text: string): Metadata {
  const key = parseKey(text);
  const file = findInTrie(model.objects, model.state!.meta!, keyDigits(key), [`${keyName(key)}.meta`])!;
  return parseMetadata(model.objects.read(file.oid)!.data);
}

function record(model: KvModel, text: string): ReturnType<typeof parseIndexRecord> {
  const found = findInIndex(model.objects, model.state!.ledger.indexTree, parseKey(text))!;
  return parseIndexRecord(model.objects.read(found.oid)!.data);
}

const when = (operation: Operation, condition: Condition): Operation => ({ ...operation, condition });

describe("revisions", () => {
  test("count on through deletions, and base links each to the one before", () => {
    const model = new KvModel();
    model.commit([model.set("k", "1")]);
    const first = model.state!.ledger.oid;
    expect(metadata(model, "k")).toMatchObject({ rev: 1 });
    expect(metadata(model, "k").base).toBeUndefined();
    model.commit([model.set("k", "2")]);
    const second = model.state!.ledger.oid;
    expect(metadata(model, "k")).toMatchObject({ rev: 2, base: first });
    model.commit([model.del("k")]);
    expect(record(model, "k")).toEqual({ kind: "deleted", key: "k", rev: 3, base: second });
    expect([model.state!.data, model.state!.meta]).toEqual([undefined, undefined]);
    model.commit([model.set("k", "2")]);
    expect(metadata(model, "k")).toMatchObject({ rev: 4 });
    expect(record(model, "k")).toMatchObject({ kind: "live", rev: 4 });
  });

  test("a first transaction with keys has no base", () => {
    const model = new KvModel();
    const plan = model.commit([model.set("a", "1"), model.set("b", "2")]);
    expect(plan).toMatchObject({ kind: "planned", seq: 1 });
    expect(metadata(model, "b").base).toBeUndefined();
  });
});

describe("nothing changes", () => {
  test("where value, media type, expiry and labels are the same: no revision and no commit", () => {
    const model = new KvModel();
    const same = { expires: NOW + 60, ctype: "text/plain", labels: { b: "1", a: "2" } };
    model.commit([model.set("k", "v", same)]);
    const state = model.state!;
    expect(model.commit([model.set("k", "v", { ...same, labels: { a: "2", b: "1" } })])).toEqual({
      kind: "unchanged",
      base: state,
    });
    expect(model.commit([])).toEqual({ kind: "unchanged", base: state });
    expect(model.commit([model.del("missing", true)])).toEqual({ kind: "unchanged", base: state });
    for (const other of [
      { ...same, expires: NOW + 61 },
      { ...same, ctype: "text/html" },
      { ...same, labels: { a: "2" } },
      { ctype: "text/plain" },
    ]) {
      expect(model.plan([model.set("k", "v", other)]).kind).toBe("planned");
    }
    expect(model.plan([model.set("k", "w", same)]).kind).toBe("planned");
  });

  test("beside keys that change: only those count", () => {
    const model = new KvModel();
    model.commit([model.set("a", "1"), model.set("b", "1")]);
    const plan = model.commit([model.set("a", "1"), model.set("b", "2"), model.del("c", true)]);
    expect(plan).toMatchObject({ kind: "planned", changes: [{ key: "b", rev: 2 }] });
    expect(model.state!.ledger).toMatchObject({ keysSet: 1, keysDel: 0 });
    expect(metadata(model, "a").rev).toBe(1);
  });

  test("of the value, only its labels do, among many keys: its data tree stays the same object", () => {
    const model = new KvModel();
    model.commit(Array.from({ length: 600 }, (_, i) => model.set(`k${i}`, "v")));
    const { data, meta } = model.state!;
    model.commit([model.set("k7", "v", { labels: { a: "b" } })]);
    expect(model.state!.data).toBe(data!);
    expect(model.state!.meta).not.toBe(meta!);
    expect(metadata(model, "k7")).toMatchObject({ rev: 2, labels: { a: "b" } });
  });

  test("no labels and empty labels are the same", () => {
    const model = new KvModel();
    model.commit([model.set("k", "v", { labels: {} })]);
    expect(metadata(model, "k").labels).toBeUndefined();
    expect(model.plan([model.set("k", "v")]).kind).toBe("unchanged");
  });
});

describe("a namespace without keys", () => {
  test("has kv.json only, and the empty tree as kv-index, stored", () => {
    const model = new KvModel();
    expect(model.commit([])).toMatchObject({ kind: "planned", seq: 1, changes: [] });
    const { ledger } = model.state!;
    expect([...model.files(ledger.tree).keys()]).toEqual(["kv.json"]);
    expect(ledger.indexTree).toBe(TEST_FORMAT.emptyTree);
    expect(model.objects.objects.has(TEST_FORMAT.emptyTree)).toBe(true);
    expect(ledger).toMatchObject({ baseTree: undefined, keysSet: 0, keysDel: 0, epoch: "e1", parent: undefined });
    expect(ledger.commit.message).toStartWith("init main\n\nKV-NS: main\n");
  });
});

describe("deletions", () => {
  test("of keys that are not there fail together, unless they may be missing", () => {
    const model = new KvModel();
    model.commit([model.set("a", "1"), model.set("gone", "1")]);
    model.commit([model.del("gone")]);
    const state = model.state;
    expect(() => model.commit([model.set("new", "1"), model.del("x"), model.del("gone"), model.del("a")])).toThrow(
      'not found: "gone", "x"',
    );
    expect(model.state).toBe(state);
    expect(codeOf(() => model.plan([model.del("x")]))).toBe("KEY_NOT_FOUND");
    const plan = model.commit([model.del("x", true), model.del("a")]);
    expect(plan).toMatchObject({ changes: [{ kind: "del", key: "a", rev: 2 }] });
  });

  test("fifteen missing keys: ten are named", () => {
    const model = new KvModel();
    model.commit([]);
    const operations = Array.from({ length: 15 }, (_, i) => model.del(`k${String(i).padStart(2, "0")}`));
    expect(() => model.plan(operations)).toThrow(/"k09" and 5 more$/);
  });
});

test("a key twice is an error", () => {
  const model = new KvModel();
  expect(codeOf(() => model.plan([model.set("k", "1"), model.del("k", true)]))).toBe("KEY_INVALID");
});

describe("expiry", () => {
  const read = (model: KvModel, now: number, allowExpired = false): string =>
    codeOf(() => readValue(model.objects, model.state!, "k", { now, allowExpired }));

  test("a key is there until its second begins", () => {
    const model = new KvModel();
    model.commit([model.set("k", "v", { expires: NOW })]);
    expect([read(model, NOW - 1), read(model, NOW), read(model, NOW + 1)]).toEqual([
      "ok",
      "KEY_EXPIRED",
      "KEY_EXPIRED",
    ]);
    expect(read(model, NOW + 1, true)).toBe("ok");
    expect([...model.files(model.state!.ledger.indexTree).keys()]).toEqual([`k@${NOW}.ref`]);
  });

  test("setting it anew renames its file; without a time it stays for ever", () => {
    const model = new KvModel();
    model.commit([model.set("k", "v", { expires: NOW })]);
    model.commit([model.set("k", "v", { expires: NOW + 9 })]);
    expect([...model.files(model.state!.ledger.indexTree).keys()]).toEqual([`k@${NOW + 9}.ref`]);
    model.commit([model.set("k", "v")]);
    expect([...model.files(model.state!.ledger.indexTree).keys()]).toEqual(["k.ref"]);
    expect(metadata(model, "k")).toMatchObject({ rev: 3 });
    expect(metadata(model, "k").expires).toBeUndefined();
  });

  test("an expired key counts as absent for conditions, keeps its revisions, and can be deleted", () => {
    const model = new KvModel();
    model.commit([model.set("k", "v", { expires: NOW })]);
    const blob = model.objects.write("blob", Buffer.from("v"));
    const refused = (condition: Condition): string => codeOf(() => model.plan([when(model.set("k", "w"), condition)]));
    expect(refused({ kind: "absent" })).toBe("ok");
    expect(refused({ kind: "present" })).toBe("CAS_CONFLICT");
    expect(refused({ kind: "blob", oid: blob })).toBe("CAS_CONFLICT");
    expect(refused({ kind: "rev", rev: 1 })).toBe("ok");
    expect(model.plan([when(model.set("k", "v", { expires: NOW }), { kind: "absent" })]).kind).toBe("unchanged");
    model.commit([model.del("k")]);
    expect(record(model, "k")).toMatchObject({ kind: "deleted", rev: 2 });
  });
});

describe("conditions", () => {
  const model = new KvModel();
  model.commit([model.set("live", "v"), model.set("gone", "v")]);
  model.commit([model.del("gone")]);
  const blob: Oid = model.objects.write("blob", Buffer.from("v"));
  const other: Oid = model.objects.write("blob", Buffer.from("w"));

  test("for set, del and check alike", () => {
    const cases: [string, Condition, boolean][] = [
      ["live", { kind: "absent" }, false],
      ["gone", { kind: "absent" }, true],
      ["never", { kind: "absent" }, true],
      ["live", { kind: "present" }, true],
      ["gone", { kind: "present" }, false],
      ["never", { kind: "present" }, false],
      ["live", { kind: "blob", oid: blob }, true],
      ["live", { kind: "blob", oid: other }, false],
      ["gone", { kind: "blob", oid: blob }, false],
      ["never", { kind: "blob", oid: blob }, false],
      ["live", { kind: "rev", rev: 1 }, true],
      ["live", { kind: "rev", rev: 0 }, false],
      ["live", { kind: "rev", rev: 2 }, false],
      ["gone", { kind: "rev", rev: 2 }, true],
      ["gone", { kind: "rev", rev: 0 }, false],
      ["never", { kind: "rev", rev: 0 }, true],
      ["never", { kind: "rev", rev: 1 }, false],
    ];
    for (const [key, condition, holds] of cases) {
      const check: Operation = { kind: "check", key, condition };
      for (const operation of [when(model.set(key, "new"), condition), when(model.del(key, true), condition), check]) {
        expect([key, condition, operation.kind, codeOf(() => model.plan([operation]))]).toEqual([
          key,
          condition,
          operation.kind,
          holds ? "ok" : "CAS_CONFLICT",
        ]);
      }
    }
  });

  test("a check changes nothing and guards the others", () => {
    const check = (key: string, condition: Condition): Operation => ({ kind: "check", key, condition });
    expect(model.plan([check("live", { kind: "present" })]).kind).toBe("unchanged");
    expect(model.plan([check("live", { kind: "present" }), model.set("x", "1")])).toMatchObject({
      changes: [{ key: "x" }],
    });
    expect(codeOf(() => model.plan([check("gone", { kind: "present" }), model.set("x", "1")]))).toBe("CAS_CONFLICT");
  });

  test("the error says what is there", () => {
    const conflict =
      (key: string): (() => unknown) =>
      () =>
        model.plan([when(model.set(key, "x"), { kind: "rev", rev: 9 })]);
    expect(conflict("live")).toThrow(`key "live" is at blob ${blob}, revision 1, expected revision 9`);
    expect(conflict("gone")).toThrow('key "gone" is deleted, revision 2, expected revision 9');
    expect(conflict("never")).toThrow('key "never" was never set, expected revision 9');
  });
});

describe("messages", () => {
  const subjects = (operations: (model: KvModel) => Operation[], message?: string): string[] => {
    const model = new KvModel();
    model.commit([model.set("there", "v")]);
    const plan = model.commit(operations(model), message);
    if (plan.kind !== "planned") throw new Error("nothing changed");
    const index = model.objects.read(plan.moves[1]!.newOid)!.data.toString().split("\n\n")[1]!;
    return [model.state!.ledger.commit.message.split("\n\nKV-NS")[0]!, index];
  };

  test("say what was done where the user does not", () => {
    expect(subjects((m) => [m.set("a b", "1")])).toEqual(["set a b", "kv-index: set a b"]);
    expect(subjects((m) => [m.del("there")])).toEqual(["del there", "kv-index: del there"]);
    expect(subjects((m) => [m.set("a", "1"), m.set("b", "1"), m.del("there")])).toEqual([
      "mset: 2 set, 1 del",
      "kv-index: mset: 2 set, 1 del",
    ]);
  });

  test("of the user: trimmed, line ends made git's, subject to the kv-index", () => {
    expect(subjects((m) => [m.set("a", "1")], "\r\n why\r\nand how \n\n a body\n\n")).toEqual([
      "why\nand how \n\n a body",
      "kv-index: why",
    ]);
    expect(subjects((m) => [m.set("a", "1")], "é: ü")).toEqual(["é: ü", "kv-index: é: ü"]);
  });

  test("that look like trailers are refused", () => {
    const refused = (text: string): string => codeOf(() => subjects((m) => [m.set("a", "1")], text));
    for (const text of [
      "",
      " \n ",
      "a\0b",
      "KV-NS: x",
      "kv-anything: x",
      "kv-index: x",
      "subject\n\nEpoch: e2",
      "a\n  keys-set : 1",
      "a\n\nParent-Epoch:",
      "x\rBase-Tree: y",
    ]) {
      expect([text, refused(text)]).toEqual([text, "INPUT_INVALID"]);
    }
    for (const text of ["Fixes: #1", "a\n\nSigned-off-by: A <a@b>", "KV rocks: yes", "the epoch: e2"])
      expect([text, refused(text)]).toEqual([text, "ok"]);
  });
});

test("keys that cut one label at several places are each written once", () => {
  // A branch below a long label; then keys that leave the label after 21, 28 and 7 bytes, in one transaction.
  const long = "x".repeat(60);
  const model = new KvModel();
  model.commit([...Array.from({ length: 600 }, (_, i) => model.set(`${long}/${i}`, "v")), model.set("other", "v")]);
  const plan = model.commit([21, 28, 7].map((length) => model.set("x".repeat(length), "w")));
  expect(plan).toMatchObject({ kind: "planned" });
  if (plan.kind !== "planned") throw new Error("not planned");
  expect(plan.changes.map(({ key }) => key.length)).toEqual([7, 21, 28]);
  for (const root of [model.state!.data, model.state!.meta, model.state!.ledger.indexTree]) {
    const paths: string[] = [];
    const walk = (oid: Oid, path: string): void => {
      for (const entry of parseTree(model.objects.format, model.objects.read(oid)!.data)) {
        if (entry.mode === MODE.tree) walk(entry.oid, `${path}${entry.name}/`);
        else paths.push(entry.name);
      }
    };
    walk(root!, "");
    expect(paths.length).toBe(604);
    expect(new Set(paths).size).toBe(604);
  }
});
