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
import { ObjectBuffer } from "../object/object-buffer.ts";
import { newHasher } from "../object/oid.ts";
import { inEntry } from "./delta-limits.ts";
import type { EarlyDeltas } from "./early-deltas.ts";
import type { EntryList } from "./entry-list.ts";
import { decodeEntryHeader, ENTRY, type EntryHeader, entryKind } from "./pack-entry.ts";
import type { PackInput } from "./pack-input.ts";
import { inflateInto, maxStream, StreamInflater, TRUNCATED } from "./zlib.ts";

/** Objects above this size pass through in pieces. */
const STREAMED = 1024 * 1024;
/** Room for an entry's data: at first, and once one has more than that. */
const FIRST_OUTPUT = 4 * 1024;
const OUTPUT = 64 * 1024;
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
 * Reads the whole pack from `input` into `list`, resolving the deltas that `early` can; returns its raw checksum, which has been
 * verified. Throws BAD_PACK on damage, LIMIT_EXCEEDED.
 */
export async function scanPack(
  input: PackInput,
  list: EntryList,
  limits: PackLimits,
  early: EarlyDeltas,
): Promise<Buffer> {
  const declared = await readHeader(input, limits);
  const scan: Scan = { input, list, limits, early, declared, object: new ObjectBuffer(list.format, FIRST_OUTPUT) };
  const slice = new TimeSlice();
  while (list.count < declared) {
    const next = passWholeEntries(scan, slice);
    if (next === "paused") await slice.pause();
    else if (next !== undefined && isStreamed(next)) await streamEntry(input, list, next);
    else if (next !== undefined) passEntry(scan, next, await inflateRest(scan, next));
    else if (list.count < declared && !(await input.more()))
      throw new KvError("BAD_PACK", `the pack ends after ${list.count} of ${declared} objects`);
  }
  return readTrailer(input, list);
}

interface Scan {
  readonly input: PackInput;
  readonly list: EntryList;
  readonly limits: PackLimits;
  readonly early: EarlyDeltas;
  /** Entries the pack says it has. */
  readonly declared: number;
  /** Takes the data of each entry in turn. */
  readonly object: ObjectBuffer;
}

function isStreamed({ size }: EntryHeader): boolean {
  return size > STREAMED && StreamInflater.supported;
}

/**
 * Passes the entries that are whole in the window, without a wait between them. Returns the header of the one that is not, or is too large to
 * be held; undefined where not even that is there, or nothing is left; "paused" where the time slice is over before.
 */
function passWholeEntries(scan: Scan, slice: TimeSlice): EntryHeader | "paused" | undefined {
  const { input, list, limits, declared } = scan;
  return inEntry(list.count, () => {
    while (list.count < declared) {
      const header = decodeEntryHeader(list.format, input.buffer, input.at, input.end);
      if (header === undefined) return undefined;
      if (header.size > limits.objectBytes) {
        const size = `${header.size} bytes, the limit is ${limits.objectBytes}`;
        throw new KvError("LIMIT_EXCEEDED", `object ${list.count + 1} of the pack has ${size}`);
      }
      const length = isStreamed(header) ? TRUNCATED : tryInflate(scan, header);
      if (length === TRUNCATED) return header;
      passEntry(scan, header, length);
      if (slice.isOver()) return "paused";
    }
    return undefined;
  });
}

/** Inflates the entry at the start of the window as far as that holds it; returns the length of its stream, or {@link TRUNCATED}. */
function tryInflate({ input, object }: Scan, header: EntryHeader): number {
  if (header.size >= object.data.length) object.hold(Math.max(OUTPUT, header.size + 1));
  return inflateInto(input.buffer, input.at + header.length, input.end, object.data, header.size);
}

/** Notes the inflated entry at the start of the window, whose stream has `length` bytes, and passes it. */
function passEntry({ input, list, early, object }: Scan, header: EntryHeader, length: number): void {
  const { size } = header;
  const base = baseEntry(input, list, header);
  const end = input.at + header.length + length;
  const entry = list.add(header.type, input.position, Bun.hash.crc32(input.buffer.subarray(input.at, end)));
  const kind = entryKind(header.type);
  if (kind !== undefined) {
    const id = object.id(kind, size);
    list.setId(entry, id);
    if (list.seen?.wants(kind, size) === true) list.seen.add(id, kind, object.data.subarray(0, size));
    early.note(entry, object.data, size);
  } else if (base < 0 || !early.resolve(entry, base, object.data.subarray(0, size))) {
    addDelta(input, list, header, entry, base);
    list.kept.add(list.deltaCount - 1, object.data, size);
  }
  input.pass(header.length + length);
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

/** Inflates the entry at the start of the window, which did not hold it whole, when it has arrived; returns the length of its stream. */
async function inflateRest(scan: Scan, header: EntryHeader): Promise<number> {
  const { input, list } = scan;
  for (;;) {
    const tried = input.available - header.length;
    if (tried > maxStream(header.size)) throw endless(list);
    // Tried again only on twice as much, so that small pieces cannot make this slow; at the end of the input on what is there.
    let hasMore = true;
    do {
      hasMore = await input.more();
      if (!hasMore && input.available - header.length === tried) throw endsWithin(list);
    } while (hasMore && input.available - header.length < Math.min(tried * 2, maxStream(header.size) + 1));
    const length = inEntry(list.count, () => tryInflate(scan, header));
    if (length !== TRUNCATED) return length;
  }
}

/** Reads an entry in pieces: only a part of it is ever in memory. */
async function streamEntry(input: PackInput, list: EntryList, header: EntryHeader): Promise<void> {
  const kind = entryKind(header.type);
  const hasher = newHasher(list.format).update(`${kind} ${header.size}\0`);
  const inflater = new StreamInflater(header.size, (data) => {
    if (kind !== undefined) hasher.update(data);
  });
  const base = baseEntry(input, list, header);
  const entry = list.add(header.type, input.position, 0);
  if (kind === undefined) addDelta(input, list, header, entry, base);
  let crc = Bun.hash.crc32(input.buffer.subarray(input.at, input.at + header.length));
  let length = 0;
  input.pass(header.length);
  for (;;) {
    const consumed = inEntry(list.count, () => inflater.push(input.buffer, input.at, input.end));
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

/** Number of the entry that the ofs-delta at the start of the window is made from; -1 for any other entry. */
function baseEntry(input: PackInput, list: EntryList, header: EntryHeader): number {
  if (header.type !== ENTRY.ofsDelta) return -1;
  const base = list.entryAt(input.position - header.baseDistance);
  if (base < 0)
    throw new KvError("BAD_PACK", `object ${list.count + 1} of the pack is a delta of something that is no object`);
  return base;
}

/** Notes what `entry`, a delta at the start of the window, waits for. */
function addDelta(input: PackInput, list: EntryList, header: EntryHeader, entry: number, base: number): void {
  if (base >= 0) list.addOfsDelta(entry, base);
  // Not header.baseAt: the window may have moved since the header was decoded.
  else list.addRefDelta(entry, input.buffer, input.at + header.length - list.format.rawSize);
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
