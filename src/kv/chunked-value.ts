/**
 * Reads a value that is stored in pieces. A piece is handed on when its SHA-256 has been checked, and the whole is compared with
 * its etag at the end.
 */

import { KvError } from "../errors.ts";
import { type GitObject, type ObjectSource, readAs } from "../gitwire/object/object.ts";
import { hashObject, type Oid } from "../gitwire/object/oid.ts";
import { deflateBound } from "../gitwire/pack/zlib.ts";
import { sha256Beside } from "../sha256.ts";
import { TimeSlice } from "../time-slice.ts";
import type { ByteRange } from "./byte-range.ts";
import { openEtag } from "./etag-stream.ts";
import { keyText } from "./key.ts";
import { type Manifest, type Piece, parseManifest } from "./manifest.ts";
import type { FoundKey } from "./read.ts";

/** The manifest of a chunked key. Throws CORRUPT where it is not the one its id and metadata name. */
export function readManifest(objects: ObjectSource, { key, oid, meta }: FoundKey): Manifest {
  const data = readAs(objects, oid, "blob");
  if (hashObject(objects.format, "blob", data) !== oid)
    throw wrong(keyText(key), "has a manifest that is not the one its id names");
  const manifest = parseManifest(objects.format, data);
  if (manifest.key === keyText(key) && manifest.size === meta.size && manifest.etag === meta.etag) return manifest;
  throw wrong(keyText(key), "has a manifest that does not fit its metadata");
}

/** The pieces that hold bytes of `range`, and where each begins in the value. */
export function piecesOf(manifest: Manifest, range: ByteRange): { readonly piece: Piece; readonly at: number }[] {
  const found: { piece: Piece; at: number }[] = [];
  let at = 0;
  for (const piece of manifest.chunks) {
    if (at < range.end && at + piece.size > range.start) found.push({ piece, at });
    at += piece.size;
  }
  return found;
}

/** Ids of the pieces of `range` that are not in `objects`, each once. */
export function missingPieces(
  objects: { knownAmong(oids: readonly Oid[]): Oid[] },
  manifest: Manifest,
  range: ByteRange,
): Oid[] {
  const wanted = [...new Set(piecesOf(manifest, range).map(({ piece }) => piece.oid))];
  const here = new Set(objects.knownAmong(wanted));
  return wanted.filter((oid) => !here.has(oid));
}

/**
 * Hands the bytes of `range` on in order. They are good until `use` returns, or what it returns is settled. The etag is checked where
 * the range is the whole value. Throws CORRUPT where a piece is missing or not the one the manifest names: none of its bytes have been
 * handed on. Lets others run now and then, and ends with the reason of `signal`.
 */
export async function streamValue(
  objects: ObjectSource,
  manifest: Manifest,
  range: ByteRange,
  use: (bytes: Buffer) => void | Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const isWhole = range.start === 0 && range.end === manifest.size;
  const etag = isWhole ? await openEtag() : undefined;
  const pieces = piecesOf(manifest, range);
  const most = deflateBound(Math.max(0, ...pieces.map(({ piece }) => piece.size)));
  // Two places for all of them: fresh memory for each takes longer than reading it.
  const rooms: Buffer[] = [];
  let last: Buffer | undefined;
  const slice = new TimeSlice(1);
  for (const [i, { piece, at }] of pieces.entries()) {
    rooms[i & 1] ??= Buffer.allocUnsafeSlow(most);
    const checked = checkedPiece(objects, manifest.key, piece, at, rooms[i & 1]!);
    // Meanwhile another thread computes the digest of this one.
    if (last !== undefined) etag?.update(last);
    last = await checked;
    const work = use(last.subarray(Math.max(0, range.start - at), range.end - at));
    if (work instanceof Promise) await work;
    if (slice.isOver()) await slice.pause(signal);
  }
  if (last !== undefined) etag?.update(last);
  if (etag !== undefined && etag.finish() !== manifest.etag)
    throw wrong(manifest.key, "is made of sound pieces, but is not the value its etag names");
}

async function checkedPiece(
  objects: ObjectSource,
  key: string,
  piece: Piece,
  at: number,
  room: Buffer,
): Promise<Buffer> {
  const { oid, size, sha256 } = piece;
  const isIt = async ({ kind, data }: GitObject): Promise<boolean> =>
    kind === "blob" && data.length === size && (await sha256Beside(data)) === sha256;
  const named = `piece ${sha256.slice(0, 12)} (blob ${oid}) at byte ${at} of ${JSON.stringify(key)}`;
  let object: GitObject | undefined;
  try {
    const first = objects.readInto?.(oid, room);
    if (first !== undefined && (await isIt(first))) return first.data;
    // Of an object that is stored twice the other copy may be sound.
    object = objects.read(oid);
  } catch (cause) {
    if (!(cause instanceof KvError)) throw cause;
    throw new KvError(cause.code, `${named}: ${cause.message}`, { cause });
  }
  if (object === undefined) throw new KvError("CORRUPT", `${named} is missing`);
  if (await isIt(object)) return object.data;
  throw new KvError("CORRUPT", `${named} is damaged: its bytes are not those the manifest names`);
}

function wrong(key: string, what: string): KvError {
  return new KvError("CORRUPT", `${JSON.stringify(key)} ${what}`);
}
