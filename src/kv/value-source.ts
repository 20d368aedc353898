/** Where the bytes of a value come from: memory, a file that must stay as it is, or a stream of unknown length. */

import * as fs from "node:fs";
import { deferred } from "../deferred.ts";
import { KvError } from "../errors.ts";
import type { ByteReader } from "../lines.ts";

/** Bytes in order, read to where they are needed. */
export interface ValueSource {
  /** Bytes in all; undefined where only the end will tell. */
  readonly size: number | undefined;
  /** Puts the next bytes at the start of `room`; returns how many, 0 at the end. */
  read(room: Buffer): number | Promise<number>;
  /** Called at the end, and not where something failed. Throws IO where the bytes read are not those of one state of the file. */
  finish(): void;
  close(): void;
}

/** Bytes of one read: between two of them others may run. */
const PORTION = 2 * 1024 * 1024;

export function bytesSource(data: Buffer): ValueSource {
  let at = 0;
  return {
    size: data.length,
    read: (room) => {
      const count = data.copy(room, 0, at, Math.min(data.length, at + PORTION));
      at += count;
      return count;
    },
    finish: () => {},
    close: () => {},
  };
}

/** What `read` hands out. */
export function streamSource(read: ByteReader): ValueSource {
  let rest: Buffer | undefined;
  return {
    size: undefined,
    read: async (room) => {
      rest ??= await read();
      if (rest === undefined) return 0;
      const count = rest.copy(room);
      rest = count === rest.length ? undefined : rest.subarray(count);
      return count;
    },
    finish: () => {},
    close: () => {},
  };
}

/** Bytes of the file at `path`; undefined where it is no regular file. */
export function sizeOfFile(path: string): number | undefined {
  const stat = fs.statSync(path);
  return stat.isFile() ? stat.size : undefined;
}

/** The file at `path`. Opening a pipe waits for its other end. Throws the system's errors, and the reason of the signal. */
export async function openFile(path: string, signal: AbortSignal): Promise<ValueSource> {
  return sizeOfFile(path) === undefined ? pipe(path, signal) : regularFile(path);
}

/** A regular file. */
export interface FileSource extends ValueSource {
  readonly size: number;
  read(room: Buffer): number;
}

/** A file of a known size, which must not change while it is read. */
export function regularFile(path: string): FileSource {
  const fd = fs.openSync(path, "r");
  const before = fs.fstatSync(fd, { bigint: true });
  let total = 0;
  return {
    size: Number(before.size),
    read: (room) => {
      const count = fs.readSync(fd, room, 0, Math.min(room.length, PORTION), null);
      total += count;
      return count;
    },
    finish: () => {
      const after = fs.fstatSync(fd, { bigint: true });
      if (after.mtimeNs === before.mtimeNs && after.size === before.size && before.size === BigInt(total)) return;
      throw new KvError("IO", `${path} changed while it was read`, {
        hint: "nothing was written; try again when nobody writes to it, or store a copy",
      });
    },
    close: () => fs.closeSync(fd),
  };
}

/** A named pipe or a device: it is opened and read in the background, so that Ctrl-C is heard. */
async function pipe(path: string, signal: AbortSignal): Promise<ValueSource> {
  const opening = fs.promises.open(path, "r");
  const file = await unlessAborted(signal, opening).catch((error: unknown) => {
    // Whoever opens the other end later lets go of it at once.
    opening.then((late) => late.close()).catch(() => {});
    throw error;
  });
  return {
    size: undefined,
    read: async (room) => {
      const { bytesRead } = await unlessAborted(signal, file.read(room, 0, Math.min(room.length, PORTION), null));
      return bytesRead;
    },
    finish: () => {},
    // A read that is still under way keeps the descriptor.
    close: () => void file.close().catch(() => {}),
  };
}

async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = deferred<never>();
  const stop = (): void => reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
