/**
 * The pieces of a transaction's large values. Each is stored once: what the chunk tree holds already, or another value of the
 * transaction, is neither stored nor sent again.
 */

import type { CutGuide } from "../cdc/cut-guide.ts";
import type { ObjectSink } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { formatSize } from "../quantity.ts";
import { type ChunkFile, findPiece, type KnownChunks } from "./chunk-tree.ts";
import type { Piece } from "./manifest.ts";

/** How a new piece may be written shorter than whole. */
export interface PieceDelta {
  /** A piece that the receiver has. */
  readonly base: ChunkFile;
  /** Git's copy and insert instructions. */
  readonly delta: Uint8Array;
}

/** Looks for deltas that make the pieces of a value, which it is told in their order. */
export interface DeltaFinder {
  /** Says where the value is best cut. */
  readonly guide?: CutGuide | undefined;
  /** The SHA-256 of the piece at the offset `at` of the value, where it has been computed. Asked first of each piece. */
  digest?(at: number): string | undefined;
  /** The piece at the offset `at` of the value is there already. */
  reused(sha256: string, at: number): void;
  /** For the new piece at the offset `at`; undefined: it is written whole. */
  find(piece: Buffer, at: number): PieceDelta | undefined;
}

/** Bytes of values. */
export interface PieceBytes {
  /** Of pieces that are new to the store. */
  readonly new: number;
  /** Of pieces that were there. */
  readonly reused: number;
}

/** "5.1 MB new, 99.6 MB reused". */
export function describeBytes(bytes: PieceBytes): string {
  return `${formatSize(bytes.new)} new, ${formatSize(bytes.reused)} reused`;
}

export class PieceStore {
  readonly #sink: ObjectSink;
  readonly #tip: KnownChunks | undefined;
  /** Pieces of the transaction's values by SHA-256: none that is a base of deltas only. */
  readonly #pieces = new Map<string, ChunkFile & { readonly isNew: boolean }>();
  #new = 0;
  #reused = 0;

  /** `tip`: the pieces the receiver has. New pieces go to `sink`. */
  constructor(sink: ObjectSink, tip: KnownChunks | undefined) {
    this.#sink = sink;
    this.#tip = tip;
  }

  get bytes(): PieceBytes {
    return { new: this.#new, reused: this.#reused };
  }

  /** All pieces, each once. */
  get pieces(): readonly ChunkFile[] {
    return [...this.#pieces.values()];
  }

  /** Takes the piece with that SHA-256 that begins at `at` in its value. The bytes are not kept. */
  add(bytes: Buffer, sha256: string, at: number, deltas?: DeltaFinder): Piece {
    const size = bytes.length;
    const known = this.#pieces.get(sha256)?.oid ?? this.#find(sha256);
    if (known !== undefined) {
      if (!this.#pieces.has(sha256)) this.#pieces.set(sha256, { sha256, oid: known, isNew: false });
      this.#reused += size;
      deltas?.reused(sha256, at);
      return { size, sha256, oid: known };
    }
    const found = deltas?.find(bytes, at);
    const oid =
      found === undefined
        ? this.#sink.write("blob", bytes)
        : this.#sink.writeDelta("blob", bytes, found.base.oid, found.delta);
    this.#pieces.set(sha256, { sha256, oid, isNew: true });
    this.#new += size;
    return { size, sha256, oid };
  }

  /** Whether the receiver has the piece. */
  holds({ sha256, oid }: ChunkFile): boolean {
    const known = this.#pieces.get(sha256);
    return known === undefined ? this.#find(sha256) === oid : !known.isNew && known.oid === oid;
  }

  #find(sha256: string): Oid | undefined {
    return this.#tip && findPiece(this.#tip.objects, this.#tip.tree, sha256);
  }
}
