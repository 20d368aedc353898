/**
 * The first pass over an arriving pack: every entry is inflated to find where it ends; whole objects get their ids, deltas
 * are noted with their bases (git: gitformat-pack; grammar of an entry in pack-entry.ts).
 *
 * ```
 * pack    = "PACK" version:u32 count:u32 *entry trailer
 * trailer = raw hash of everything before it
 * ```
 */

import { KvError } from "../../errors.ts";
import { TimeSlice } from "../../time-slice.ts";
import { hashObjectRaw, newHasher, type ObjectKind } from "../object/oid.ts";
import type { EntryList } from "./entry-list.ts";
import { decodeEntryHeader, ENTRY, type EntryHeader, entryKind } from "./pack-entry.ts";
import type { PackInput } from "./pack-input.ts";
import { inflateInto, maxStream, StreamInflater, TRUNCATED } from "./zlib.ts";

/** Objects above this size pass through in pieces. */
const STREAMED = 1024 * 1024;
const HEADER_BYTES = 12;

/** Limits on one pack. */
export interface PackLimits {
  /** Bytes of the pack. */
  readonly packBytes: number;
  readonly packObjects: number;
  /** Bytes of one object. */
  readonly objectBytes: number;
  /** Deltas in one chain. */
  readonly deltaDepth: number;
  /** Bytes of all objects made from deltas together. */
  readonly packInflatedBytes: number;
}

/**
 * Reads the whole pack from `input` into `list`; returns its raw checksum, which has been verified. Throws BAD_PACK on
 * damage, LIMIT_EXCEEDED.
 */
export async function scanPack(input: PackInput, list: EntryList, limits: PackLimits): Promise<Buffer> {
  const declared = await readHeader(input, limits);
  const slice = new TimeSlice();
  let output = Buffer.allocUnsafeSlow(64 * 1024);
  while (list.count < declared) {
    const header = await nextHeader(input, list, declared, limits);
    const { size } = header;
    if (size > STREAMED && StreamInflater.supported) {
      await streamEntry(input, list, header);
      continue;
    }
    if (size >= output.length) output = Buffer.allocUnsafeSlow(size + 1);
    const length = header.length + (await inflateWhole(input, list, header, output));
    const crc = Bun.hash.crc32(input.buffer.subarray(input.at, input.at + length));
    const data = output.subarray(0, size);
    const entry = addEntry(input, list, header, crc);
    const kind = entryKind(header.type);
    if (kind === undefined) list.kept.add(list.deltaCount - 1, data);
    else addObject(list, entry, kind, data);
    input.pass(length);
    if (slice.isOver()) await slice.pause();
  }
  return readTrailer(input, list);
}

/** An entry that is no delta: `data` is used again. */
function addObject(list: EntryList, entry: number, kind: ObjectKind, data: Buffer): void {
  const id = hashObjectRaw(list.format, kind, data);
  list.setId(entry, id);
  list.seen?.add(id, kind, data);
}

async function readHeader(input: PackInput, limits: PackLimits): Promise<number> {
  await input.need(HEADER_BYTES, "its header");
  const { buffer, at } = input;
  if (buffer.latin1Slice(at, at + 4) !== "PACK") throw new KvError("BAD_PACK", "this is not a pack");
  const version = buffer.readUInt32BE(at + 4);
  if (version !== 2 && version !== 3) throw new KvError("BAD_PACK", `pack version ${version} is not known`);
  const declared = buffer.readUInt32BE(at + 8);
  if (declared > limits.packObjects) {
    throw new KvError("LIMIT_EXCEEDED", `the pack has ${declared} objects, the limit is ${limits.packObjects}`);
  }
  input.pass(HEADER_BYTES);
  return declared;
}

async function readTrailer(input: PackInput, list: EntryList): Promise<Buffer> {
  const { rawSize } = list.format;
  const checksum = input.digest();
  await input.need(rawSize, "its trailer");
  if (checksum.compare(input.buffer, input.at, input.at + rawSize) !== 0) {
    throw new KvError(
      "BAD_PACK",
      "the pack's checksum is wrong: it is damaged, or holds more objects than it declares",
    );
  }
  input.at += rawSize;
  return checksum;
}

