/**
 * The header of one entry of a pack (git: gitformat-pack, "pack-*.pack files have the following format").
 *
 * ```
 * entry       = type-size [base] zlib-stream
 * type-size   = byte: 0x80 more follows | type << 4 | low 4 bits of the size; then 7 bits of the size a byte, low first
 * type        = 1 commit | 2 tree | 3 blob | 4 tag | 6 ofs-delta | 7 ref-delta
 * base        = ofs-delta: distance back to the base's entry, 7 bits a byte, high first, each further byte adding 1
 *             | ref-delta: raw object id
 * ```
 * The size is that of the inflated data; for the two deltas, of the delta itself.
 */

import { KvError } from "../../errors.ts";
import type { ObjectFormat, ObjectKind, Oid } from "../object/oid.ts";

/** Type numbers of pack entries. */
export const ENTRY = { commit: 1, tree: 2, blob: 3, tag: 4, ofsDelta: 6, refDelta: 7 } as const;

/** 1 commit, 2 tree, 3 blob, 4 tag, 6 ofs-delta, 7 ref-delta. */
export type EntryType = 1 | 2 | 3 | 4 | 6 | 7;

const KINDS: readonly (ObjectKind | undefined)[] = [undefined, "commit", "tree", "blob", "tag"];

/** Longest entry header: ten bytes of size and a raw sha256 id. */
export const MAX_ENTRY_HEADER = 48;

/** A decoded entry header. */
export interface EntryHeader {
  readonly type: EntryType;
  /** Bytes of the inflated data. */
  readonly size: number;
  /** Bytes of this header: the zlib stream follows it. */
  readonly length: number;
  /** Distance back to the base's entry (ofs-delta), else 0. */
  readonly baseDistance: number;
  /** Where the base's raw id stands in the decoded buffer (ref-delta), else -1. */
  readonly baseAt: number;
}

/** An entry as it is stored, for a pack that is to hold it unchanged. */
export interface RawEntry {
  /** Kind of a whole object; undefined for a delta. */
  readonly kind: ObjectKind | undefined;
  /** Bytes of the inflated data (of the delta, where it is one). */
  readonly size: number;
  /** Id of the base of a delta. */
  readonly base: Oid | undefined;
  /** Offset of a delta's base in this pack; -1 for a whole object. */
  readonly baseOffset: number;
  /** The zlib stream, as stored and verified; empty where it comes in pieces. */
  readonly data: Buffer;
  /** The zlib stream of a large entry piece by piece; throws CORRUPT at its end where the whole was damaged. */
  readonly pieces?: Iterable<Buffer>;
}

/** Where an entry is, as a pack and its index know it. */
export interface EntryPlace {
  readonly offset: number;
  /** Where the entry ends. */
  readonly end: number;
  /** Position of its object in the order of ids. */
  readonly position: number;
}

/** What an entry says about itself, without its data. */
export interface EntryInfo {
  /** Kind of a whole object; undefined for a delta. */
  readonly kind: ObjectKind | undefined;
  /** Bytes of the inflated data (of the delta, where it is one). */
  readonly size: number;
  /** Offset of a delta's base in this pack; -1 for a whole object. */
  readonly baseOffset: number;
  /** Offset of the zlib stream. */
  readonly dataOffset: number;
}

/** The kind of a whole entry of type 1 to 4, undefined for a delta. */
export function entryKind(type: number): ObjectKind | undefined {
  return KINDS[type];
}

/** The entry type of a whole object of `kind`. */
export function kindType(kind: ObjectKind): EntryType {
  return ENTRY[kind];
}

/**
 * The header at `bytes[at]`, or undefined where it goes on past `end`. Throws BAD_OBJECT on a type git does not know or a
 * number that does not end.
 */
export function decodeEntryHeader(
  format: ObjectFormat,
  bytes: Buffer,
  at: number,
  end: number,
): EntryHeader | undefined {
  let next = at;
  if (next >= end) return undefined;
  let byte = bytes[next++]!;
  const type = (byte >> 4) & 7;
  let size = byte & 15;
  for (let scale = 16; byte >= 0x80; scale *= 128) {
    if (next >= end) return undefined;
    // Past 2^45 the seven further bits could leave the range of exact integers.
    if (scale > 2 ** 45) throw new KvError("BAD_OBJECT", "a pack entry declares an absurd size");
    byte = bytes[next++]!;
    size += (byte & 0x7f) * scale;
  }
  if (type === ENTRY.ofsDelta) return ofsHeader(bytes, at, next, end, size);
  if (type === ENTRY.refDelta) {
    if (next + format.rawSize > end) return undefined;
    return { type, size, length: next + format.rawSize - at, baseDistance: 0, baseAt: next };
  }
  if (type === 0 || type === 5) throw new KvError("BAD_OBJECT", `a pack entry has the unknown type ${type}`);
  return { type: type as EntryType, size, length: next - at, baseDistance: 0, baseAt: -1 };
}

function ofsHeader(bytes: Buffer, at: number, start: number, end: number, size: number): EntryHeader | undefined {
  let next = start;
  let distance = -1;
  let byte: number;
  do {
    if (next >= end) return undefined;
    if (distance >= 2 ** 45) throw new KvError("BAD_OBJECT", "a delta's distance to its base is absurd");
    byte = bytes[next++]!;
    distance = (distance + 1) * 128 + (byte & 0x7f);
  } while (byte >= 0x80);
  return { type: ENTRY.ofsDelta, size, length: next - at, baseDistance: distance, baseAt: -1 };
}

/** Writes type and size at `out[at]`; returns where they end. The base of a delta comes next. */
export function encodeTypeSize(out: Buffer, at: number, type: EntryType, size: number): number {
  let next = at;
  let rest = Math.floor(size / 16);
  out[next++] = type * 16 + (size % 16) + (rest > 0 ? 0x80 : 0);
  while (rest > 0) {
    const more = Math.floor(rest / 128);
    out[next++] = (rest % 128) + (more > 0 ? 0x80 : 0);
    rest = more;
  }
  return next;
}

/** Writes the distance of an ofs-delta (1 or more) at `out[at]`; returns where it ends. */
export function encodeOfsDistance(out: Buffer, at: number, distance: number): number {
  let bytes = 1;
  for (let rest = Math.floor(distance / 128); rest > 0; rest = Math.floor((rest - 1) / 128)) bytes++;
  let rest = distance;
  for (let i = bytes - 1; i >= 0; i--) {
    out[at + i] = (rest % 128) + (i < bytes - 1 ? 0x80 : 0);
    rest = Math.floor(rest / 128) - 1;
  }
  return at + bytes;
}

/** Writes a whole entry header at the start of `out`: `distance` for an ofs-delta, `base` for a ref-delta; returns its length. */
export function encodeEntryHeader(
  out: Buffer,
  format: ObjectFormat,
  type: EntryType,
  size: number,
  distance: number,
  base: Oid | undefined,
): number {
  const end = encodeTypeSize(out, 0, type, size);
  if (type === ENTRY.ofsDelta) return encodeOfsDistance(out, end, distance);
  if (type === ENTRY.refDelta) return end + out.hexWrite(base!, end, format.rawSize);
  return end;
}
