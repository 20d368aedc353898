/** The audit of values in pieces: chunk commits are found by their transactions, and pieces read again. */

import { describe, expect, test } from "bun:test";
import type { Chunking } from "../../src/cdc/chunking.ts";
import { type Oid, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import type { ChunkStore } from "../../src/kv/chunk-audit.ts";
import { type ChunkTip, chunkTipAt } from "../../src/kv/chunk-tree.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { namespacePolicy } from "../../src/kv/policy.ts";
import { rehashing } from "../../src/kv/rehashing-source.ts";
import { type Finding, type VerifySummary, verifyLedger } from "../../src/kv/verify.ts";
import { type ChunkedSet, chunkedSet, KIBIBYTES } from "../support/chunked.ts";
import { KvModel } from "../support/kv-model.ts";
import { random } from "../support/random.ts";

const rng = random("chunk-audit");
type Fixed = Extract<Chunking, { mode: "fixed" }>;

const rules = { ...namespacePolicy(undefined, "main"), maxValueInline: 2_048, chunking: KIBIBYTES };

class History {
  readonly model: KvModel;
  readonly tips: ChunkTip[] = [];
  readonly sets: ChunkedSet[] = [];
  readonly #chunking: Fixed;

  constructor(format = SHA1, chunking: Fixed = KIBIBYTES) {
    this.model = new KvModel(format);
    this.#chunking = chunking;
  }

  parts(count: number): Buffer[] {
    return Array.from({ length: count }, () => Buffer.from(rng.bytes(this.#chunking.size)));
  }

  set(key: string, data: readonly Buffer[]): Oid {
    const set = chunkedSet(this.model.objects, key, data, { chunking: this.#chunking });
    this.sets.push(set);
    const plan = this.model.commit([set.operation], undefined, { tip: this.tips.at(-1), pieces: set.pieces });
    const move = plan.kind === "planned" ? plan.moves[2] : undefined;
    if (move !== undefined) this.tips.push(chunkTipAt(this.model.objects, move.newOid));
    return this.model.state!.ledger.oid;
  }

  small(key: string): void {
    this.model.commit([this.model.set(key, key)]);
  }

  async verify(
    store: Partial<ChunkStore> = {},
    since?: Oid,
  ): Promise<{ said: string[]; findings: Finding[]; summary: VerifySummary }> {
    const findings: Finding[] = [];
    const summary = await verifyLedger(rehashing(this.model.objects), {
      ns: "main",
      tip: this.model.state!,
      since,
      etagOf,
      judge: async () => ({ rules: { ...rules, chunking: this.#chunking }, signer: undefined, problems: [] }),
      chunks: { tip: () => this.tips.at(-1)?.commit, isComplete: true, ...store },
      signal: new AbortController().signal,
      found: (finding) => findings.push(finding),
      progress: () => {},
    });
    return { summary, findings, said: findings.map(({ seq, code }) => `${seq ?? "-"} ${code}`) };
  }
}

/** Seven transactions: the 2nd, 4th and 6th add pieces, the 5th names old ones only. */
function history(format = SHA1): History & { readonly commits: Oid[] } {
  const it = Object.assign(new History(format), { commits: [] as Oid[] });
  const shared = it.parts(4);
  it.small("a");
  it.commits.push(it.set("big", [...shared, ...it.parts(2)]));
  it.small("b");
  it.commits.push(it.set("big", [...shared, ...it.parts(3)]));
  it.commits.push(it.set("copy", shared));
  it.commits.push(it.set("more", it.parts(3)));
  it.small("big");
  return it;
}

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  test("an honest history has no findings, from the start and from any trusted commit", async () => {
    const it = history(format);
    const { summary, said } = await it.verify();
    expect(said).toEqual([]);
    expect(summary).toMatchObject({ transactions: 7, chunked: 4, chunkedUnread: 0 });
    for (const [i, since] of it.commits.entries()) {
      const part = await it.verify({}, since);
      expect([i, part.said]).toEqual([i, []]);
      expect(part.summary).toMatchObject({ chunked: 3 - i, chunkedUnread: 0 });
    }
  });
});

test("what a version has in common with the one before is read once", async () => {
  // Too large for the audit's cache of objects.
  const chunking = { mode: "fixed", size: 65_536 } as const;
  const it = new History(SHA1, chunking);
  const data = it.parts(20);
  it.set("big", data);
  for (let version = 1; version <= 5; version++) {
    data[version] = it.parts(1)[0]!;
    it.set("big", data);
  }
  const pieces = new Map(it.sets.flatMap((set) => set.pieces.map(({ oid }) => [oid, 0])));
  const { objects } = it.model;
  const read = objects.read.bind(objects);
  objects.read = (oid) => {
    const count = pieces.get(oid);
    if (count !== undefined) pieces.set(oid, count + 1);
    return read(oid);
  };
  expect((await it.verify()).said).toEqual([]);
  // All of the first version, then the piece that changed and the one at the end.
  const reads = [...pieces.values()];
  expect(reads.reduce((sum, count) => sum + count, 0)).toBe(20 + 5 * 2);
  expect(Math.min(...reads)).toBe(1);
});

test("a piece that is damaged, gone or another one is named with its key, at each transaction that needs it", async () => {
  const it = history();
  const { objects } = it.model.objects;
  const { oid, sha256 } = it.sets[0]!.pieces[1]!;
  objects.set(oid, { kind: "blob", data: Buffer.from("damaged") });
  const damaged = await it.verify();
  expect(damaged.said).toEqual(["2 CORRUPT", "4 CORRUPT", "5 CORRUPT"]);
  expect(damaged.findings[0]!.message).toStartWith(`piece 2 (${sha256}) of the value of "big": object ${oid} holds`);
  expect(damaged.findings[2]!.message).toStartWith(`piece 2 (${sha256}) of the value of "copy": `);
  objects.delete(oid);
  expect((await it.verify()).said).toEqual(["2 BAD_OBJECT", "4 BAD_OBJECT", "5 BAD_OBJECT"]);
});

test("in a clone without pieces the values are counted, and nothing is wrong", async () => {
  const it = history();
  for (const { pieces } of it.sets) for (const { oid } of pieces) it.model.objects.objects.delete(oid);
  const { summary, said } = await it.verify({ tip: () => undefined, isComplete: false });
  expect(said).toEqual([]);
  expect(summary).toMatchObject({ chunked: 4, chunkedUnread: 4 });
  const since = await it.verify({ tip: () => undefined, isComplete: false }, it.commits[1]!);
  expect(since.said).toEqual([]);
  expect(since.summary).toMatchObject({ chunked: 2, chunkedUnread: 2 });
});

test("in a clone without the chunk ref what happens to be here is read: a damaged piece is named with its key", async () => {
  const it = history();
  const clone = { tip: () => undefined, isComplete: false };
  const { objects } = it.model.objects;
  const [first, second] = it.sets[0]!.pieces;
  const sound = await it.verify(clone);
  expect(sound.said).toEqual([]);
  expect(sound.summary).toMatchObject({ chunked: 4, chunkedUnread: 0 });
  objects.set(first!.oid, { kind: "blob", data: Buffer.from("damaged") });
  const damaged = await it.verify(clone);
  expect(damaged.said).toEqual(["2 CORRUPT", "4 CORRUPT", "5 CORRUPT"]);
  expect(damaged.findings[2]!.message).toMatch(/^piece [0-9a-f]{12} \(blob .*\) at byte 0 of "copy": /);
  expect(damaged.summary).toMatchObject({ chunked: 4, chunkedUnread: 0 });
  // Of a value of which a piece is not here, nothing is read.
  objects.delete(second!.oid);
  const partial = await it.verify(clone);
  expect(partial.said).toEqual([]);
  expect(partial.summary).toMatchObject({ chunked: 4, chunkedUnread: 3 });
});

test("in a clone that has fetched the chunk ref once, what came after it is counted where it is not here", async () => {
  const it = history();
  const { summary, said } = await it.verify({ tip: () => it.tips[1]!.commit, isComplete: false });
  expect(said).toEqual([]);
  expect(summary).toMatchObject({ chunked: 4, chunkedUnread: 0 });
  it.model.objects.objects.delete(it.sets[3]!.pieces[0]!.oid);
  const without = await it.verify({ tip: () => it.tips[1]!.commit, isComplete: false });
  expect(without.said).toEqual([]);
  expect(without.summary).toMatchObject({ chunked: 4, chunkedUnread: 1 });
});

test("a chunk ref that is gone or rewound where it must not be", async () => {
  const it = history();
  expect((await it.verify({ tip: () => undefined })).said).toEqual([
    "2 ATTESTATION_MISMATCH",
    "2 CHUNK_MISMATCH",
    "4 ATTESTATION_MISMATCH",
    "4 CHUNK_MISMATCH",
    "5 CHUNK_MISMATCH",
    "6 ATTESTATION_MISMATCH",
    "6 CHUNK_MISMATCH",
  ]);
  expect((await it.verify({ tip: () => it.tips[1]!.commit })).said).toEqual([
    "6 ATTESTATION_MISMATCH",
    "6 CHUNK_MISMATCH",
  ]);
});

test("chunk commits that belong to nothing, or do not follow each other", async () => {
  const it = history();
  const stray = new History();
  stray.model.objects.objects.clear();
  for (const [oid, object] of it.model.objects.objects) stray.model.objects.objects.set(oid, object);
  // The same chain and one more commit on top, of a transaction that is not in the ledger.
  stray.model.state = it.model.state;
  stray.tips.push(...it.tips);
  stray.model.plan([]);
  for (let i = 0; i < 8; i++) stray.model.plan([stray.model.set("x", "y")]);
  stray.set("stray", stray.parts(3));
  for (const [oid, object] of stray.model.objects.objects) it.model.objects.objects.set(oid, object);
  const found = await it.verify({ tip: () => stray.tips.at(-1)!.commit });
  expect(found.said).toEqual(["- CHUNK_MISMATCH"]);
  expect(found.findings[0]).toMatchObject({ oid: stray.tips.at(-1)!.commit });
  // A ref that points at something else altogether.
  const { said } = await it.verify({ tip: () => it.model.state!.ledger.oid });
  expect(said[0]).toBe("- ATTESTATION_MISMATCH");
});
