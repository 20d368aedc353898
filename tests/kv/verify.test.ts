/** The audit of a ledger: an honest history has no findings, and every kind of tampering has one, at its transaction. */

import { describe, expect, test } from "bun:test";
import { KvError } from "../../src/errors.ts";
import { encodeCommit } from "../../src/gitwire/object/commit.ts";
import { type Oid, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import type { ChunkStore } from "../../src/kv/chunk-audit.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { OidList } from "../../src/kv/oid-list.ts";
import { namespacePolicy } from "../../src/kv/policy.ts";
import { rehashing } from "../../src/kv/rehashing-source.ts";
import { type NamespaceState, stateAt } from "../../src/kv/state.ts";
import { TxnList } from "../../src/kv/txn-list.ts";
import { type Finding, type Judge, type VerifySummary, verifyLedger } from "../../src/kv/verify.ts";
import { filesOf, forge, treeOf } from "../support/forge.ts";
import { KvModel } from "../support/kv-model.ts";
import { random } from "../support/random.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const rules = namespacePolicy(undefined, "main");
const lenient: Judge = async () => ({ rules, signer: undefined, problems: [] });

async function verify(
  model: KvModel,
  options: { tip?: NamespaceState; since?: Oid; judge?: Judge; chunks?: ChunkStore } = {},
): Promise<{ findings: Finding[]; summary: VerifySummary; said: string[] }> {
  const findings: Finding[] = [];
  const summary = await verifyLedger(rehashing(model.objects), {
    ns: "main",
    tip: options.tip ?? model.state!,
    since: options.since,
    etagOf,
    judge: options.judge ?? lenient,
    chunks: options.chunks ?? { tip: () => undefined, isComplete: true },
    signal: new AbortController().signal,
    found: (finding) => findings.push(finding),
    progress: () => {},
  });
  return { findings, summary, said: findings.map(({ seq, code }) => `${seq ?? "-"} ${code}`) };
}

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  /** A model with `count` transactions that set and delete. */
  function history(count: number): KvModel {
    const model = new KvModel(format);
    const { int } = random("verify");
    const live = new Set<string>();
    for (let i = 0; i < count; i++) {
      const operations = Array.from({ length: 1 + int(4) }, (_, j) => `k${int(400)}-${j}`).map((key) => {
        const isDel = live.has(key) && int(3) === 0;
        if (isDel) live.delete(key);
        else live.add(key);
        return isDel ? model.del(key) : model.set(key, `${i} ${key}`);
      });
      model.commit(operations);
    }
    return model;
  }

  test("an honest history: no finding, every transaction and key counted", async () => {
    const model = history(150);
    const { summary, said } = await verify(model);
    expect(said).toEqual([]);
    expect(summary).toMatchObject({ ns: "main", tip: model.state!.ledger.oid, seq: 150, transactions: 150, signed: 0 });
    expect(summary.keysSet).toBeGreaterThan(150);
    expect(summary.keysDel).toBeGreaterThan(0);
  });

  /** Forges transaction 4, and goes on from it with an honest one as the model would. */
  async function forged(change: (model: KvModel, base: NamespaceState) => NamespaceState): Promise<string[]> {
    const model = history(3);
    model.state = change(model, model.state!);
    model.commit([model.set("after", "honest")]);
    return (await verify(model)).said;
  }
  const forgedTree = (edit: Parameters<typeof changeFiles>[1], claims = {}) =>
    forged((model, base) => {
      const tree = changeFiles(model, edit, base);
      return forge(model.objects, base, { tree, indexTree: base.ledger.indexTree, ...claims });
    });
  function changeFiles(
    model: KvModel,
    edit: (files: ReturnType<typeof filesOf>, model: KvModel) => void,
    base: NamespaceState,
  ): Oid {
    const files = filesOf(model.objects, base.ledger.tree);
    edit(files, model);
    return treeOf(model.objects, files);
  }

  test("what is forged is found at its transaction, and the next one is judged for itself", async () => {
    expect(await forgedTree(() => {}, { keysSet: 0 })).toEqual([]);
    expect(await forgedTree(() => {}, { keysSet: 1 })).toEqual(["4 REPLAY_MISMATCH"]);
    expect(await forgedTree(() => {}, { keysSet: 0, seq: 5 })).toEqual(["5 ATTESTATION_MISMATCH"]);
    expect(await forgedTree(() => {}, { keysSet: 0, baseTree: format.emptyTree })).toEqual(["4 ATTESTATION_MISMATCH"]);
    expect(await forgedTree(() => {}, { keysSet: 0, ns: "other" })).toContain("4 ATTESTATION_MISMATCH");
    expect(
      await forgedTree((files, model) =>
        files.set("data/x", { mode: 0o100644, oid: model.objects.write("blob", Buffer.from("x")) }),
      ),
    ).toContain("4 REPLAY_MISMATCH");
    expect(
      await forgedTree((files, model) =>
        files.set("x", { mode: 0o100644, oid: model.objects.write("blob", Buffer.from("x")) }),
      ),
    ).toContain("4 KEY_INVALID");
  });

  test("an entry hidden from the kv-index", async () => {
    const model = history(3);
    const base = model.state!;
    const files = filesOf(model.objects, base.ledger.indexTree);
    files.delete([...files.keys()][0]!);
    const next = forge(model.objects, base, {
      tree: base.ledger.tree,
      indexTree: treeOf(model.objects, files),
      keysSet: 0,
    });
    expect((await verify(model, { tip: next })).said).toEqual(["4 REPLAY_MISMATCH"]);
  });

  test("two parents, a foreign header, a commit that is none of ours", async () => {
    const who = { name: "E", email: "e@example.com", seconds: 1, offset: 0 };
    const model = history(2);
    const { ledger, index } = model.state!;
    const commit = (message: string, parents: readonly Oid[]): Oid =>
      model.objects.write("commit", encodeCommit({ tree: ledger.tree, parents, author: who, committer: who, message }));
    const tip = (oid: Oid): NamespaceState => ({ ...model.state!, ledger: { ...ledger, oid }, index });
    expect((await verify(model, { tip: tip(commit("hello\n", [ledger.oid])) })).said).toContain(
      "- ATTESTATION_MISSING",
    );
    const block = ledger.commit.message;
    expect((await verify(model, { tip: tip(commit(block, [ledger.oid, ledger.oid])) })).said).toContain("- NOT_LINEAR");
  });

  test("a KV-Txn that comes twice", async () => {
    const model = history(1);
    for (let i = 0; i < 2; i++) {
      const base = model.state!;
      model.state = forge(model.objects, base, {
        tree: base.ledger.tree,
        indexTree: base.ledger.indexTree,
        keysSet: 0,
      });
      model.commit([model.set(`k${i}`, "v")]);
    }
    const { said, findings } = await verify(model);
    expect(said).toEqual(["- ATTESTATION_MISMATCH"]);
    expect(findings[0]!.message).toStartWith("its KV-Txn is that of ");
  });

  test("objects that are missing, or hold something else than their id says", async () => {
    const model = history(6);
    const second = stateAt(model.objects, nthBack(model, 4));
    const value = [...filesOf(model.objects, second.ledger.tree)].find(([path]) => path.startsWith("data/"))![1].oid;
    const kept = model.objects.objects.get(value)!;
    model.objects.objects.set(value, { kind: "blob", data: Buffer.from("tampered") });
    expect((await verify(model)).findings.every(({ code }) => code === "CORRUPT")).toBe(true);
    expect((await verify(model)).findings).not.toEqual([]);
    model.objects.objects.set(value, kept);
    model.objects.objects.delete(second.ledger.oid);
    const { findings } = await verify(model);
    expect(findings.map(({ code }) => code)).toContain("BAD_OBJECT");
    expect(findings.find(({ code }) => code === "BAD_OBJECT")!.oid).toBe(second.ledger.oid);
  });

  function nthBack(model: KvModel, n: number): Oid {
    let { ledger } = model.state!;
    for (let i = 0; i < n; i++) ledger = stateAt(model.objects, ledger.parent!).ledger;
    return ledger.oid;
  }

  test("a kv-index of another length than the ledger", async () => {
    const model = history(3);
    const short = { ...model.state!, index: undefined };
    expect((await verify(model, { tip: short })).said).toEqual([
      "- ATTESTATION_MISMATCH",
      "1 ATTESTATION_MISSING",
      "2 ATTESTATION_MISSING",
      "3 ATTESTATION_MISSING",
    ]);
  });

  test("since: what came before is trusted, what came after is not", async () => {
    const model = history(5);
    const base = model.state!;
    model.state = forge(model.objects, base, { tree: base.ledger.tree, indexTree: base.ledger.indexTree });
    const bad = model.state;
    model.commit([model.set("x", "1")]);
    model.commit([model.set("x", "2")]);
    expect((await verify(model)).said).toEqual(["6 REPLAY_MISMATCH"]);
    const after = await verify(model, { since: bad.ledger.oid });
    expect([after.said, after.summary.transactions]).toEqual([[], 2]);
    const from = await verify(model, { since: base.ledger.oid });
    expect([from.said, from.summary.transactions]).toEqual([["6 REPLAY_MISMATCH"], 3]);
    const nothing = await verify(model, { since: model.state!.ledger.oid });
    expect([nothing.said, nothing.summary.transactions]).toEqual([[], 0]);
    expect(verify(model, { since: "1".repeat(format.hexSize) })).rejects.toThrow("is not in the ledger");
  });

  test("what the judge says is told, and the signer's prefixes hold", async () => {
    const model = history(2);
    const judge: Judge = async ({ seq }) => ({
      rules,
      signer: { fingerprint: `SHA256:${seq}`, prefixes: seq === 2 ? { name: "bot", prefixes: ["x"] } : undefined },
      problems: seq === 1 ? [new KvError("BAD_SIGNATURE", "no")] : [],
    });
    const { said, summary } = await verify(model, { judge });
    expect(said).toEqual(["1 BAD_SIGNATURE", "2 PREFIX_NOT_ALLOWED"]);
    expect([...summary.signers]).toEqual([
      ["SHA256:1", 1],
      ["SHA256:2", 1],
    ]);
  });
});

test("lists that grow keep what they were given", () => {
  const oids = new OidList(TEST_FORMAT);
  const names = Array.from({ length: 3_000 }, (_, i) => i.toString(16).padStart(TEST_FORMAT.hexSize, "0"));
  for (const name of names) oids.push(name);
  expect(names.map((_, i) => oids.at(i))).toEqual(names);
  expect([oids.at(-1), oids.at(3_000), oids.at(-3_001)]).toEqual([names.at(-1), undefined, undefined]);
  const txns = new TxnList();
  const at = (n: number): string => `01JBAXF5Z8${String(n).padStart(16, "0")}`;
  for (let i = 0; i < 3_000; i++) txns.push(at(i % 1_499));
  expect([...txns.repeated()].slice(0, 3)).toEqual([
    { at: 1_499, first: 0 },
    { at: 2_998, first: 0 },
    { at: 1_500, first: 1 },
  ]);
  txns.push("7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
  expect([...txns.repeated()]).toHaveLength(1_501);
});
