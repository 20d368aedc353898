/** The two halves of a connection as the protocol sessions see them, whatever carries them: HTTP, SSH, a pipe or memory. */

import { KvError } from "../../errors.ts";

/** Bytes arriving. */
export interface ByteSource {
  /** The next bytes (at least one), or undefined at the end. Rejects with NETWORK when the connection breaks. */
  read(): Promise<Buffer | undefined>;
}

/** Bytes leaving. */
export interface ByteSink {
  /** Resolves when the bytes are taken, which holds a fast producer back. The caller does not reuse `bytes` before that. */
  write(bytes: Uint8Array): Promise<void>;
}

/** Both directions of one conversation. */
export interface Duplex {
  readonly input: ByteSource;
  readonly output: ByteSink;
}

/** A source over bytes already in memory, one read a chunk. */
export function bytesSource(...chunks: readonly Buffer[]): ByteSource {
  let next = 0;
  return {
    read: async () => {
      while (next < chunks.length) {
        const chunk = chunks[next++]!;
        if (chunk.length > 0) return chunk;
      }
      return undefined;
    },
  };
}

/** All bytes of a source. Throws LIMIT_EXCEEDED past `limit` bytes. */
export async function readAll(source: ByteSource, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for (let chunk = await source.read(); chunk !== undefined; chunk = await source.read()) {
    size += chunk.length;
    if (size > limit) throw new KvError("LIMIT_EXCEEDED", `the answer is longer than ${limit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