/** The header of the entry at the start of the window. */
async function nextHeader(
  input: PackInput,
  list: EntryList,
  declared: number,
  limits: PackLimits,
): Promise<EntryHeader> {
  for (;;) {
    const header = inEntry(list, () => decodeEntryHeader(list.format, input.buffer, input.at, input.end));
    if (header !== undefined) {
      if (header.size <= limits.objectBytes) return header;
      const size = `${header.size} bytes, the limit is ${limits.objectBytes}`;
      throw new KvError("LIMIT_EXCEEDED", `object ${list.count + 1} of the pack has ${size}`);
    }
    if (!(await input.more()))
      throw new KvError("BAD_PACK", `the pack ends after ${list.count} of ${declared} objects`);
  }
}

/** Inflates the entry at the start of the window into `output`; returns the length of its stream. */
async function inflateWhole(input: PackInput, list: EntryList, header: EntryHeader, output: Buffer): Promise<number> {
  for (;;) {
    const start = input.at + header.length;
    const tried = input.end - start;
    const consumed = inEntry(list, () => inflateInto(input.buffer, start, input.end, output, header.size));
    if (consumed !== TRUNCATED) return consumed;
    if (tried > maxStream(header.size)) throw endless(list);
    // Tried again only on twice as much, so that small pieces cannot make this slow; at the end of the input on what is there.
    let hasMore = true;
    do {
      hasMore = await input.more();
      if (!hasMore && input.available - header.length === tried) throw endsWithin(list);
    } while (hasMore && input.available - header.length < Math.min(tried * 2, maxStream(header.size) + 1));
  }
}

/** Reads an entry in pieces: only a part of it is ever in memory. */
async function streamEntry(input: PackInput, list: EntryList, header: EntryHeader): Promise<void> {
  const kind = entryKind(header.type);
  const hasher = newHasher(list.format).update(`${kind} ${header.size}\0`);
  const inflater = new StreamInflater(header.size, (data) => {
    if (kind !== undefined) hasher.update(data);
  });
  const entry = addEntry(input, list, header, 0);
  let crc = Bun.hash.crc32(input.buffer.subarray(input.at, input.at + header.length));
  let length = 0;
  input.pass(header.length);
  for (;;) {
    const consumed = inEntry(list, () => inflater.push(input.buffer, input.at, input.end));
    crc = Bun.hash.crc32(input.buffer.subarray(input.at, input.at + consumed), crc);
    length += consumed;
    input.pass(consumed);
    if (inflater.done) break;
    if (length > maxStream(header.size)) throw endless(list);
    await moreOfEntry(input, list);
  }
  list.crcs[entry] = crc;
  if (kind !== undefined) list.setId(entry, hasher.digest() as Buffer);
}

/** Adds the entry at the start of the window, a delta with its base; returns its number. */
function addEntry(input: PackInput, list: EntryList, header: EntryHeader, crc: number): number {
  const { rawSize } = list.format;
  const offset = input.position;
  const base = header.type === ENTRY.ofsDelta ? list.entryAt(offset - header.baseDistance) : -1;
  if (header.type === ENTRY.ofsDelta && base < 0) {
    throw new KvError("BAD_PACK", `object ${list.count + 1} of the pack is a delta of something that is no object`);
  }
  const entry = list.add(header.type, offset, crc);
  if (header.type === ENTRY.ofsDelta) list.addOfsDelta(entry, base);
  // Not header.baseAt: the window may have moved since the header was decoded.
  else if (header.type === ENTRY.refDelta) list.addRefDelta(entry, input.buffer, input.at + header.length - rawSize);
  return entry;
}

async function moreOfEntry(input: PackInput, list: EntryList): Promise<void> {
  if (!(await input.more())) throw endsWithin(list);
}

function endsWithin(list: EntryList): KvError {
  return new KvError("BAD_PACK", `the pack ends within object ${list.count + 1}`);
}

function endless(list: EntryList): KvError {
  return new KvError("BAD_PACK", `object ${list.count + 1} of the pack: its compressed data does not end`);
}

/** Runs a decoder and turns its BAD_OBJECT into a BAD_PACK that names the object. */
function inEntry<T>(list: EntryList, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof KvError) || error.code !== "BAD_OBJECT") throw error;
    throw new KvError("BAD_PACK", `object ${list.count + 1} of the pack: ${error.message}`, { cause: error });
  }
}
