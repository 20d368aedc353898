/** What `--at` says, and the states it means: in a real repository, against what git says of the same history. */

import { beforeAll, describe, expect, test } from "bun:test";
import * as path from "node:path";
import { KvError } from "../../src/errors.ts";
import { SHA1 } from "../../src/gitwire/object/oid.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { writePack } from "../../src/gitwire/store/object-writer.ts";
import { parseAt, stateAtPoint } from "../../src/kv/at.ts";
import { listIndex } from "../../src/kv/index-list.ts";
import { listLedger } from "../../src/kv/ledger-list.ts";
import type { NamespaceState } from "../../src/kv/state.ts";
import type { Workspace } from "../../src/kv/workspace.ts";
import { failureOf } from "../support/failure.ts";
import { git } from "../support/git.ts";
import { KvModel } from "../support/kv-model.ts";
import { random } from "../support/random.ts";
import { TEST_FORMAT } from "../support/test-format.ts";
import { newRepository, workspaceAt } from "../support/workspace.ts";

const NOW = 1_767_322_800;

test("the words of --at", () => {
  const at = (text: string) => parseAt(text, SHA1, NOW);
  expect(at("-3")).toEqual({ kind: "back", count: 3 });
  expect(at("1042")).toEqual({ kind: "seq", seq: 1042 });
  expect(at("20260102")).toEqual({ kind: "seq", seq: 20_260_102 });
  expect(at("2026-01-02")).toEqual({ kind: "time", time: 1_767_312_000 });
  expect(at("@17")).toEqual({ kind: "time", time: 17 });
  expect(at("2h")).toEqual({ kind: "time", time: NOW - 7_200 });
  expect(at("100d")).toEqual({ kind: "time", time: NOW - 8_640_000 });
  expect(at("100DE")).toEqual({ kind: "commit", id: "100de" });
  // As many digits as log shows of an id are one, whatever they are.
  expect(at("12345678901")).toEqual({ kind: "seq", seq: 12_345_678_901 });
  expect(at("123456789012")).toEqual({ kind: "commit", id: "123456789012" });
  expect(at("1234567890d")).toEqual({ kind: "time", time: NOW - 1_234_567_890 * 86_400 });
  expect(at("12345678901d")).toEqual({ kind: "commit", id: "12345678901d" });
  expect(at("ab".repeat(20))).toEqual({ kind: "commit", id: "ab".repeat(20) });
  expect(at("01jbaxf5z8j8m7r2tk7gq4w9yc")).toEqual({ kind: "txn", txn: "01JBAXF5Z8J8M7R2TK7GQ4W9YC" });
  for (const name of ["abc", "v1.5", "tags/1042", "refs/kv/main", "HEAD", "yesterday", "2026-13-01", "-1h"])
    expect(at(name)).toEqual({ kind: "ref", name });
  for (const wrong of ["", " ", "a..b", "main~1", "12:00", "x\n", "\0"]) expect(() => at(wrong)).toThrow(KvError);
});

