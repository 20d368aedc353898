/**
 * The input of an import, which is read twice: once to find everything that is wrong with it, once to write it. What can be read
 * only once (standard input, a pipe) goes to a file first, which has no name and goes away with the process. Gzip is
 * recognised by its first bytes.
 */

import * as fs from "node:fs";
import { createGunzip } from "node:zlib";
import { KvError, toKvError } from "../../errors.ts";
import { createTemp, writeAll } from "../../gitwire/pack/temp-file.ts";
import type { ByteReader } from "../../lines.ts";
import { badInput } from "./item.ts";

export interface ImportInput {
  /** Bytes as they are stored, for showing how far a reading is. */
  readonly size: number;
  /** Starts to read from the beginning; `onBytes` is told of every portion that is taken from the disk. */
  read(onBytes?: (count: number) => void): ByteReader;
  /** Throws IO where the file is another than at first. */
  demandSame(): void;
  close(): void;
}

const CHUNK = 256 * 1024;

/** The regular file at `path`. Throws the system's errors. */
export function fileInput(path: string): ImportInput {
  return inputOf(fs.openSync(path, "r"), path);
}

/** What `read` gives, kept in a file in `dir` until {@link ImportInput.close}. */
export async function spooledInput(read: ByteReader, dir: string, signal: AbortSignal): Promise<ImportInput> {
  const file = createTemp(dir, "tmp_import_", { anonymous: true });
  try {
    for (let chunk = await read(); chunk !== undefined; chunk = await read()) {
      signal.throwIfAborted();
      keep(file.fd, chunk, dir);
    }
  } catch (error) {
    file.discard();
    throw error;
  }
  return { ...inputOf(file.fd, "the input"), close: () => file.discard() };
}

function keep(fd: number, chunk: Buffer, dir: string): void {
  try {
    writeAll(fd, chunk);
  } catch (error) {
    const { code, message, hint } = toKvError(error);
    throw new KvError(code, `what is imported is kept in ${dir} meanwhile: ${message}`, {
      cause: error,
      ...(hint !== undefined && { hint }),
    });
  }
}

function inputOf(fd: number, name: string): ImportInput {
  const before = fs.fstatSync(fd, { bigint: true });
  return {
    size: Number(before.size),
    read: (onBytes) => {
      const raw = reader(fd, onBytes);
      return isGzip(fd) ? gunzip(raw) : raw;
    },
    demandSame: () => {
      const after = fs.fstatSync(fd, { bigint: true });
      if (after.size === before.size && after.mtimeNs === before.mtimeNs) return;
      throw new KvError("IO", `${name} changed while it was read`, { hint: "import a copy that nobody writes to" });
    },
    close: () => fs.closeSync(fd),
  };
}

/** Reads a descriptor from its beginning, wherever others have read it. */
function reader(fd: number, onBytes: ((count: number) => void) | undefined): () => Buffer | undefined {
  const buffer = Buffer.allocUnsafeSlow(CHUNK);
  let at = 0;
  return () => {
    const count = fs.readSync(fd, buffer, 0, CHUNK, at);
    at += count;
    onBytes?.(count);
    return count === 0 ? undefined : buffer.subarray(0, count);
  };
}

function isGzip(fd: number): boolean {
  const magic = Buffer.alloc(2);
  return fs.readSync(fd, magic, 0, 2, 0) === 2 && magic.readUInt16BE() === 0x1f8b;
}

/** Inflates as it is read: never more than a portion is in memory, whatever it stands for. */
function gunzip(raw: () => Buffer | undefined): ByteReader {
  const unzip = createGunzip({ chunkSize: CHUNK });
  const portions = unzip[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const give = async (): Promise<void> => {
    for (let chunk = raw(); chunk !== undefined; chunk = raw()) {
      // The buffer is read into again.
      if (!unzip.write(Buffer.from(chunk))) await new Promise<void>((resolve) => unzip.once("drain", resolve));
    }
    unzip.end();
  };
  let isGiven = false;
  return async () => {
    if (!isGiven) give().catch((error: unknown) => void unzip.destroy(error as Error));
    isGiven = true;
    try {
      const { value, done } = await portions.next();
      return done === true ? undefined : value;
    } catch (error) {
      throw badInput(`the gzip data are damaged or cut off: ${(error as Error).message}`);
    }
  };
}
