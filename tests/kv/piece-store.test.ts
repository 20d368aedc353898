/** The pieces of a transaction: written once, as deltas where one is found, and only against what the receiver has. */

import { expect, test } from "bun:test";
import { createDelta } from "../../src/gitwire/pack/delta-search.ts";
import { addPieces, type KnownChunks } from "../../src/kv/chunk-tree.ts";
import { NodeWriter } from "../../src/kv/node-writer.ts";
import { type DeltaFinder, PieceStore } from "../../src/kv/piece-store.ts";
import { sha256Of } from "../../src/sha256.ts";
import { MemoryObjects } from "../support/memory-objects.ts";
import { noise } from "../support/noise.ts";

const OLD = noise("old piece", 70_000);
const OTHER = noise("other piece", 70_000);
const EDITED = Buffer.from(OLD);
EDITED[5_000]! ^= 1;

/** A chunk tree of the pieces. */
function treeOf(objects: MemoryObjects, pieces: readonly Buffer[]): KnownChunks {
  const files = pieces.map((data) => ({
    sha256: sha256Of(data),
    oid: objects.write("blob", data),
  }));
  const tree = addPieces(new NodeWriter(objects, objects), undefined, files)!;
  return { commit: objects.format.zeroOid, tree, objects };
}

/** Finds every piece to be a delta of {@link OLD}; remembers what it was told. */
function finderOf(objects: MemoryObjects, store: PieceStore): DeltaFinder & { readonly told: number[] } {
  const base = { sha256: sha256Of(OLD), oid: objects.write("blob", OLD) };
  const told: number[] = [];
  return {
    told,
    reused: (_sha256, at) => void told.push(at),
    find: (piece) => (store.holds(base) ? { base, delta: createDelta(OLD, piece)! } : undefined),
  };
}

test("a new piece is written as the delta that is found, a known one only reported", () => {
  const objects = new MemoryObjects();
  const store = new PieceStore(objects, treeOf(objects, [OLD, OTHER]));
  const finder = finderOf(objects, store);
  objects.deltas = 0;
  expect(store.add(OTHER, sha256Of(OTHER), 0, finder)).toMatchObject({ size: OTHER.length });
  const edited = store.add(EDITED, sha256Of(EDITED), OTHER.length, finder);
  expect([objects.deltas, finder.told]).toEqual([1, [0]]);
  expect(objects.read(edited.oid)!.data.equals(EDITED)).toBe(true);
  expect(store.add(EDITED, sha256Of(EDITED), 999, finder)).toEqual(edited);
  expect([objects.deltas, finder.told]).toEqual([1, [0, 999]]);
  expect(store.bytes).toEqual({ new: EDITED.length, reused: OTHER.length + EDITED.length });
});

test("a piece that is new itself is no base, nor one of another blob", () => {
  const objects = new MemoryObjects();
  const store = new PieceStore(objects, treeOf(objects, [OTHER]));
  const { oid, sha256 } = store.add(OLD, sha256Of(OLD), 0);
  const other = store.add(OTHER, sha256Of(OTHER), 0);
  expect([store.holds({ oid, sha256 }), store.holds(other), store.holds({ ...other, oid })]).toEqual([
    false,
    true,
    false,
  ]);
  expect(new PieceStore(objects, undefined).holds(other)).toBe(false);
});

test("a base of deltas is no piece of the transaction", () => {
  const objects = new MemoryObjects();
  const store = new PieceStore(objects, treeOf(objects, [OLD, OTHER]));
  store.add(EDITED, sha256Of(EDITED), 0, finderOf(objects, store));
  expect(store.pieces.map(({ sha256 }) => sha256)).toEqual([sha256Of(EDITED)]);
});
