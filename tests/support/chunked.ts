/** Values in pieces, for tests: cut by the real chunker, or into any parts a forger likes. */

import { createHash } from "node:crypto";
import { openChunker } from "../../src/cdc/chunker.ts";
import type { Chunking } from "../../src/cdc/chunking.ts";
import type { ObjectSink, ObjectSource } from "../../src/gitwire/object/object.ts";
import type { Oid } from "../../src/gitwire/object/oid.ts";
import { etagOf } from "../../src/kv/etag.ts";
import type { Key } from "../../src/kv/key.ts";
import { encodeManifest, type Manifest, type Piece } from "../../src/kv/manifest.ts";
import type { SetOperation } from "../../src/kv/operation.ts";

/** The smallest pieces there are, so that a test of many is quick. */
export const KIBIBYTES = { mode: "fixed", size: 1_024 } as const satisfies Chunking;

/** A value in pieces and the operation that sets it. */
export interface ChunkedSet {
  readonly manifest: Manifest;
  readonly operation: SetOperation;
  readonly pieces: readonly Piece[];
}

export function sha256Of(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** `data` as the chunker cuts it; copies. */
export function cut(data: Buffer, chunking: Chunking): Buffer[] {
  const chunker = openChunker(chunking);
  const parts: Buffer[] = [];
  const keep = (pieces: Iterable<Buffer>): void =>
    void parts.push(...Array.from(pieces, (piece) => Buffer.from(piece)));
  for (let done = 0; done < data.length; ) {
    const count = data.copy(chunker.room(), 0, done);
    keep(chunker.take(count));
    done += count;
  }
  keep(chunker.finish());
  return parts;
}

/** Writes the parts and their manifest to `sink`, with any fields of the manifest forged; `wrong` forges pieces too. */
export function chunkedSet(
  sink: ObjectSink & Partial<ObjectSource>,
  key: Key,
  parts: readonly Buffer[],
  forged: Partial<Manifest> & { readonly text?: (json: string) => string } = {},
): ChunkedSet {
  const data = Buffer.concat(parts);
  const chunks = parts.map((part) => ({ size: part.length, sha256: sha256Of(part), oid: sink.write("blob", part) }));
  const { text = (json) => json, ...fields } = forged;
  const manifest = { key, size: data.length, etag: etagOf(data), chunking: KIBIBYTES, chunks, ...fields };
  const oid: Oid = sink.write("blob", Buffer.from(text(encodeManifest(manifest).toString())));
  const { size, etag } = manifest;
  const value = { type: "chunked", oid, size, etag, ctype: "application/octet-stream" } as const;
  return { manifest, operation: { kind: "set", key, value, expires: undefined, labels: undefined }, pieces: chunks };
}
