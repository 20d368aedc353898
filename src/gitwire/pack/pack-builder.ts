/**
 * Builds a pack object by object (git: gitformat-pack), to be sent or stored. Objects are written once each. Up to 8 MiB
 * stay in memory, more goes to a temporary file: a million small objects take under 100 MB.
 */

import * as os from "node:os";
import { asBuffer } from "../../bytes.ts";
import { assert } from "../../errors.ts";
import type { ObjectSink } from "../object/object.ts";
import { hashObjectInto, newHasher, type ObjectFormat, type ObjectKind, type Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { withRoom } from "./grow.ts";
import { ENTRY, type EntryType, encodeEntryHeader, kindType, MAX_ENTRY_HEADER } from "./pack-entry.ts";
import type { IndexedObjects } from "./pack-index-writer.ts";
import { Spill } from "./spill.ts";
import { deflateDelta, deflateParts, STORED_DELTA, STORED_FRAME, STORED_MAX, storeBlock } from "./zlib.ts";

const HEADER_BYTES = 12;
const DEFAULT_MEMORY = 8 * 1024 * 1024;
/**
 * Deltas on deltas written here: as git's pack.depth, and of small objects fewer. Reading one costs the same for each delta, and what these
 * save is not much: the commits and upper trees of a ledger take 6 % more room and are read in a third of the time.
 */
const MAX_DEPTH = 50;
const SMALL_BYTES = 1024;
const SMALL_DEPTH = 16;
/**
 * A delta of what is outside makes the pack thin, and both who sends and who receives a thin pack hash all of it once more when it is
 * completed. Objects that are together at most this part of the pack are written whole instead.
 */
const WHOLE_SHARE = 1024;

export interface PackBuilderOptions {
  /** Folder for the temporary file, best `objects/pack` of a repository. The system's by default. */
  readonly dir?: string;
  /** Bytes of entries held in memory. */
  readonly memory?: number;
  /** Whether the receiver takes ofs-deltas (all do since git 1.4.4); else deltas inside the pack name their base. */
  readonly ofsDelta?: boolean;
  /** As {@link ObjectSink.copiesBases}. */
  readonly copiesBases?: boolean;
}

/** A point to go back to with {@link PackBuilder.rewind}. */
export interface PackMark {
  readonly size: number;
  readonly length: number;
  readonly bases: number;
}

/** Entries that another builder made: of its objects, in their order. */
export interface PackBlock {
  /** Where each begins in `entries`. */
  readonly objects: IndexedObjects;
  /** In memory of its own, which can go to another thread. */
  readonly entries: Uint8Array<ArrayBuffer>;
  /** Objects outside that deltas of the block are made from. */
  readonly bases: readonly Oid[];
}

/** A complete pack. It is read from its builder: valid until that one is written to, rewound or disposed of. */
export interface FinishedPack {
  readonly format: ObjectFormat;
  readonly objectCount: number;
  /** Bytes of the whole pack. */
  readonly byteLength: number;
  /** Whether it has deltas against objects that it does not hold. */
  readonly thin: boolean;
  /** Those objects. */
  readonly missingBases: readonly Oid[];
  /** Hex checksum: the pack's trailer. */
  readonly checksum: string;
  /** What an index of it says. */
  readonly objects: IndexedObjects;
  /** The pack's bytes; may be read more than once. */
  chunks(): Iterable<Buffer>;
  /** The entries alone, without header and trailer. */
  entries(): Iterable<Buffer>;
}

export class PackBuilder implements ObjectSink {
  readonly format: ObjectFormat;
  readonly copiesBases: boolean;
  readonly #ofsDelta: boolean;
  readonly #entries: Spill;
  #table: OidTable;
  #offsets = new Float64Array(64);
  #crcs = new Uint32Array(64);
  #depths = new Uint8Array(64);
  /** Raw id of the object under way. */
  readonly #id = Buffer.alloc(64);
  /** The base that was found here last, and its number. */
  #lastBase: Oid | undefined;
  #lastNumber = -1;
  /** Bytes of objects that were written whole so that the pack need not be thin. */
  #whole = 0;
  /** Bases that were not here when a delta against them was written, in order of arrival. */
  #bases = new Set<Oid>();
  /** Grows with every change, so that a finished pack notices that it is stale. */
  #changes = 0;

  constructor(format: ObjectFormat, options: PackBuilderOptions = {}) {
    this.format = format;
    this.copiesBases = options.copiesBases ?? false;
    this.#ofsDelta = options.ofsDelta ?? true;
    this.#entries = new Spill(options.dir ?? os.tmpdir(), options.memory ?? DEFAULT_MEMORY);
    this.#table = new OidTable(format);
  }

  /** Objects written. */
  get size(): number {
    return this.#table.size;
  }

  /** Bytes of the pack if it were finished now. */
  get bytes(): number {
    return HEADER_BYTES + this.#entries.length + this.format.rawSize;
  }

  /** Whether the object was written here. */
  has(oid: Oid): boolean {
    return this.#table.has(oid);
  }

  write(kind: ObjectKind, data: Uint8Array): Oid {
    if (this.#add(kind, data)) this.#append(kindType(kind), data, 0, undefined, 0);
    return this.#id.hexSlice(0, this.format.rawSize);
  }

  writeDelta(kind: ObjectKind, data: Uint8Array, base: Oid, delta: Uint8Array): Oid {
    const isNew = this.#add(kind, data);
    const oid = this.#id.hexSlice(0, this.format.rawSize);
    assert(oid !== base, "an object cannot be its own base");
    if (!isNew) return oid;
    const local = this.#numberOf(base);
    const depth = local < 0 ? 1 : this.#depths[local]! + 1;
    // What others here are deltas of is written whole: as a delta it could come to lie below itself.
    const tooDeep = depth > (data.length > SMALL_BYTES ? MAX_DEPTH : SMALL_DEPTH);
    if (tooDeep || this.#bases.has(oid) || (local < 0 && this.#isBetterWhole(data.length))) {
      this.#append(kindType(kind), data, 0, undefined, 0);
    } else if (local >= 0 && this.#ofsDelta) {
      this.#append(ENTRY.ofsDelta, delta, this.#position - this.#offsets[local]!, undefined, depth);
    } else {
      if (local < 0) this.#bases.add(base);
      this.#append(ENTRY.refDelta, delta, 0, base, depth);
    }
    return oid;
  }

  /** Names the object; whether it is new. */
  #add(kind: ObjectKind, data: Uint8Array): boolean {
    hashObjectInto(this.format, kind, data, this.#id);
    const before = this.#table.size;
    this.#table.addRaw(this.#id, 0);
    return this.#table.size > before;
  }

  /** Number of the object `base`, or -1 where it is not here. Most deltas of a bulk write have one base. */
  #numberOf(base: Oid): number {
    if (base === this.#lastBase) return this.#lastNumber;
    const number = this.#table.indexOf(base);
    if (number >= 0) [this.#lastBase, this.#lastNumber] = [base, number];
    return number;
  }

  /** Whether an object of `size` bytes that is a delta of what is outside is not worth a thin pack; it counts as written. */
  #isBetterWhole(size: number): boolean {
    if (this.#bases.size > 0 || (this.#whole + size) * WHOLE_SHARE > this.#entries.length) return false;
    this.#whole += size;
    return true;
  }

  /** The state as it is, for {@link rewind}. */
  mark(): PackMark {
    return { size: this.#table.size, length: this.#entries.length, bases: this.#bases.size };
  }

  /** Drops everything written since `mark` was taken; costs time in proportion to what is kept. */
  rewind(mark: PackMark): void {
    assert(mark.size <= this.#table.size && mark.length <= this.#entries.length, "a mark is from before what it drops");
    this.#changes++;
    if (mark.size === this.#table.size) return;
    this.#lastBase = undefined;
    const ids = this.#table.rawIds();
    this.#table = new OidTable(this.format, Math.max(64, mark.size));
    for (let i = 0; i < mark.size; i++) this.#table.addRaw(ids, i * this.format.rawSize);
    this.#entries.truncate(mark.length);
    this.#bases = new Set([...this.#bases].slice(0, mark.bases));
    this.#whole = 0;
  }

  /** A copy of what was written here, for another builder to {@link append}. */
  block(): PackBlock {
    const { objects, missingBases: bases } = this.finish();
    const { count, ids, crcs } = objects;
    const offsets = objects.offsets.slice(0, count).map((offset) => offset - HEADER_BYTES);
    const entries = new Uint8Array(this.#entries.length);
    let at = 0;
    for (const chunk of this.#entries.read()) {
      entries.set(chunk, at);
      at += chunk.length;
    }
    return { objects: { count, ids: Buffer.from(ids), offsets, crcs: crcs.slice(0, count) }, entries, bases };
  }

  /**
   * Takes the objects of `block` as they are, and tells whether it did: not where one of them is here already, or is the base of a delta
   * that was written here.
   */
  append({ objects: { count, ids, offsets, crcs }, entries, bases }: PackBlock): boolean {
    const { rawSize } = this.format;
    const raw = asBuffer(ids);
    const outside = new OidTable(this.format, this.#bases.size);
    for (const base of this.#bases) outside.add(base);
    const mark = this.mark();
    this.#changes++;
    const first = this.#table.size;
    for (let i = 0; i < count; i++) {
      const isNew = this.#table.addRaw(raw, i * rawSize) === first + i;
      if (isNew && outside.indexOfRaw(raw, i * rawSize) < 0) continue;
      this.rewind(mark);
      return false;
    }
    this.#offsets = withRoom(this.#offsets, first + count);
    this.#crcs = withRoom(this.#crcs, first + count);
    this.#depths = withRoom(this.#depths, first + count);
    for (let i = 0; i < count; i++) {
      this.#offsets[first + i] = this.#position + offsets[i]!;
      this.#crcs[first + i] = crcs[i]!;
    }
    // How deep they lie is not said: whatever is a delta of one is written whole.
    this.#depths.fill(MAX_DEPTH, first, first + count);
    this.#entries.append(entries);
    for (const base of bases) this.#bases.add(base);
    return true;
  }

  /** The pack as written so far; more may be written afterwards, which makes the result stale. */
  finish(): FinishedPack {
    const objectCount = this.#table.size;
    const missingBases = [...this.#bases].filter((base) => !this.#table.has(base));
    const header = packHeader(objectCount);
    const changes = this.#changes;
    const entries = (): Iterable<Buffer> => {
      assert(changes === this.#changes, "a finished pack is read before its builder changes");
      return this.#entries.read();
    };
    // Known after the first pass over the entries, whatever that is for: the pack may have gigabytes.
    let trailer: Buffer | undefined;
    const { format } = this;
    const chunks = function* (): Generator<Buffer> {
      const hasher = trailer === undefined ? newHasher(format).update(header) : undefined;
      yield header;
      for (const chunk of entries()) {
        hasher?.update(chunk);
        yield chunk;
      }
      trailer ??= hasher!.digest() as Buffer;
      yield trailer;
    };
    return {
      format,
      objectCount,
      byteLength: this.bytes,
      thin: missingBases.length > 0,
      missingBases,
      get checksum() {
        if (trailer === undefined) for (const _ of chunks());
        return trailer!.toString("hex");
      },
      objects: { count: objectCount, ids: this.#table.rawIds(), offsets: this.#offsets, crcs: this.#crcs },
      entries,
      chunks,
    };
  }

  /** Frees memory and the temporary file. */
  dispose(): void {
    this.#changes++;
    this.#entries.dispose();
    this.#lastBase = undefined;
    this.#table = new OidTable(this.format);
    this.#bases.clear();
  }

  /** Offset of the next entry. */
  get #position(): number {
    return HEADER_BYTES + this.#entries.length;
  }

  #append(type: EntryType, data: Uint8Array, distance: number, base: Oid | undefined, depth: number): void {
    this.#changes++;
    const index = this.#table.size - 1;
    this.#offsets = withRoom(this.#offsets, index);
    this.#crcs = withRoom(this.#crcs, index);
    this.#depths = withRoom(this.#depths, index);
    this.#offsets[index] = this.#position;
    this.#depths[index] = depth;
    const end = encodeEntryHeader(head, this.format, type, data.length, distance, base);
    const isDelta = type === ENTRY.ofsDelta || type === ENTRY.refDelta;
    if (data.length <= (isDelta ? STORED_DELTA : STORED_MAX)) {
      // Most of a bulk write: put together in one place, without a view of each part.
      const length = storeBlock(data, head, end);
      heads[length] ??= head.subarray(0, length);
      const entry = heads[length];
      this.#crcs[index] = Bun.hash.crc32(entry);
      this.#entries.appendShort(entry);
      return;
    }
    const header = head.subarray(0, end);
    const stream = isDelta ? [deflateDelta(data)] : deflateParts(data);
    this.#crcs[index] = stream.reduce((crc, part) => Bun.hash.crc32(part, crc), Bun.hash.crc32(header));
    this.#entries.append(header, ...stream);
  }
}

const head = Buffer.allocUnsafeSlow(MAX_ENTRY_HEADER + Math.max(STORED_DELTA, STORED_MAX) + STORED_FRAME);
/** Its first bytes, by how many: a view of them for each entry is garbage. */
const heads: Buffer[] = [];

/** The twelve bytes a pack of `count` objects starts with. */
export function packHeader(count: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.latin1Write("PACK", 0);
  header.writeUInt32BE(2, 4);
  header.writeUInt32BE(count, 8);
  return header;
}
