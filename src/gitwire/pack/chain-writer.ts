/**
 * Writes the entries of a pack so that chains of deltas stay short. Where many versions of an object are deltas of each other, a version's
 * base is not the one before but one further back, so that each link of a chain leads at least twice as far back as the link above it. Of versions that
 * are counted from a whole one, number 12, in binary 1100, becomes a delta of number 8 (1000), and that is one of the whole: so many deltas lead to a
 * version as its number has ones (the skip-deltas of Subversion). Deltas that lie in between become one by composing them
 * (delta-compose.ts), without any of the objects.
 *
 * What is stored so stays so when packs are combined again.
 */

import type { ObjectFormat } from "../object/oid.ts";
import { deltaSizes } from "./delta.ts";
import { composeDeltas } from "./delta-compose.ts";
import type { EntryWriter } from "./entry-writer.ts";
import { decodeEntryHeader, ENTRY, type EntryType, encodeEntryHeader, MAX_ENTRY_HEADER } from "./pack-entry.ts";
import { storedAt } from "./stored-stream.ts";
import { deflateBound, deflateDelta, inflateAt, inflateInto } from "./zlib.ts";

/** Deltas in one chain at the most, where they are large (as git's pack.depth). */
const MAX_DEPTH = 50;
/** Larger deltas are not composed: they stay as they are. */
const LARGEST = 4_096;
/**
 * Deltas of objects from this size on, pieces of values, stay too: they have bytes of their own, which composing would repeat. Each takes long to
 * apply, so where such an object is there whole, that is taken.
 */
export const LARGE_OBJECT = 32 * 1024;
/** A composed delta is written up to this part of what it makes, else the object whole: those that follow are deltas of it then. */
const WORTH = 2 / 3;
/**
 * A delta from this part of what it makes on (one in so many) has what is the version's own, like that of a commit: of any version before it would be about as large. Up to so many
 * times the size it may become one of the whole object.
 */
const OWN_SHARE = 3;
const AS_LARGE = 1.25;
/** What is read at first of an entry that was written before: most have less. */
const FIRST_READ = 512;

export class ChainWriter {
  readonly #format: ObjectFormat;
  readonly #writer: EntryWriter;
  /** By number of the object: where its entry is, and its CRC-32. */
  readonly offsets: Float64Array;
  readonly crcs: Uint32Array;
  /** What it is a delta of; -1 for a whole object. */
  readonly #bases: Int32Array;
  /** The whole object below it. */
  readonly #roots: Int32Array;
  /** Which of that one's versions it is; of a whole one, how many there are. */
  readonly #places: Uint32Array;
  readonly #depths: Uint8Array;
  readonly #header = Buffer.allocUnsafeSlow(MAX_ENTRY_HEADER);
  readonly #output = Buffer.allocUnsafeSlow(LARGEST + 1);
  readonly #buffer = Buffer.allocUnsafeSlow(MAX_ENTRY_HEADER + deflateBound(LARGEST));

  constructor(format: ObjectFormat, writer: EntryWriter, objects: number) {
    this.#format = format;
    this.#writer = writer;
    this.offsets = new Float64Array(objects);
    this.crcs = new Uint32Array(objects);
    this.#bases = new Int32Array(objects);
    this.#roots = new Int32Array(objects);
    this.#places = new Uint32Array(objects);
    this.#depths = new Uint8Array(objects);
  }

  /** Writes the header of the entry of object `number`, a delta of object `base` or (-1) whole; its stream is to follow. */
  begin(number: number, type: EntryType, size: number, base: number): void {
    const { position } = this.#writer;
    this.offsets[number] = position;
    this.#bases[number] = base;
    const root = base < 0 ? number : this.#roots[base]!;
    this.#roots[number] = root;
    if (base >= 0) {
      this.#places[number] = ++this.#places[root]!;
      this.#depths[number] = this.#depths[base]! + 1;
    }
    const distance = base < 0 ? 0 : position - this.offsets[base]!;
    const end = encodeEntryHeader(this.#header, this.#format, type, size, distance, undefined);
    const header = this.#header.subarray(0, end);
    this.crcs[number] = Bun.hash.crc32(header);
    this.#writer.write(header);
  }

  /** Writes a part of the stream of object `number`. */
  write(number: number, stream: Buffer): void {
    this.crcs[number] = Bun.hash.crc32(stream, this.crcs[number]!);
    this.#writer.write(stream);
  }

  /** Whether a delta of that object would lie too deep. */
  isDeep(base: number): boolean {
    return this.#depths[base]! >= MAX_DEPTH;
  }

  /**
   * Writes the entry of object `number`, whose `stream` holds a delta of `size` bytes of object `base`, or a delta of another one in its place. False, and
   * nothing is written, where the object had better be whole. Throws BAD_OBJECT where deltas do not fit each other.
   */
  writeDelta(number: number, base: number, size: number, stream: Buffer): boolean {
    if (size <= LARGEST && this.#bases[base]! >= 0) {
      const delta = inflated(stream, size);
      const { targetSize } = deltaSizes(delta);
      const link = targetSize < LARGE_OBJECT ? this.#compose(base, delta, targetSize) : { base, delta };
      if (link.base !== base) {
        if (link.delta.length > Math.max(targetSize * WORTH, size * AS_LARGE)) return false;
        this.begin(number, ENTRY.ofsDelta, link.delta.length, link.base);
        this.write(number, deflateDelta(link.delta));
        return true;
      }
    }
    if (this.isDeep(base)) return false;
    this.begin(number, ENTRY.ofsDelta, size, base);
    this.write(number, stream);
    return true;
  }

  /** How far the next version is from `base`. */
  #gap(base: number): number {
    return this.#places[this.#roots[base]!]! + 1 - this.#placeOf(base);
  }

  /** `delta` of `base` as one of what that is made of, as far down as is good. */
  #compose(base: number, delta: Buffer, targetSize: number): { base: number; delta: Buffer } {
    const isOwn = delta.length * OWN_SHARE >= targetSize;
    let [at, composed] = [base, delta];
    for (let next = this.#bases[at]!; next >= 0; next = this.#bases[at]!) {
      const isStep = this.#placeOf(at) - this.#placeOf(next) < 2 * this.#gap(at);
      const before = isStep || isOwn ? this.#deltaOf(at) : undefined;
      if (before === undefined) break;
      const further = composeDeltas(before, composed);
      if (!isStep && further.length > delta.length * AS_LARGE) break;
      [at, composed] = [next, further];
    }
    return { base: at, delta: composed };
  }

  /** The delta that was written for that object, good until the next call; undefined where it is large. */
  #deltaOf(number: number): Buffer | undefined {
    const bytes = this.#buffer;
    const at = this.offsets[number]!;
    let got = this.#writer.readBack(bytes, FIRST_READ, at);
    const { size, length } = decodeEntryHeader(this.#format, bytes, 0, got)!;
    if (size > LARGEST) return undefined;
    const most = length + deflateBound(size);
    if (got < most) got = this.#writer.readBack(bytes, Math.min(most, bytes.length), at);
    const stored = storedAt(bytes, length, got, size);
    if (stored !== undefined) return stored;
    return inflateInto(bytes, length, got, this.#output, size) < 0 ? undefined : this.#output.subarray(0, size);
  }

  #placeOf(number: number): number {
    return this.#bases[number]! < 0 ? 0 : this.#places[number]!;
  }
}

function inflated(stream: Buffer, size: number): Buffer {
  return storedAt(stream, 0, stream.length, size) ?? inflateAt(stream, 0, size).data;
}
