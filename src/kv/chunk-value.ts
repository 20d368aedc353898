/**
 * Cuts a value into pieces as it is read (docs/formats/data-format.md, section 6). The value is never held whole: only the
 * chunker's window is in memory, and one list entry for each piece.
 */

import { openChunker } from "../cdc/chunker.ts";
import { KvError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { BufferMeter } from "../memory.ts";
import { sha256Beside } from "../sha256.ts";
import { TimeSlice } from "../time-slice.ts";
import { openEtag } from "./etag-stream.ts";
import { type Key, keyText } from "./key.ts";
import { encodeManifest, type Manifest, type Piece } from "./manifest.ts";
import type { DeltaFinder, PieceStore } from "./piece-store.ts";
import type { ValueRules } from "./value-rules.ts";
import type { ValueSource } from "./value-source.ts";

/** Where the pieces go, and who is told. */
export interface ChunkingWork {
  readonly pieces: PieceStore;
  readonly rules: ValueRules;
  readonly signal: AbortSignal;
  /** Looks for shorter ways to write new pieces. */
  readonly deltas?: DeltaFinder | undefined;
  /** Told now and then how many bytes of the value are done. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

/** A manifest and its bytes. */
export interface ChunkedValue {
  readonly manifest: Manifest;
  readonly data: Buffer;
}

/** Bytes that a piece takes in a manifest, at least: its size, of four digits, and two digests. */
const LEAST_ENTRY = 139;
/** A manifest of more pieces would be too large, whatever they are. */
const MOST_PIECES = Math.floor(LIMITS.manifestBytes / LEAST_ENTRY);

/**
 * Stores the value of `source`, of which `head` was read already, in pieces. Throws VALUE_TOO_LARGE, LIMIT_EXCEEDED (too many
 * pieces), IO, the reason of the signal.
 */
export async function chunkValue(
  key: Key,
  head: Buffer,
  source: ValueSource,
  work: ChunkingWork,
): Promise<ChunkedValue> {
  const { rules, signal, deltas } = work;
  const { chunking } = rules;
  const largest = chunking.mode === "fixed" ? chunking.size : chunking.max;
  if ((source.size ?? 0) / largest > MOST_PIECES) throw tooManyPieces(key);
  const chunker = openChunker(chunking, deltas?.guide);
  const etag = await openEtag();
  const chunks: Piece[] = [];
  let at = 0;
  const slice = new TimeSlice(1);
  const meter = new BufferMeter();
  const keep = async (pieces: Iterable<Buffer>): Promise<void> => {
    for (const piece of pieces) {
      const sha256 = deltas?.digest?.(at) ?? sha256Beside(piece);
      // Meanwhile another thread computes the digest of this piece, or of what comes behind it.
      etag.update(piece);
      chunks.push(work.pieces.add(piece, await sha256, at, deltas));
      if (chunks.length > MOST_PIECES) throw tooManyPieces(key);
      at += piece.length;
      meter.add(piece.length);
      await deltas?.guide?.ready?.();
      if (slice.isOver()) await slice.pause();
      signal.throwIfAborted();
    }
  };
  let done = 0;
  for (;;) {
    const room = chunker.room();
    const count = done < head.length ? head.copy(room, 0, done) : await source.read(room);
    if (count === 0) break;
    done += count;
    if (rules.maxTotal !== undefined && done > rules.maxTotal) throw tooLarge(key, done, rules.maxTotal);
    await keep(chunker.take(count));
    work.onProgress?.(done);
    if (slice.isOver()) await slice.pause();
    signal.throwIfAborted();
  }
  source.finish();
  await keep(chunker.finish());
  const manifest: Manifest = { key: keyText(key), size: done, etag: etag.finish(), chunking, chunks };
  return { manifest, data: encodeManifest(manifest) };
}

function tooManyPieces(key: Key): KvError {
  const text = `the value of ${JSON.stringify(keyText(key))} has over ${MOST_PIECES} pieces, more than a manifest can list`;
  return new KvError("LIMIT_EXCEEDED", text, {
    hint: "larger pieces make fewer: an admin can raise the policy's chunking sizes",
  });
}

/** The value is larger than the policy lets values be. */
export function tooLarge(key: Key, size: number, most: number): KvError {
  return new KvError(
    "VALUE_TOO_LARGE",
    `the value of ${JSON.stringify(keyText(key))} has ${size} bytes or more, at most ${most} are allowed (max_value_total)`,
    { hint: "store less under this key, or let an admin raise max_value_total", data: { key: keyText(key) } },
  );
}
