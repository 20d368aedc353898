/** The chunk tree and the chunk commit of a transaction. */

import { describe, expect, test } from "bun:test";
import { type Oid, SHA1, SHA256 } from "../../src/gitwire/object/oid.ts";
import { parseChunkCommit, parseLedgerCommit } from "../../src/kv/attestation.ts";
import { addPieces, type ChunkFile, type ChunkTip, chunkTipAt, findPiece } from "../../src/kv/chunk-tree.ts";
import { etagOf } from "../../src/kv/etag.ts";
import { LEAF_FILES } from "../../src/kv/ledger-trie.ts";
import { encodeManifest } from "../../src/kv/manifest.ts";
import { NodeWriter } from "../../src/kv/node-writer.ts";
import type { SetOperation } from "../../src/kv/operation.ts";
import { diffTries } from "../../src/kv/trie-diff.ts";
import { KvModel } from "../support/kv-model.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { random } from "../support/random.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

const sha256 = (data: Buffer): string => new Bun.SHA256().update(data).digest("hex");

function pieceOf(objects: MemoryObjects, data: Buffer): ChunkFile {
  return { sha256: sha256(data), oid: objects.write("blob", data) };
}

describe.each([SHA1, SHA256])("in a $name repository", (format) => {
  test("the tree is a function of the pieces, however they came, and finds each", () => {
    const { shuffle, int } = random("chunk tree");
    const objects = new MemoryObjects(format);
    const pieces = Array.from({ length: 2 * LEAF_FILES }, (_, i) => pieceOf(objects, Buffer.from(`piece ${i}`)));
    const whole = addPieces(new NodeWriter(objects, objects), undefined, pieces)!;
    let root: Oid | undefined;
    const shuffled = shuffle(pieces);
    for (let at = 0; at < shuffled.length; ) {
      const next = at + 1 + int(200);
      root = addPieces(new NodeWriter(objects, objects), root, shuffled.slice(at, next));
      at = next;
    }
    expect(root).toBe(whole);
    for (const { sha256, oid } of pieces) expect(findPiece(objects, whole, sha256)).toBe(oid);
    expect(findPiece(objects, whole, "0".repeat(64))).toBeUndefined();
    expect(addPieces(new NodeWriter(objects, objects), whole, shuffled.slice(0, 99))).toBe(whole);
    expect(diffTries(objects, "chunks", undefined, whole, 1_000).length).toBe(pieces.length);
  });
});

test("a file whose name is no SHA-256 does not belong in a chunk tree", () => {
  const objects = new MemoryObjects();
  const root = addPieces(new NodeWriter(objects, objects), undefined, [{ sha256: "ab", oid: TEST_FORMAT.zeroOid }])!;
  expect(() => diffTries(objects, "chunks", undefined, root, 10)).toThrow(
    expect.objectContaining({ code: "KEY_INVALID", message: '"chunks/ab" is no key\'s own path' }),
  );
});

describe("a transaction with pieces", () => {
  const FIXED = { mode: "fixed", size: 1_024 } as const;

  function chunked(
    model: KvModel,
    key: string,
    parts: readonly Buffer[],
  ): { operation: SetOperation; pieces: ChunkFile[] } {
    const data = Buffer.concat(parts);
    const chunks = parts.map((part) => ({ size: part.length, ...pieceOf(model.objects, part) }));
    const manifest = { key, size: data.length, etag: etagOf(data), chunking: FIXED, chunks };
    const oid = model.objects.write("blob", encodeManifest(manifest));
    const value = { type: "chunked", oid, size: data.length, etag: manifest.etag, ctype: "text/plain" } as const;
    return { operation: { kind: "set", key, value, expires: undefined, labels: undefined }, pieces: chunks };
  }

  const part = (letter: string): Buffer => Buffer.alloc(1_024, letter);

  test("makes a chunk commit on the tip, which the ledger commit names; without new pieces it makes none", () => {
    const model = new KvModel();
    const first = chunked(model, "big", [part("a"), part("b")]);
    const plan = model.commit([first.operation], undefined, { tip: undefined, pieces: first.pieces });
    if (plan.kind !== "planned") throw new Error("nothing was planned");
    const move = plan.moves[2]!;
    expect(plan.moves.map(({ ref }) => ref)).toEqual(["refs/kv/main", "refs/kv-index/main", "refs/kv-chunks/main@e1"]);
    expect(move.oldOid).toBeUndefined();
    const tip: ChunkTip = chunkTipAt(model.objects, move.newOid);
    const commit = parseChunkCommit(TEST_FORMAT, move.newOid, model.objects.read(move.newOid)!.data);
    expect(commit).toMatchObject({ ns: "main", epoch: "e1", txn: plan.txn, parent: undefined, tree: tip.tree });
    expect(model.state!.ledger.chunksTree).toBe(tip.tree);

    const again = chunked(model, "copy", [part("b"), part("a")]);
    const reused = model.commit([again.operation], undefined, { tip, pieces: again.pieces });
    expect(reused).toMatchObject({ kind: "planned", moves: { length: 2 } });
    expect(model.state!.ledger.chunksTree).toBeUndefined();

    const more = chunked(model, "big", [part("a"), part("c")]);
    const grown = model.commit([more.operation], undefined, { tip, pieces: more.pieces });
    if (grown.kind !== "planned") throw new Error("nothing was planned");
    expect(grown.moves[2]).toMatchObject({ oldOid: tip.commit });
    const { tree } = chunkTipAt(model.objects, grown.moves[2]!.newOid);
    expect(diffTries(model.objects, "chunks", tip.tree, tree, 10)).toEqual([
      { fileName: sha256(part("c")), before: undefined, after: model.objects.write("blob", part("c")) },
    ]);
    const ledger = parseLedgerCommit(TEST_FORMAT, grown.ledger, model.objects.read(grown.ledger)!.data);
    expect(ledger.chunksTree).toBe(tree);
  });

  test("a large value that stays the same makes no commit at all", () => {
    const model = new KvModel();
    const { operation, pieces } = chunked(model, "big", [part("a")]);
    const plan = model.commit([operation], undefined, { tip: undefined, pieces });
    const tip = plan.kind === "planned" ? chunkTipAt(model.objects, plan.moves[2]!.newOid) : undefined;
    expect(model.commit([operation], undefined, { tip, pieces }).kind).toBe("unchanged");
  });
});
