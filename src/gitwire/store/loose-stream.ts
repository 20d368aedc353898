/** Large loose objects, of which no more than a piece is to be in memory (their format: see loose.ts). */

import * as fs from "node:fs";
import type { Readable } from "node:stream";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { isMissing } from "../disk.ts";
import { newHasher, type ObjectFormat, type ObjectKind, type Oid } from "../object/oid.ts";
import { loosePath } from "./loose.ts";

export interface LooseHeader {
  readonly kind: ObjectKind;
  /** Bytes of the content. */
  readonly size: number;
  /** Bytes of the header itself. */
  readonly length: number;
}

/** Bytes of the file that surely hold the header. */
const HEAD_BYTES = 256;
const HEADER = /^(commit|tree|blob|tag) (0|[1-9][0-9]{0,15})\0/;

/**
 * Kind and size of a loose object; undefined where it is not there, or its file has fewer than `least` bytes. Throws CORRUPT where its file is damaged.
 */
export function looseHeader(objectsDir: string, oid: Oid, least = 0): LooseHeader | undefined {
  const file = loosePath(objectsDir, oid);
  const head = headOf(file, least);
  if (head === undefined) return undefined;
  const zlib = process.getBuiltinModule("node:zlib");
  let text: string;
  try {
    text = zlib.inflateSync(head, { finishFlush: zlib.constants.Z_SYNC_FLUSH }).toString("latin1", 0, 40);
  } catch (error) {
    throw damaged(file, (error as Error).message);
  }
  const [header = "", kind, size] = HEADER.exec(text) ?? [];
  if (kind === undefined) throw damaged(file, "its header is not one");
  return { kind: kind as ObjectKind, size: Number(size), length: header.length };
}

function headOf(file: string, least: number): Buffer | undefined {
  let fd: number;
  try {
    fd = fs.openSync(file, "r");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    if (least > 0 && fs.fstatSync(fd).size < least) return undefined;
    const head = Buffer.alloc(HEAD_BYTES);
    return head.subarray(0, fs.readSync(fd, head, 0, HEAD_BYTES, 0));
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * The content of a loose object as a zlib stream of its own, as a pack holds it, in pieces. Throws CORRUPT, at the end at the
 * latest, where the object is not what its name says; LIMIT_EXCEEDED where it is too large.
 */
export async function* deflatedLoose(
  objectsDir: string,
  format: ObjectFormat,
  oid: Oid,
  header: LooseHeader,
): AsyncGenerator<Buffer> {
  const file = loosePath(objectsDir, oid);
  if (header.size > LIMITS.objectBytes) {
    throw new KvError("LIMIT_EXCEEDED", `${file}: more than ${LIMITS.objectBytes} bytes`);
  }
  const zlib = process.getBuiltinModule("node:zlib");
  const { pipeline } = process.getBuiltinModule("node:stream");
  const content = contentOf(fs.createReadStream(file).pipe(zlib.createInflate()), file, format, oid, header);
  const deflater = zlib.createDeflate({ level: zlib.constants.Z_BEST_SPEED });
  let failure: unknown;
  pipeline(content, deflater, (error) => {
    failure = error;
  });
  try {
    for await (const piece of deflater) yield piece as Buffer;
  } catch (error) {
    const cause = failure ?? error;
    throw cause instanceof KvError ? cause : damaged(file, (cause as Error).message);
  }
}

/** The content without its header, checked against its id. */
async function* contentOf(
  inflated: Readable,
  file: string,
  format: ObjectFormat,
  oid: Oid,
  { size, length }: LooseHeader,
): AsyncGenerator<Buffer> {
  const hasher = newHasher(format);
  let seen = 0;
  for await (const chunk of inflated as AsyncIterable<Buffer>) {
    hasher.update(chunk);
    const skipped = Math.max(0, Math.min(chunk.length, length - seen));
    seen += chunk.length;
    if (seen > length + size) break;
    if (skipped < chunk.length) yield chunk.subarray(skipped);
  }
  if (seen !== length + size) throw damaged(file, `its content is not the ${size} bytes it declares`);
  if ((hasher.digest() as Buffer).toString("hex") !== oid) throw damaged(file, "its content is not that of its name");
}

function damaged(file: string, reason: string): KvError {
  return new KvError("CORRUPT", `loose object ${file} is damaged: ${reason}`);
}
