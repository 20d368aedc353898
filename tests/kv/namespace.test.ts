/** Namespaces, epochs, and what a ref name is to git-kv. */

import { expect, test } from "bun:test";
import type { KvError } from "../../src/errors.ts";
import {
  chunkRef,
  classifyRef,
  namespaceRefs,
  POLICY_REF,
  parseEpoch,
  parseNamespace,
  trackingRoot,
} from "../../src/kv/namespace.ts";
import { tryGit } from "../support/git.ts";
import { tempDir } from "../support/temp.ts";

function codeOf(read: () => unknown): string {
  try {
    read();
    return "ok";
  } catch (error) {
    return (error as KvError).code;
  }
}

test("namespaces", () => {
  for (const ns of ["main", "a", "0", "a.b", "a-b_c", "x".repeat(63)]) expect(parseNamespace(ns)).toBe(ns);
  for (const ns of [
    "",
    "Main",
    "-a",
    ".a",
    "_a",
    "a/b",
    "a b",
    "a..b",
    "a.lock",
    "a.",
    "x".repeat(64),
    "a@b",
    "é",
    "a\n",
  ]) {
    expect([ns, codeOf(() => parseNamespace(ns))]).toEqual([ns, "NS_INVALID"]);
  }
});

test("epochs", () => {
  for (const label of ["e1", "E1", "2026-01", "x".repeat(63)]) expect(parseEpoch(label)).toBe(label);
  for (const label of ["", "-e", "e 1", "e/1", "e..1", "e.lock", "e.", "x".repeat(64), "e@1"]) {
    expect([label, codeOf(() => parseEpoch(label))]).toEqual([label, "INPUT_INVALID"]);
  }
});

test("what is taken, git takes as part of a ref", () => {
  const dir = tempDir("refs");
  for (const name of ["main", "a.b", "a..b", "a.lock", "a.", "a-", "0"]) {
    const known = tryGit(dir, ["check-ref-format", `refs/kv/${name}`]).status === 0;
    expect([name, codeOf(() => parseNamespace(name)) === "ok"]).toEqual([name, known]);
  }
  for (const ref of [
    POLICY_REF,
    ...Object.values(namespaceRefs("main")),
    "refs/kv-chunks/main@e1",
    "refs/kv-archive/main@e1",
  ]) {
    expect([ref, tryGit(dir, ["check-ref-format", ref]).status]).toEqual([ref, 0]);
  }
});

test("refs of a namespace, here and as a fetch saw them", () => {
  expect(namespaceRefs("main")).toEqual({ ledger: "refs/kv/main", index: "refs/kv-index/main" });
  expect(namespaceRefs("main", trackingRoot("origin"))).toEqual({
    ledger: "refs/kv-remotes/origin/kv/main",
    index: "refs/kv-remotes/origin/kv-index/main",
  });
});

test("what a ref is to git-kv", () => {
  expect(classifyRef("refs/kv/main")).toEqual({ kind: "ledger", ns: "main" });
  expect(classifyRef("refs/kv-index/main")).toEqual({ kind: "index", ns: "main" });
  expect(classifyRef("refs/kv-epoch/main")).toEqual({ kind: "epoch", ns: "main" });
  expect(classifyRef("refs/kv-mirror/main")).toEqual({ kind: "mirror", ns: "main" });
  expect(classifyRef("refs/kv-chunks/main@e1")).toEqual({ kind: "chunks", ns: "main", epoch: "e1" });
  expect(classifyRef("refs/kv-archive/a.b@2026-01")).toEqual({ kind: "archive", ns: "a.b", epoch: "2026-01" });
  expect(classifyRef(POLICY_REF)).toEqual({ kind: "policy" });
  const reserved = [
    "refs/kv",
    "refs/kv/",
    "refs/kv/Main",
    "refs/KV/main",
    "refs/kv/main/x",
    "refs/kv/main@e1",
    "refs/kv-chunks/main",
    "refs/kv-chunks/@e1",
    "refs/kv-chunks/main@",
    "refs/kv-chunks/main@a@b",
    "refs/kv-archive/main@-",
    "refs/kv-new/main",
    "refs/kv-",
    "refs/kv-policy",
    "refs/kv-policy/other",
    "refs/kv-remotes/origin/kv/main",
    "refs/Kv-Index/main",
    "refs/kv-constructor/x",
  ];
  for (const ref of reserved) expect([ref, classifyRef(ref)]).toEqual([ref, { kind: "reserved" }]);
  for (const ref of ["HEAD", "refs/heads/kv/main", "refs/kvetch/main", "refs/tags/kv", "refs/heads/main", "kv/main"]) {
    expect([ref, classifyRef(ref)]).toEqual([ref, undefined]);
  }
});

test("the ref of an epoch's pieces is one git takes and we know again", () => {
  expect(chunkRef("main", "e1")).toBe("refs/kv-chunks/main@e1");
  expect(classifyRef(chunkRef("a.b", "2026-Q1"))).toEqual({ kind: "chunks", ns: "a.b", epoch: "2026-Q1" });
  expect(tryGit(tempDir("chunk-ref"), ["check-ref-format", chunkRef("main", "e1")]).status).toBe(0);
});
