/**
 * Manifests: what a chunked value is made of (docs/formats/data-format.md, section 6).
 *
 *   {"v":1,"key":K,"size":N,"etag":"blake3:...","chunking":C,"chunks":[{"size":N,"sha256":"<64 hex>","oid":"<blob>"},...]}
 *   C = {"mode":"fastcdc","min":N,"avg":N,"max":N} | {"mode":"fixed","size":N}
 *
 * Canonical JSON, so that a manifest has one spelling: reading one writes it again and demands the same bytes.
 */

import { decodeUtf8 } from "../bytes.ts";
import { type Chunking, checkChunking } from "../cdc/chunking.ts";
import { KvError } from "../errors.ts";
import { isOid, type ObjectFormat, type Oid } from "../gitwire/object/oid.ts";
import { LIMITS } from "../limits.ts";
import { ETAG } from "./record.ts";

/** One piece of a value. */
export interface Piece {
  readonly size: number;
  /** 64 hex digits: the piece's place and name in the chunk tree. */
  readonly sha256: string;
  /** The blob that holds its bytes. */
  readonly oid: Oid;
}

/** A value in pieces. */
export interface Manifest {
  readonly key: string;
  /** Bytes of the whole value: the sum of its pieces. */
  readonly size: number;
  readonly etag: string;
  readonly chunking: Chunking;
  /** In order, one at least. */
  readonly chunks: readonly Piece[];
}

const quote = JSON.stringify;

/**
 * The bytes of a manifest. Throws LIMIT_EXCEEDED where they are more than a manifest may have: the value has too many pieces.
 */
export function encodeManifest(manifest: Manifest): Buffer {
  const data = encode(manifest);
  if (data.length <= LIMITS.manifestBytes) return data;
  const { chunks, key } = manifest;
  throw new KvError(
    "LIMIT_EXCEEDED",
    `the value of ${quote(key)} has ${chunks.length} pieces: its manifest is over ${LIMITS.manifestBytes} bytes`,
    { hint: "larger pieces make fewer: an admin can raise the policy's chunking sizes" },
  );
}

function encode({ key, size, etag, chunking, chunks }: Manifest): Buffer {
  const pieces = chunks.map((piece) => `{"size":${piece.size},"sha256":"${piece.sha256}","oid":"${piece.oid}"}`);
  const head = `{"v":1,"key":${quote(key)},"size":${size},"etag":${quote(etag)},"chunking":${encodeChunking(chunking)}`;
  return Buffer.from(`${head},"chunks":[${pieces.join(",")}]}`);
}

function encodeChunking(chunking: Chunking): string {
  if (chunking.mode === "fixed") return `{"mode":"fixed","size":${chunking.size}}`;
  const { min, avg, max } = chunking;
  return `{"mode":"fastcdc","min":${min},"avg":${avg},"max":${max}}`;
}

/**
 * Reads a manifest of a repository of `format`. Throws CORRUPT where it is none: not canonical, over the limits, no pieces, sizes
 * that do not add up or that its chunking could not have made.
 */
export function parseManifest(format: ObjectFormat, data: Buffer): Manifest {
  if (data.length > LIMITS.manifestBytes) throw wrong(`has ${data.length} bytes, at most ${LIMITS.manifestBytes}`);
  const fields = parseObject(data);
  const manifest: Manifest = {
    key: text(fields, "key"),
    size: count(fields, "size"),
    etag: text(fields, "etag"),
    chunking: parseChunking(fields.chunking),
    chunks: parsePieces(format, fields.chunks),
  };
  if (fields.v !== 1 || !ETAG.test(manifest.etag)) throw wrong('has a wrong "v" or "etag"');
  if (!encode(manifest).equals(data)) throw wrong("is not written canonically");
  checkSizes(manifest);
  return manifest;
}

type Fields = Readonly<Record<string, unknown>>;

const wrong = (what: string): KvError => new KvError("CORRUPT", `the manifest ${what}`);

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function parseObject(data: Buffer): Fields {
  let parsed: unknown;
  try {
    parsed = JSON.parse(decodeUtf8(data) ?? "");
  } catch {
    throw wrong("is not JSON");
  }
  if (!isFields(parsed)) throw wrong("is no JSON object");
  return parsed;
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === "string") return value;
  throw wrong(`has a wrong "${name}"`);
}

function count(fields: Fields, name: string): number {
  const value = fields[name];
  if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
  throw wrong(`has a wrong "${name}"`);
}

function parseChunking(value: unknown): Chunking {
  if (!isFields(value)) throw wrong('has a wrong "chunking"');
  const { mode } = value;
  if (mode !== "fixed" && mode !== "fastcdc") throw wrong('has a wrong "chunking"');
  const chunking: Chunking =
    mode === "fixed"
      ? { mode, size: count(value, "size") }
      : { mode, min: count(value, "min"), avg: count(value, "avg"), max: count(value, "max") };
  try {
    checkChunking(chunking);
  } catch (error) {
    throw wrong(`has a chunking that cannot be: ${(error as Error).message}`);
  }
  return chunking;
}

function parsePieces(format: ObjectFormat, value: unknown): Piece[] {
  if (!Array.isArray(value) || value.length === 0) throw wrong("names no pieces");
  return value.map((piece: unknown): Piece => {
    if (!isFields(piece)) throw wrong("names a piece that is no object");
    const { sha256, oid } = piece;
    if (typeof sha256 !== "string" || !SHA256.test(sha256)) throw wrong("names a piece without its SHA-256");
    if (typeof oid !== "string" || !isOid(format, oid)) throw wrong("names a piece without its object id");
    return { size: count(piece, "size"), sha256, oid };
  });
}

const SHA256 = /^[0-9a-f]{64}$/;

/** The pieces add up, and each has a size that the chunking makes: all but the last at least the smallest, none more than the largest. */
function checkSizes({ size, chunking, chunks }: Manifest): void {
  const [least, most] = chunking.mode === "fixed" ? [chunking.size, chunking.size] : [chunking.min, chunking.max];
  let sum = 0;
  for (const [i, piece] of chunks.entries()) {
    sum += piece.size;
    if (piece.size <= most && (piece.size >= least || i === chunks.length - 1)) continue;
    throw wrong(`names a piece of ${piece.size} bytes, its chunking makes ${least} to ${most}`);
  }
  if (sum !== size) throw wrong(`speaks of ${size} bytes, its pieces have ${sum}`);
}
