/** Which state a clone reads: its own or the fetched one, whichever is newer. */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { indexParent, type NamespaceState, newestState, readState, requireState, stateAt } from "../../src/kv/state.ts";
import { KvModel } from "../support/kv-model.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const model = new KvModel();
const states: NamespaceState[] = [];
for (const value of ["1", "2", "3"]) {
  model.commit([model.set("k", value)]);
  states.push(model.state!);
}
const { objects } = model;
const [first, second, third] = states as [NamespaceState, NamespaceState, NamespaceState];

function refs(own: NamespaceState | undefined, tracked: NamespaceState | undefined) {
  const all = new Map<string, Oid>();
  for (const [root, state] of [
    ["refs/", own],
    ["refs/kv-remotes/origin/", tracked],
  ] as const) {
    if (state === undefined) continue;
    all.set(`${root}kv/main`, state.ledger.oid);
    all.set(`${root}kv-index/main`, state.index!);
  }
  return { resolve: (name: string) => all.get(name) };
}

const newest = (own?: NamespaceState, tracked?: NamespaceState): number | undefined =>
  newestState(objects, refs(own, tracked), "main", "origin")?.ledger.seq;

describe("the newest state", () => {
  test("is the one with the higher sequence", () => {
    expect([newest(), newest(first), newest(undefined, first)]).toEqual([undefined, 1, 1]);
    expect([newest(second, first), newest(first, second), newest(third, third)]).toEqual([2, 2, 3]);
  });

  test("is the own one where both are as new", () => {
    const other = new KvModel();
    other.commit([other.set("k", "other")]);
    for (const [oid, object] of other.objects.objects) objects.objects.set(oid, object);
    const state = newestState(objects, refs(first, other.state), "main", "origin");
    expect(state?.ledger.oid).toBe(first.ledger.oid);
  });

  test("is the own one where the mirror's is newer by its number only: another history, or one that cannot be read", () => {
    const other = new KvModel();
    for (const value of ["a", "b", "c"]) other.commit([other.set("k", value)]);
    for (const [oid, object] of other.objects.objects) objects.objects.set(oid, object);
    expect(newestState(objects, refs(second, other.state), "main", "origin")?.ledger.oid).toBe(second.ledger.oid);
    // The own tip with a number made up: nothing follows it.
    const data = objects.read(second.ledger.oid)!.data.toString().replace("KV-Seq: 2", "KV-Seq: 999");
    const boasting = stateAt(objects, objects.write("commit", Buffer.from(data)));
    expect(newestState(objects, refs(second, boasting), "main", "origin")?.ledger.oid).toBe(second.ledger.oid);
    const damaged = objects.write("commit", Buffer.from(data.replace("KV-NS: main\n", "")));
    const tracked = { ...third, ledger: { ...third.ledger, oid: damaged } };
    expect(newestState(objects, refs(second, tracked), "main", "origin")?.ledger.oid).toBe(second.ledger.oid);
    expect(() => newestState(objects, refs(undefined, tracked), "main", "origin")).toThrow(KvError);
  });

  test("of another namespace or remote is not looked at", () => {
    expect(newestState(objects, refs(first, second), "other", "origin")).toBeUndefined();
    expect(newestState(objects, refs(first, second), "main", "upstream")?.ledger.seq).toBe(1);
    expect(() => requireState(objects, refs(first, second), "other", "origin")).toThrow(
      "namespace 'other' is not in this repository",
    );
  });
});

test("a state is read from its two commits, without the tries", () => {
  objects.reads = { blob: 0, tree: 0, commit: 0, tag: 0 };
  const state = readState(objects, refs(third, undefined), "main")!;
  expect(state).toEqual(third);
  expect(objects.reads).toEqual({ blob: 0, tree: 1, commit: 1, tag: 0 });
});

test("a kv-index that is not the ledger's is CORRUPT before anything is built on it", () => {
  expect(indexParent(objects, third)).toBe(third.index!);
  for (const index of [second.index, undefined]) {
    const state = stateAt(objects, third.ledger.oid, index);
    expect(() => indexParent(objects, state)).toThrow(KvError);
    expect(() => indexParent(objects, state)).toThrow("not the one its ledger names");
  }
});

test("a ref at something else is an error, not an empty namespace", () => {
  const blob = objects.write("blob", Buffer.from("x"));
  for (const oid of [blob, first.index!, "1".repeat(TEST_FORMAT.hexSize)]) {
    expect(() => readState(objects, { resolve: () => oid }, "main")).toThrow(KvError);
  }
});

test("a ledger under the name of another namespace is not taken for that one's", () => {
  for (const held of [refs(first, undefined), refs(undefined, first)]) {
    const moved = { resolve: (name: string) => held.resolve(name.replace("/other", "/main")) };
    expect(() => newestState(objects, moved, "other", "origin")).toThrow("of another namespace");
  }
  const both = refs(first, second);
  const mirror = { resolve: (name: string) => both.resolve(name.replace("origin/kv/main", "origin/kv/other")) };
  expect(newestState(objects, mirror, "main", "origin")?.ledger.seq).toBe(1);
});

test("refs that move between two looks: the kv-index is the one of the ledger that is returned", () => {
  const model = new KvModel();
  const commits = ["one", "two"].map((value) => {
    const plan = model.commit([model.set("k", value)]);
    if (plan.kind !== "planned") throw new Error("nothing was planned");
    return { ledger: plan.ledger, index: plan.moves[1]!.newOid };
  });
  for (let moveAt = 0; moveAt < 4; moveAt++) {
    let looks = 0;
    const refs = {
      resolve: (name: string) => {
        const { ledger, index } = commits[looks++ < moveAt ? 0 : 1]!;
        return name.startsWith("refs/kv/") ? ledger : index;
      },
    };
    const state = readState(model.objects, refs, "main")!;
    expect(commits).toContainEqual({ ledger: state.ledger.oid, index: state.index! });
  }
});
