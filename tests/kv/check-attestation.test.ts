/** The attestation check: each clause, violated alone. */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import { encodeCommit } from "../../src/gitwire/object/commit.ts";
import { type Oid, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import {
  formatIndexTrailers,
  formatLedgerTrailers,
  type IndexTrailers,
  type LedgerTrailers,
} from "../../src/kv/attestation.ts";
import { checkAttestation } from "../../src/kv/check-attestation.ts";
import type { NamespaceState } from "../../src/kv/state.ts";
import { KvModel } from "../support/kv-model.ts";

const WHO = { name: "Test", email: "test@example.com", seconds: 1_767_322_800, offset: 0 };

interface Changes {
  readonly ledger?: Partial<LedgerTrailers>;
  readonly index?: Partial<IndexTrailers>;
  readonly tree?: Oid;
  readonly indexTree?: Oid;
  readonly parents?: readonly Oid[];
  readonly indexParents?: readonly Oid[];
}

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  const model = new KvModel(format);
  model.commit([model.set("a", "1")]);
  const first = model.state!;
  model.commit([model.set("a", "2")]);
  const base = model.state!;
  model.commit([model.set("b", "3")]);
  const next = model.state!;
  const { objects } = model;
  const other = objects.write("tree", new Uint8Array(0));

  function write(tree: Oid, parents: readonly Oid[], block: string): Oid {
    return objects.write(
      "commit",
      encodeCommit({ tree, parents, author: WHO, committer: WHO, message: `x\n\n${block}` }),
    );
  }

  function judge(changes: Changes, against: NamespaceState = base, policy?: Oid): string {
    const { ledger: read } = next;
    const tree = changes.tree ?? read.tree;
    const indexTree = changes.indexTree ?? read.indexTree;
    const parentEpoch = changes.ledger?.parentEpoch;
    const trailers: LedgerTrailers = {
      ns: "main",
      txn: read.txn,
      seq: 3,
      baseTree: base.ledger.tree,
      indexTree,
      chunksTree: undefined,
      policy: undefined,
      epoch: "e1",
      keysSet: 1,
      keysDel: 0,
      ...changes.ledger,
      ...(parentEpoch && { parentEpoch }),
    };
    const ledger = write(tree, changes.parents ?? [base.ledger.oid], formatLedgerTrailers(trailers));
    const index = write(
      indexTree,
      changes.indexParents ?? [base.index!],
      formatIndexTrailers({ ns: "main", txn: read.txn, seq: 3, ledgerTree: tree, ...changes.index }),
    );
    return codeOf(() => checkAttestation(objects, { ns: "main", base: against, ledger, index, policy }));
  }

  function codeOf(check: () => unknown): string {
    try {
      check();
      return "ok";
    } catch (error) {
      if (error instanceof KvError) return error.code;
      throw error;
    }
  }

  test("what is in order passes, reading two commits and no tree", () => {
    objects.reads = { blob: 0, tree: 0, commit: 0, tag: 0 };
    expect(judge({})).toBe("ok");
    expect(objects.reads).toEqual({ blob: 0, tree: 0, commit: 2, tag: 0 });
    for (const [before, after] of [
      [undefined, first],
      [first, base],
      [base, next],
    ] as const) {
      const claim = { ns: "main", base: before, ledger: after.ledger.oid, index: after.index!, policy: undefined };
      expect(checkAttestation(objects, claim).ledger.seq).toBe(after.ledger.seq);
    }
  });

  test("trailers that do not agree", () => {
    const id = "1".repeat(format.hexSize);
    const clauses: [string, Changes][] = [
      ["KV-NS", { ledger: { ns: "other" } }],
      ["KV-NS of both", { ledger: { ns: "other" }, index: { ns: "other" } }],
      ["KV-NS of the kv-index", { index: { ns: "other" } }],
      ["KV-Txn of the kv-index", { index: { txn: "01JBAXF5Z8J8M7R2TK99999999" } }],
      ["KV-Seq too high", { ledger: { seq: 4 }, index: { seq: 4 } }],
      ["KV-Seq the parent's", { ledger: { seq: 2 }, index: { seq: 2 } }],
      ["KV-Seq of the kv-index", { index: { seq: 4 } }],
      ["Base-Tree", { ledger: { baseTree: first.ledger.tree } }],
      ["no Base-Tree", { ledger: { baseTree: undefined } }],
      ["KV-Index-Tree", { ledger: { indexTree: other } }],
      ["the kv-index's tree", { indexTree: other, ledger: { indexTree: next.ledger.indexTree } }],
      ["KV-Ledger-Tree", { index: { ledgerTree: base.ledger.tree } }],
      ["the ledger's tree", { tree: other, index: { ledgerTree: next.ledger.tree } }],
      ["KV-Chunks-Tree", { ledger: { chunksTree: other } }],
      ["Epoch", { ledger: { epoch: "e2" } }],
      ["Parent-Epoch", { ledger: { parentEpoch: { label: "e0", ledger: id } } }],
    ];
    for (const [what, changes] of clauses) expect([what, judge(changes)]).toEqual([what, "ATTESTATION_MISMATCH"]);
  });

  test("commits that do not follow the tips", () => {
    const clauses: [string, Changes, string][] = [
      ["an older parent", { parents: [first.ledger.oid] }, "NOT_FAST_FORWARD"],
      ["no parent", { parents: [] }, "NOT_FAST_FORWARD"],
      ["an older parent of the kv-index", { indexParents: [first.index!] }, "NOT_FAST_FORWARD"],
      ["no parent of the kv-index", { indexParents: [] }, "NOT_FAST_FORWARD"],
      ["the parents exchanged", { parents: [base.index!], indexParents: [base.ledger.oid] }, "NOT_FAST_FORWARD"],
      ["two parents", { parents: [base.ledger.oid, first.ledger.oid] }, "NOT_LINEAR"],
      ["two parents of the kv-index", { indexParents: [base.index!, base.index!] }, "NOT_LINEAR"],
    ];
    for (const [what, changes, code] of clauses) expect([what, judge(changes)]).toEqual([what, code]);
    const claim = { ns: "main", ledger: next.ledger.oid, index: next.index!, policy: undefined };
    expect(codeOf(() => checkAttestation(objects, { ...claim, base: undefined }))).toBe("NOT_FAST_FORWARD");
    expect(codeOf(() => checkAttestation(objects, { ...claim, base: next }))).toBe("NOT_FAST_FORWARD");
  });

  test("the commits in each other's place, or no commits", () => {
    const claim = { ns: "main", base, policy: undefined };
    expect(codeOf(() => checkAttestation(objects, { ...claim, ledger: next.index!, index: next.ledger.oid }))).toBe(
      "ATTESTATION_MISMATCH",
    );
    expect(codeOf(() => checkAttestation(objects, { ...claim, ledger: other, index: next.index! }))).toBe("BAD_OBJECT");
    expect(
      codeOf(() => checkAttestation(objects, { ...claim, ledger: "1".repeat(format.hexSize), index: next.index! })),
    ).toBe("BAD_OBJECT");
  });

  test("another policy than the one in force", () => {
    const id = "1".repeat(format.hexSize);
    expect(judge({}, base, id)).toBe("POLICY_STALE");
    expect(judge({ ledger: { policy: id } })).toBe("POLICY_STALE");
    expect(judge({ ledger: { policy: id } }, base, id)).toBe("ok");
  });

  test("the first transaction: no parents, sequence 1, an epoch that is one", () => {
    expect(judgeFirst({})).toBe("ok");
    expect(judgeFirst({ ledger: { seq: 2 }, index: { seq: 2 } })).toBe("ATTESTATION_MISMATCH");
    expect(judgeFirst({ ledger: { epoch: "e 1" } })).toBe("ATTESTATION_MISMATCH");
    expect(judgeFirst({ ledger: { epoch: "2026" } })).toBe("ok");
    expect(judgeFirst({ ledger: { baseTree: other } })).toBe("ATTESTATION_MISMATCH");
    expect(judgeFirst({ parents: [base.ledger.oid] })).toBe("NOT_FAST_FORWARD");
  });

  /** As judge, against a namespace that does not exist yet. */
  function judgeFirst(changes: Changes): string {
    const ledger = write(
      next.ledger.tree,
      changes.parents ?? [],
      formatLedgerTrailers({
        ns: "main",
        txn: next.ledger.txn,
        seq: 1,
        baseTree: undefined,
        indexTree: next.ledger.indexTree,
        chunksTree: undefined,
        policy: undefined,
        epoch: "e1",
        keysSet: 1,
        keysDel: 0,
        ...changes.ledger,
      }),
    );
    const block = formatIndexTrailers({
      ns: "main",
      txn: next.ledger.txn,
      seq: 1,
      ledgerTree: next.ledger.tree,
      ...changes.index,
    });
    const index = write(next.ledger.indexTree, changes.indexParents ?? [], block);
    return codeOf(() => checkAttestation(objects, { ns: "main", base: undefined, ledger, index, policy: undefined }));
  }
});
