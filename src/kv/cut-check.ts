/** Cuts a value anew while it is read from its pieces: the cut points of given bytes are part of the format. */

import { openChunker } from "../cdc/chunker.ts";
import type { Key } from "./key.ts";
import type { Manifest, Piece } from "./manifest.ts";
import { chunkMismatch, pieceName } from "./stored-manifest.ts";

/** Throws CHUNK_MISMATCH where a piece does not end where the manifest's chunking cuts. */
export class CutCheck {
  readonly #key: Key;
  readonly #chunks: readonly Piece[];
  readonly #chunker: ReturnType<typeof openChunker>;
  #next = 0;

  constructor(key: Key, { chunking, chunks }: Manifest) {
    this.#key = key;
    this.#chunks = chunks;
    this.#chunker = openChunker(chunking);
  }

  add(data: Buffer): void {
    for (let done = 0; done < data.length; ) {
      const count = data.copy(this.#chunker.room(), 0, done);
      this.#compare(this.#chunker.take(count));
      done += count;
    }
  }

  finish(): void {
    this.#compare(this.#chunker.finish());
  }

  #compare(pieces: readonly Buffer[]): void {
    for (const { length } of pieces) {
      const index = this.#next++;
      const piece = this.#chunks[index];
      if (piece?.size === length) continue;
      const name = pieceName(this.#key, index, piece?.sha256 ?? "none");
      throw chunkMismatch(`${name} has ${piece?.size ?? 0} bytes; cut by the manifest's chunking it has ${length}`);
    }
  }
}
