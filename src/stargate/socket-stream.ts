/** A unix socket as the two halves of a conversation. */

import type * as net from "node:net";
import { asBuffer } from "../bytes.ts";
import { KvError } from "../errors.ts";
import type { ByteSink, ByteSource } from "../gitwire/protocol/byte-stream.ts";

/** Bytes arriving; the socket is not read further than it is asked for. */
export function socketSource(socket: net.Socket): ByteSource {
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  return {
    read: async () => {
      for (;;) {
        const next = await chunks.next().catch((error: unknown) => {
          throw broken(error);
        });
        if (next.done === true) return undefined;
        if (next.value.length > 0) return asBuffer(next.value);
      }
    },
  };
}

/** Bytes leaving; a write is taken when the system has it, or room is left in the buffer. */
export function socketSink(socket: net.Socket): ByteSink {
  return {
    write: (bytes) =>
      new Promise<void>((resolve, reject) => {
        if (bytes.length === 0) return resolve();
        if (socket.destroyed || socket.writableEnded) return reject(broken("it is closed"));
        // The callback comes when the bytes are handed over, so the caller may use its memory again.
        socket.write(bytes, (error) => (error ? reject(broken(error)) : resolve()));
      }),
  };
}

function broken(cause: unknown): KvError {
  return new KvError("NETWORK", `the connection broke: ${cause instanceof Error ? cause.message : String(cause)}`, {
    cause,
  });
}
