/**
 * The chunk tree: the pieces of a namespace's large values, each once, under its SHA-256 (docs/formats/data-format.md, section
 * 6). Inside an epoch it only grows.
 */

import { commitLinks } from "../gitwire/object/commit.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { BaseSource } from "../gitwire/pack/thin-bases.ts";
import { findInTrie, updateTrie } from "./ledger-trie.ts";
import type { Piece } from "./manifest.ts";
import type { NodeWriter } from "./node-writer.ts";

/** What the chunk tree knows of a piece. */
export type ChunkFile = Pick<Piece, "sha256" | "oid">;

/** The newest chunk commit of a namespace in its epoch, and its tree. */
export interface ChunkTip {
  readonly commit: Oid;
  readonly tree: Oid;
}

/** A tip and where its trees can be read. */
export interface KnownChunks extends ChunkTip {
  readonly objects: BaseSource;
}

/** The tip `commit` is. Throws BAD_OBJECT where it is no commit. */
export function chunkTipAt(objects: ObjectSource, commit: Oid): ChunkTip {
  return { commit, tree: commitLinks(objects.format, readAs(objects, commit, "commit")).tree };
}

/** The blob of a piece in the chunk tree `root`, or undefined where it is not in there. */
export function findPiece(source: ObjectSource, root: Oid, sha256: string): Oid | undefined {
  return findInTrie(source, root, sha256, [sha256])?.oid;
}

/** Adds pieces (each once) to the chunk tree `root`; returns the new root, the old one where all were in it. */
export function addPieces(writer: NodeWriter, root: Oid | undefined, pieces: Iterable<ChunkFile>): Oid | undefined {
  const changes = Array.from(pieces, ({ sha256, oid }) => ({ digits: sha256, name: sha256, oid }));
  return updateTrie(writer, "chunks", root, changes);
}
