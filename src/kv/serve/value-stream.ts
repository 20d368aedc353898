/** The bytes of a large value as a stream that is read as fast as the client takes it: one piece is in memory at a time. */

import { KvError } from "../../errors.ts";
import type { ByteRange } from "../byte-range.ts";
import { missingPieces, piecesOf, streamValue } from "../chunked-value.ts";
import { openEtag } from "../etag-stream.ts";
import { fetchPieces } from "../fetch-pieces.ts";
import type { Manifest } from "../manifest.ts";
import { hasRemote } from "../remote-session.ts";
import type { Workspace } from "../workspace.ts";

/** Pieces that are asked for together where they are not here. */
const TOGETHER = 64;

/**
 * Streams the bytes of `range`. A piece is handed on when it is the one the manifest names, and the whole is compared with its etag before its
 * last bytes are; where something is wrong the stream breaks, and so does the connection.
 */
export async function openValue(
  workspace: Workspace,
  manifest: Manifest,
  range: ByteRange,
): Promise<ReadableStream<Uint8Array>> {
  const pieces = piecesOf(manifest, range);
  const isWhole = range.start === 0 && range.end === manifest.size;
  const etag = isWhole ? await openEtag() : undefined;
  let next = 0;
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        if (next % TOGETHER === 0) await bring(workspace, manifest, pieces.slice(next, next + TOGETHER));
        const { piece, at } = pieces[next++]!;
        const part = { start: Math.max(at, range.start), end: Math.min(at + piece.size, range.end) };
        const chunks: Buffer[] = [];
        await streamValue(workspace.repo.objects, manifest, part, (bytes) => void chunks.push(Buffer.from(bytes)));
        const data = Buffer.concat(chunks);
        etag?.update(data);
        const isLast = next === pieces.length;
        if (isLast && etag !== undefined && etag.finish() !== manifest.etag) {
          throw new KvError("CORRUPT", `${JSON.stringify(manifest.key)} is not the value its etag names`);
        }
        controller.enqueue(data);
        if (isLast) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

async function bring(workspace: Workspace, manifest: Manifest, pieces: ReturnType<typeof piecesOf>): Promise<void> {
  const first = pieces[0]!;
  const last = pieces.at(-1)!;
  const missing = missingPieces(workspace.repo.objects, manifest, { start: first.at, end: last.at + last.piece.size });
  if (missing.length > 0 && hasRemote(workspace)) await fetchPieces(workspace, missing);
}
