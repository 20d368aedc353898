/** Values too large to be held, for tests: made, cut and packed piece by piece. */

import { createCipheriv } from "node:crypto";
import { openChunker } from "../../src/cdc/chunker.ts";
import { DEFAULT_CHUNKING } from "../../src/cdc/chunking.ts";
import { PackBuilder } from "../../src/gitwire/pack/pack-builder.ts";
import { openEtag } from "../../src/kv/etag-stream.ts";
import { encodeManifest, type Piece } from "../../src/kv/manifest.ts";
import { sha256Of } from "./chunked.ts";
import type { Planned, TestClient } from "./stargate.ts";

/** Bytes that resemble nothing, the same for the same seed: gigabytes of them, where a generator in script takes too long. */
export function keystream(seed: number): (into: Buffer) => Buffer {
  const iv = Buffer.alloc(16);
  iv.writeUInt32BE(seed);
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, 7), iv);
  return (into) => cipher.update(into.fill(0));
}

/** Plans a transaction that sets `key` to `size` bytes; the pack is in a file of `dir`. */
export async function planLarge(
  client: TestClient,
  key: string,
  size: number,
  seed: number,
  dir: string,
): Promise<Planned> {
  const pack = new PackBuilder(client.repo.format, { dir, memory: 1024 * 1024 });
  const chunker = openChunker(DEFAULT_CHUNKING);
  const etag = await openEtag();
  const next = keystream(seed);
  const chunks: Piece[] = [];
  const keep = (pieces: Iterable<Buffer>): void => {
    for (const piece of pieces)
      chunks.push({ size: piece.length, sha256: sha256Of(piece), oid: pack.write("blob", piece) });
  };
  for (let done = 0; done < size; ) {
    const room = chunker.room();
    const part = next(Buffer.alloc(Math.min(room.length, size - done, 1024 * 1024)));
    part.copy(room);
    etag.update(part);
    keep(chunker.take(part.length));
    done += part.length;
  }
  keep(chunker.finish());
  const manifest = { key, size, etag: etag.finish(), chunking: DEFAULT_CHUNKING, chunks };
  return client.plan(
    {
      [key]: (sink) => {
        const oid = sink.write("blob", encodeManifest(manifest));
        const value = { type: "chunked", oid, size, etag: manifest.etag, ctype: "application/octet-stream" } as const;
        return {
          manifest,
          operation: { kind: "set", key, value, expires: undefined, labels: undefined },
          pieces: chunks,
        };
      },
    },
    "main",
    undefined,
    pack,
  );
}
