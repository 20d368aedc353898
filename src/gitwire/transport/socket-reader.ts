/** Reads from a socket before it is handed on: exactly so many bytes, or a head of HTTP; the rest stays in the socket. */

import type * as net from "node:net";
import { KvError } from "../../errors.ts";

/** Longest head that is read. */
const MOST_HEAD = 64 * 1024;

/** The next `count` bytes. Throws NETWORK where the connection ends before. */
export async function take(socket: net.Socket, count: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(count) as Buffer | null;
    if (bytes !== null && bytes.length === count) return bytes;
    if (bytes !== null) socket.unshift(bytes);
    await more(socket);
  }
}

/** The head of an HTTP answer, up to its empty line. Throws NETWORK, or PROTOCOL where it is too long. */
export async function takeHead(socket: net.Socket): Promise<string> {
  let head = Buffer.alloc(0);
  for (;;) {
    const bytes = socket.read() as Buffer | null;
    if (bytes === null) {
      await more(socket);
      continue;
    }
    head = Buffer.concat([head, bytes]);
    const end = head.indexOf("\r\n\r\n");
    if (end >= 0) {
      socket.unshift(head.subarray(end + 4));
      return head.latin1Slice(0, end);
    }
    if (head.length > MOST_HEAD) throw new KvError("PROTOCOL", "the proxy's answer does not end");
  }
}

/** Waits until there is more to read. */
function more(socket: net.Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error): void => {
      socket.off("readable", readable).off("end", ended).off("close", ended).off("error", done);
      if (error === undefined) resolve();
      else reject(error);
    };
    const readable = (): void => done();
    const ended = (): void => done(new KvError("NETWORK", "the proxy closed the connection"));
    if (socket.readableEnded || socket.destroyed) return ended();
    socket.on("readable", readable).on("end", ended).on("close", ended).on("error", done);
  });
}