describe("a ledger of 60 transactions", () => {
  const model = new KvModel();
  const states: NamespaceState[] = [];
  let dir: string;
  let workspace: Workspace;

  beforeAll(() => {
    const seeded = random("at");
    for (let i = 0; i < 60; i++) {
      model.at = NOW + i * 100 + seeded.int(250);
      model.commit([
        model.set(`k${i % 9}`, `${i}`),
        model.set(`only:${i}`, "x"),
        ...(i === 30 ? [model.del("only:3")] : []),
      ]);
      states.push(model.state!);
    }
    dir = newRepository(TEST_FORMAT);
    workspace = workspaceAt(dir);
    const pack = new PackBuilder(TEST_FORMAT, { dir: path.join(dir, "objects", "pack") });
    for (const { kind, data } of model.objects.objects.values()) pack.write(kind, data);
    writePack(workspace.repo.objects, pack.finish());
    pack.dispose();
    const { ledger, index } = model.state!;
    git(dir, "update-ref", "refs/kv/main", ledger.oid);
    git(dir, "update-ref", "refs/kv-index/main", index!);
  });

  const find = async (text: string, tip = workspace.requireState()): Promise<number> =>
    (await stateAtPoint(workspace, tip, parseAt(text, TEST_FORMAT, NOW))).ledger.seq;
  const failure = (text: string, tip?: NamespaceState): Promise<string> =>
    find(text, tip).then(
      (seq) => `found ${seq}`,
      (error) => (error instanceof KvError ? error.code : String(error)),
    );

  test("by number, from the end, by name and by id", async () => {
    expect(await find("17")).toBe(17);
    for (const back of [0, 1, 31, 32, 33, 59]) expect(await find(`-${back}`)).toBe(60 - back);
    for (const { ledger } of [states[0]!, states[33]!, states[59]!]) {
      expect(await find(ledger.txn)).toBe(ledger.seq);
      expect(await find(ledger.oid)).toBe(ledger.seq);
      expect(await find(ledger.oid.slice(0, 16))).toBe(ledger.seq);
    }
    // Twenty-six digits of an id look like a KV-Txn.
    const ulidLike = states.map(({ ledger }) => ledger).filter(({ oid }) => oid < "8");
    expect(ulidLike.length).toBeGreaterThan(5);
    for (const { oid, seq } of ulidLike) expect(await find(oid.slice(0, 26))).toBe(seq);
    expect(await find("-2", states[9])).toBe(8);
  });

  test("by time, as git rev-list --before finds it", async () => {
    for (let i = 0; i < 40; i++) {
      const time = NOW + i * 157;
      const oid = git(dir, "rev-list", "-1", `--before=${new Date(time * 1000).toISOString()}`, "refs/kv/main");
      const expected = states.find(({ ledger }) => ledger.oid === oid)?.ledger.seq;
      if (expected === undefined) expect(await failure(`@${time}`)).toBe("NS_NOT_FOUND");
      else expect(await find(`@${time}`)).toBe(expected);
    }
  });

  test("by a tag, a branch or another ref, where that leads to a commit of the ledger", async () => {
    git(dir, "tag", "v1", states[9]!.ledger.oid);
    git(dir, "tag", "-a", "-m", "signed off", "v2", states[19]!.ledger.oid);
    git(dir, "tag", "-a", "-m", "of a tag", "v3", "v2");
    git(dir, "update-ref", "refs/heads/kv/main", states[29]!.ledger.oid);
    git(dir, "tag", "17", states[39]!.ledger.oid);
    for (const [name, seq] of [
      ["v1", 10],
      ["v2", 20],
      ["v3", 20],
      ["tags/v3", 20],
      ["kv/main", 60],
      ["heads/kv/main", 30],
      ["refs/kv/main", 60],
      ["17", 17],
      ["tags/17", 40],
    ] as const)
      expect([name, await find(name)]).toEqual([name, seq]);
    git(dir, "tag", "tree", states[9]!.ledger.tree);
    git(dir, "tag", "index", states[9]!.index!);
    for (const name of ["tree", "index", "v4", "HEAD", "yesterday", "-1h"])
      expect([name, await failure(name)]).toEqual([name, "INPUT_INVALID"]);
    expect((await failureOf(find("index"))).message).toBe("'index' is no commit of the ledger of 'main'");
  });

  test("what is not there says so", async () => {
    expect(await failure("61")).toBe("INPUT_INVALID");
    expect(await failure("0")).toBe("NS_NOT_FOUND");
    expect(await failure("-60")).toBe("NS_NOT_FOUND");
    const tooFar = "'main' has no transaction 61 before its newest: its newest is 60, its first 1";
    expect((await failureOf(find("-61"))).message).toBe(tooFar);
    expect(await failure("@5")).toBe("NS_NOT_FOUND");
    // Before the year 0, and before what a Date can be.
    expect((await failureOf(find("999999999999s"))).message).toContain("no transaction as old as @-998232677199:");
    expect(await failure("14000000000w")).toBe("NS_NOT_FOUND");
    expect(await failure("01JBAXF5Z8J8M7R2TK99999999")).toBe("INPUT_INVALID");
    expect(await failure("0123456789abcdef")).toBe("INPUT_INVALID");
    expect(await failure(states[3]!.ledger.tree)).toBe("INPUT_INVALID");
    expect(await failure(states[3]!.index!)).toBe("INPUT_INVALID");
    // A commit that is here and newer than what is read.
    expect(await failure(states[50]!.ledger.oid, states[20])).toBe("INPUT_INVALID");
    const other = new KvModel(TEST_FORMAT);
    other.commit([other.set("k", "another ledger")]);
    expect(await failure(other.state!.ledger.oid)).toBe("INPUT_INVALID");
  });

  test("the ledger lists the same live keys as its kv-index", () => {
    const { objects } = workspace.repo;
    for (const state of [states[0]!, states[35]!, states[59]!]) {
      for (const range of [{}, { prefix: "only:" }, { after: "only:2" }, { prefix: "only:1", after: "only:13" }]) {
        const live = [...listIndex(objects, state.ledger.indexTree, range)].filter(
          ({ state: { kind } }) => kind === "live",
        );
        expect(listLedger(objects, state.meta, range).map(({ key }) => key)).toEqual(live.map(({ key }) => key));
      }
    }
    expect(listLedger(objects, undefined, {})).toEqual([]);
    expect(() => listLedger(objects, states[5]!.data, {})).toThrow("does not belong there");
  });
});
