/**
 * The index of a worktree: which files are checked out (git: gitformat-index). Versions 2 to 4 are read, version 2 is written.
 *
 *   index  = "DIRC" version count *entry *extension checksum
 *   entry  = ctime mtime dev ino mode uid gid size oid flags [extended-flags] path
 *   flags  = assume-valid:1 extended:1 stage:2 name-length:12        path: NUL-padded to eight bytes (2, 3)
 *   path   = strip-length rest-of-the-name NUL                       version 4: what the path before it shares is left out
 *   extension = signature(4) size(4) data        a signature that begins with a capital may be passed over
 */

import type * as fs from "node:fs";
import { KvError } from "../../errors.ts";
import { hashBytes, type ObjectFormat, type Oid } from "../object/oid.ts";

/** One file of the index. */
export interface IndexEntry {
  /** Path inside the worktree, a byte string. */
  readonly path: string;
  readonly mode: number;
  readonly oid: Oid;
  /** What lstat() said when the file was last seen to hold the object; undefined where nothing is known. */
  readonly stat: IndexStat | undefined;
  /** 0; 1 to 3 for the sides of a merge that is not resolved. */
  readonly stage: number;
  /** Changes of the file do not count (`update-index --assume-unchanged`), or it is not checked out (`--skip-worktree`). */
  readonly isIgnored: boolean;
  /** Named only, without content yet (`add --intent-to-add`). */
  readonly isIntent: boolean;
}

/** The fields of lstat() that an index keeps, each cut to 32 bits. */
export interface IndexStat {
  readonly ctime: number;
  readonly ctimeNanoseconds: number;
  readonly mtime: number;
  readonly mtimeNanoseconds: number;
  readonly dev: number;
  readonly ino: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
}

const FIELDS = [
  "ctime",
  "ctimeNanoseconds",
  "mtime",
  "mtimeNanoseconds",
  "dev",
  "ino",
  "uid",
  "gid",
  "size",
] as const satisfies readonly (keyof IndexStat)[];
/** Where each of them is in an entry; the mode is between `ino` and `uid`. */
const OFFSETS = [0, 4, 8, 12, 16, 20, 28, 32, 36];
const MODE_OFFSET = 24;
const OID_OFFSET = 40;

const ASSUME_VALID = 0x8000;
const EXTENDED = 0x4000;
const SKIP_WORKTREE = 0x4000;
const INTENT_TO_ADD = 0x2000;
const NAME_LENGTH = 0xfff;

/** What an index keeps of `stat`. */
export function indexStat(stat: fs.BigIntStats): IndexStat {
  const low = (value: bigint): number => Number(BigInt.asUintN(32, value));
  return {
    ctime: low(stat.ctimeNs / 1_000_000_000n),
    ctimeNanoseconds: low(stat.ctimeNs % 1_000_000_000n),
    mtime: low(stat.mtimeNs / 1_000_000_000n),
    mtimeNanoseconds: low(stat.mtimeNs % 1_000_000_000n),
    dev: low(stat.dev),
    ino: low(stat.ino),
    uid: low(stat.uid),
    gid: low(stat.gid),
    size: low(stat.size),
  };
}

/** Bytes of an index of version 2 that holds `entries`, sorted by path. */
export function encodeIndex(
  format: ObjectFormat,
  entries: readonly Pick<IndexEntry, "path" | "mode" | "oid" | "stat">[],
): Buffer {
  const header = Buffer.alloc(12);
  header.write("DIRC");
  header.writeUInt32BE(2, 4);
  header.writeUInt32BE(entries.length, 8);
  const body = Buffer.concat([header, ...entries.map((entry) => encodeEntry(format, entry))]);
  return Buffer.concat([body, hashBytes(format, body)]);
}

function encodeEntry(
  format: ObjectFormat,
  { path, mode, oid, stat }: Pick<IndexEntry, "path" | "mode" | "oid" | "stat">,
): Buffer {
  const fixed = OID_OFFSET + format.rawSize + 2;
  const entry = Buffer.alloc(Math.floor((fixed + path.length) / 8) * 8 + 8);
  if (stat !== undefined) for (const [i, field] of FIELDS.entries()) entry.writeUInt32BE(stat[field], OFFSETS[i]!);
  entry.writeUInt32BE(mode, MODE_OFFSET);
  entry.write(oid, OID_OFFSET, "hex");
  entry.writeUInt16BE(Math.min(path.length, NAME_LENGTH), OID_OFFSET + format.rawSize);
  entry.latin1Write(path, fixed);
  return entry;
}

