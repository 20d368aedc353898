/**
 * Loose objects: one file each, `<first two digits>/<other digits>`, a zlib stream of
 *
 *   kind SP size NUL content
 *
 * (git: gitrepository-layout, "objects/[0-9a-f][0-9a-f]").
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { errorCode, isMissing } from "../disk.ts";
import type { GitObject } from "../object/object.ts";
import type { ObjectFormat, ObjectKind, Oid } from "../object/oid.ts";

/** Longest header: the kind, a size and two separators. */
const HEADER_MAX = 32;
const KINDS: readonly string[] = ["commit", "tree", "blob", "tag"];

/** Where the loose object would be. */
export function loosePath(objectsDir: string, oid: Oid): string {
  return `${objectsDir}/${oid.slice(0, 2)}/${oid.slice(2)}`;
}

/** Whether the object is there, loose. */
export function hasLoose(objectsDir: string, oid: Oid): boolean {
  return fs.existsSync(loosePath(objectsDir, oid));
}

/** The loose object, or undefined. Throws CORRUPT where its file is damaged, LIMIT_EXCEEDED where it is too large. */
export function readLoose(objectsDir: string, oid: Oid): GitObject | undefined {
  const file = loosePath(objectsDir, oid);
  // Most lookups fail, and an exception costs five times as much as asking first.
  if (!fs.existsSync(file)) return undefined;
  let stored: Buffer;
  try {
    stored = fs.readFileSync(file);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  return decodeLoose(stored, file);
}

/** Decodes the content of a loose object's `file`. */
export function decodeLoose(stored: Buffer, file: string): GitObject {
  const bytes = inflateLoose(stored, file);
  const end = bytes.subarray(0, HEADER_MAX).indexOf(0);
  const [, kind, size] = /^([a-z]+) (0|[1-9][0-9]*)$/.exec(bytes.latin1Slice(0, Math.max(0, end))) ?? [];
  if (kind === undefined || !KINDS.includes(kind)) throw corrupt(file, "its header is not one");
  const data = bytes.subarray(end + 1);
  if (data.length !== Number(size)) throw corrupt(file, `it holds ${data.length} bytes and declares ${size}`);
  return { kind: kind as ObjectKind, data };
}

function inflateLoose(stored: Buffer, file: string): Buffer {
  try {
    const options = { info: true, maxOutputLength: LIMITS.objectBytes + HEADER_MAX };
    const result = process.getBuiltinModule("node:zlib").inflateSync(stored, options) as unknown as {
      buffer: Buffer;
      engine: { bytesWritten: number };
    };
    if (result.engine.bytesWritten !== stored.length) throw corrupt(file, "bytes follow its end");
    return result.buffer;
  } catch (error) {
    if (error instanceof KvError) throw error;
    if (errorCode(error) === "ERR_BUFFER_TOO_LARGE") {
      throw new KvError("LIMIT_EXCEEDED", `${file}: more than ${LIMITS.objectBytes} bytes`);
    }
    throw corrupt(file, (error as Error).message);
  }
}

/** Ids of loose objects that start with the hex digits `prefix` (two at least), at most `limit`. */
export function looseStartingWith(objectsDir: string, format: ObjectFormat, prefix: string, limit: number): Oid[] {
  const found: Oid[] = [];
  for (const name of readDirIfThere(path.join(objectsDir, prefix.slice(0, 2)))) {
    const oid = prefix.slice(0, 2) + name;
    if (oid.length !== format.hexSize || !/^[0-9a-f]+$/.test(oid) || !oid.startsWith(prefix)) continue;
    if (found.push(oid) >= limit) break;
  }
  return found;
}

/** Names in a folder; none where there is no such folder. */
export function readDirIfThere(dir: string): string[] {
  try {
    return fs.readdirSync(dir);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function corrupt(file: string, reason: string): KvError {
  return new KvError("CORRUPT", `loose object ${file} is damaged: ${reason}`);
}