/** Reads an index. Throws CORRUPT where it is damaged, UNSUPPORTED where it needs what is not implemented. */
export function parseIndex(format: ObjectFormat, bytes: Buffer): IndexEntry[] {
  const end = bytes.length - format.rawSize;
  if (end < 12 || bytes.latin1Slice(0, 4) !== "DIRC") throw damaged("it does not begin as one");
  const stored = bytes.subarray(end);
  // With index.skipHash git leaves zeros in the place of the checksum.
  if (stored.some((byte) => byte !== 0) && !hashBytes(format, bytes.subarray(0, end)).equals(stored)) {
    throw damaged("its checksum does not fit");
  }
  const version = bytes.readUInt32BE(4);
  if (version < 2 || version > 4) throw new KvError("UNSUPPORTED", `the index is of version ${version}`);
  const count = bytes.readUInt32BE(8);
  const reader = new EntryReader(format, bytes.subarray(0, end), version);
  // Each takes more bytes than this, whatever the header says.
  if (count > end / OID_OFFSET) throw damaged("it is shorter than it says");
  const entries: IndexEntry[] = [];
  for (let i = 0; i < count; i++) entries.push(reader.next());
  checkExtensions(bytes.subarray(0, end), reader.offset);
  return entries;
}

class EntryReader {
  offset = 12;
  readonly #format: ObjectFormat;
  readonly #bytes: Buffer;
  readonly #version: number;
  #previous = "";

  constructor(format: ObjectFormat, bytes: Buffer, version: number) {
    this.#format = format;
    this.#bytes = bytes;
    this.#version = version;
  }

  next(): IndexEntry {
    const { rawSize } = this.#format;
    const start = this.offset;
    const bytes = this.#bytes;
    const fixed = start + OID_OFFSET + rawSize + 2;
    if (fixed + 2 > bytes.length) throw damaged("an entry is cut off");
    const flags = bytes.readUInt16BE(fixed - 2);
    const isExtended = (flags & EXTENDED) !== 0;
    if (isExtended && this.#version < 3) throw damaged("an entry has flags its version does not know");
    const extended = isExtended ? bytes.readUInt16BE(fixed) : 0;
    const path = this.#path(start, fixed + (isExtended ? 2 : 0));
    if (this.#previous > path) throw damaged("its entries are not in order");
    this.#previous = path;
    return {
      path,
      mode: bytes.readUInt32BE(start + MODE_OFFSET),
      oid: bytes.toString("hex", start + OID_OFFSET, start + OID_OFFSET + rawSize),
      stat: readStat(bytes, start),
      stage: (flags >> 12) & 3,
      isIgnored: (flags & ASSUME_VALID) !== 0 || (extended & SKIP_WORKTREE) !== 0,
      isIntent: (extended & INTENT_TO_ADD) !== 0,
    };
  }

  /** The path that begins at `at`, of the entry that begins at `start`. */
  #path(start: number, at: number): string {
    if (this.#version < 4) {
      const path = this.#text(at);
      this.offset = start + Math.floor((at - start + path.length) / 8) * 8 + 8;
      return path;
    }
    const { value, next } = this.#stripLength(at);
    if (value > this.#previous.length) throw damaged("a path leaves out more than there is");
    const rest = this.#text(next);
    this.offset = next + rest.length + 1;
    return this.#previous.slice(0, this.#previous.length - value) + rest;
  }

  #text(at: number): string {
    const nul = this.#bytes.indexOf(0, at);
    if (nul < 0) throw damaged("a path has no end");
    return this.#bytes.latin1Slice(at, nul);
  }

  /** The number as in the offsets of a pack's deltas. */
  #stripLength(from: number): { value: number; next: number } {
    let at = from;
    let value = 0;
    for (let byte = 0x80; (byte & 0x80) !== 0; at++) {
      if (at >= this.#bytes.length || at - from > 4) throw damaged("a path's length is cut off");
      byte = this.#bytes[at]!;
      value = (at > from ? (value + 1) * 128 : 0) + (byte & 0x7f);
    }
    return { value, next: at };
  }
}

function readStat(bytes: Buffer, start: number): IndexStat {
  const fields = FIELDS.map((field, i) => [field, bytes.readUInt32BE(start + OFFSETS[i]!)]);
  return Object.fromEntries(fields) as unknown as IndexStat;
}

function checkExtensions(bytes: Buffer, from: number): void {
  for (let at = from; at < bytes.length; ) {
    if (at + 8 > bytes.length) throw damaged("an extension is cut off");
    const name = bytes.latin1Slice(at, at + 4);
    if (!/^[A-Z]/.test(name)) {
      throw new KvError("UNSUPPORTED", `the index has the extension ${JSON.stringify(name)}, which is not read here`, {
        hint: "git writes it for split and sparse indexes: core.splitIndex, index.sparse",
      });
    }
    at += 8 + bytes.readUInt32BE(at + 4);
    if (at > bytes.length) throw damaged("an extension is cut off");
  }
}

function damaged(what: string): KvError {
  return new KvError("CORRUPT", `the index is damaged: ${what}`);
}
