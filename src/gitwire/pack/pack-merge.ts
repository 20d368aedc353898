/**
 * Combines packs into one. Entries are copied as they are stored, their checksums verified; a small delta may become one of another base, so that
 * chains are short (chain-writer.ts). An object that is in several packs comes once, as the oldest has it, a large one whole where one has it so. Deltas
 * that would lie too deep, or, taken from different packs, in a circle, are made whole.
 *
 * Memory: about 75 bytes an object, and one entry, or a piece of it, at a time.
 */

import { KvError } from "../../errors.ts";
import { BufferMeter } from "../../memory.ts";
import { inSlices, TimeSlice } from "../../time-slice.ts";
import { newHasher, type ObjectFormat } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { ChainWriter, LARGE_OBJECT } from "./chain-writer.ts";
import { EntryWriter } from "./entry-writer.ts";
import { withRoom } from "./grow.ts";
import { ObjectCache } from "./object-cache.ts";
import { packHeader } from "./pack-builder.ts";
import { ENTRY, type EntryHeader, type EntryPlace, kindType } from "./pack-entry.ts";
import { installPack, type PackPaths } from "./pack-install.ts";
import { Pack } from "./pack-reader.ts";
import { PackSweep } from "./pack-sweep.ts";
import { createTemp } from "./temp-file.ts";
import { deflate } from "./zlib.ts";

/** Entries from this size on are copied in pieces of it. */
const PIECE_BYTES = 1024 * 1024;
/** Bytes of objects kept for deltas that are made whole, of all packs together. */
const CACHE_BYTES = 4 * 1024 * 1024;
/** Packs open at a time: two files and a window each. */
const OPEN_PACKS = 16;

export interface MergeOptions {
  /** Folder of the new pack. */
  readonly dir: string;
  readonly format: ObjectFormat;
  /** Stops the work; nothing is left then. */
  readonly signal?: AbortSignal | undefined;
  /** Told that the work goes on, at the end of each slice. */
  readonly onStep?: (() => void) | undefined;
}

/** A pack that holds what others held. */
export interface MergedPack extends PackPaths {
  readonly objectCount: number;
  /** Bytes of the pack. */
  readonly byteLength: number;
}

/**
 * Combines the packs at `paths`, at least one, older ones first. The old ones are left as they are, the new one is not
 * synced. Rejects with CORRUPT on damage, ENOENT where one is gone, the signal's reason.
 */
export async function mergePacks(paths: readonly string[], options: MergeOptions): Promise<MergedPack> {
  const merge = new PackMerge(paths, options);
  try {
    await merge.read();
    return await merge.write();
  } finally {
    merge.close();
  }
}

class PackMerge {
  readonly #format: ObjectFormat;
  readonly #options: MergeOptions;
  readonly #packs: readonly Pack[];
  /** Sweeps of the packs that are open, in order of use. */
  readonly #sweeps = new Map<number, PackSweep>();
  readonly #slice = new TimeSlice();
  /** The objects; their numbers here are the indexes of the arrays below. */
  readonly #table: OidTable;
  /** Where the chosen entry is: number of the pack plus one (0: none yet), offset, length and position in the index. */
  #sources = new Uint32Array(64);
  #offsets = new Float64Array(64);
  #lengths = new Uint32Array(64);
  #positions = new Uint32Array(64);
  /** The object the entry is a delta of; -1 for none. */
  #bases = new Int32Array(64);

  constructor(paths: readonly string[], options: MergeOptions) {
    this.#format = options.format;
    this.#options = options;
    const bases = new ObjectCache(CACHE_BYTES);
    this.#packs = paths.map((path) => new Pack(path, options.format, bases));
    this.#table = new OidTable(options.format);
  }

  /** Notes every object of every pack, and which of its entries is to be copied. */
  async read(): Promise<void> {
    for (let source = 0; source < this.#packs.length; source++) {
      const sweep = this.#sweepOf(source);
      const { pack } = sweep;
      const ids = pack.index.loadIds();
      const order = pack.order();
      for (let rank = 0; rank < order.offsets.length; rank++) {
        const offset = order.offsets[rank]!;
        const position = order.positionOf(rank);
        const header = sweep.headerAt(offset);
        const number = this.#add(ids, position * this.#format.rawSize);
        const isDelta = header.type === ENTRY.ofsDelta || header.type === ENTRY.refDelta;
        const isFirst = this.#sources[number] === 0;
        if (isFirst || (!isDelta && this.#bases[number]! >= 0 && header.size >= LARGE_OBJECT)) {
          // First: it may replace the arrays by longer ones.
          const base = isDelta ? this.#baseOf(header, offset, sweep, ids) : -1;
          this.#bases[number] = base;
          this.#sources[number] = source + 1;
          this.#offsets[number] = offset;
          this.#lengths[number] = order.endOf(rank) - offset;
          this.#positions[number] = position;
        }
        if (this.#slice.isOver()) await this.#pause();
      }
      this.#close(source);
    }
  }

  /** Writes the new pack and its index. */
  async write(): Promise<MergedPack> {
    const { dir } = this.#options;
    const count = this.#table.size;
    const temp = createTemp(dir, "tmp_pack_");
    try {
      const hasher = newHasher(this.#format);
      const writer = new EntryWriter(temp, 0, hasher);
      writer.write(packHeader(count));
      const chains = new ChainWriter(this.#format, writer, count);
      const meter = new BufferMeter();
      for (const number of this.#basesFirst()) {
        this.#copy(number, chains);
        meter.add(this.#lengths[number]!);
        if (this.#slice.isOver()) await this.#pause();
      }
      writer.flush();
      const checksum = hasher.digest() as Buffer;
      temp.write(checksum, writer.position);
      const objects = { count, ids: this.#table.rawIds(), offsets: chains.offsets, crcs: chains.crcs };
      const byteLength = writer.position + checksum.length;
      this.#options.signal?.throwIfAborted();
      const paths = await inSlices(installPack(dir, this.#format, temp, objects, checksum, { fsync: false }));
      return { ...paths, objectCount: count, byteLength };
    } finally {
      temp.discard();
    }
  }

  close(): void {
    for (const source of this.#packs.keys()) this.#close(source);
  }

  /** Number of the object with the raw id at `ids[at]`. */
  #add(ids: Buffer, at: number): number {
    const number = this.#table.addRaw(ids, at);
    this.#sources = withRoom(this.#sources, number);
    this.#offsets = withRoom(this.#offsets, number);
    this.#lengths = withRoom(this.#lengths, number);
    this.#positions = withRoom(this.#positions, number);
    this.#bases = withRoom(this.#bases, number);
    return number;
  }

  /** Number of the object that the entry with that header, just read, is a delta of. */
  #baseOf(header: EntryHeader, offset: number, sweep: PackSweep, ids: Buffer): number {
    if (header.type === ENTRY.refDelta) return this.#add(sweep.window, header.baseAt);
    const position = sweep.pack.order().position(offset - header.baseDistance);
    return this.#add(ids, position * this.#format.rawSize);
  }

  /** The numbers of all objects, that of a base before those of its deltas. Takes deltas apart that must not stay. */
  *#basesFirst(): Generator<number> {
    const bases = this.#bases;
    /** By object: 0 not met, 1 on the path that is walked, 2 past it. */
    const states = new Uint8Array(this.#table.size);
    const path: number[] = [];
    for (let first = 0; first < states.length; first++) {
      let next = first;
      while (next >= 0 && states[next] === 0) {
        states[next] = 1;
        path.push(next);
        next = bases[next]!;
      }
      // Back at an object of this very path: its last delta closes a circle.
      if (next >= 0 && states[next] === 1) bases[path.at(-1)!] = -1;
      for (let number = path.pop(); number !== undefined; number = path.pop()) {
        states[number] = 2;
        yield number;
      }
    }
  }

  /** Writes the entry of an object whose base is there already. */
  #copy(number: number, chains: ChainWriter): void {
    const source = this.#sources[number]! - 1;
    if (source < 0) throw new KvError("CORRUPT", `${this.#table.oid(number)}, the base of a delta, is not in its pack`);
    const sweep = this.#sweepOf(source);
    const offset = this.#offsets[number]!;
    const place = { offset, end: offset + this.#lengths[number]!, position: this.#positions[number]! };
    const header = sweep.headerAt(offset);
    const { type, size } = header;
    const isDelta = type === ENTRY.ofsDelta || type === ENTRY.refDelta;
    const base = this.#bases[number]!;
    if (isDelta && (base < 0 || chains.isDeep(base))) this.#make(number, sweep.pack, offset, chains);
    else if (place.end - offset > PIECE_BYTES) {
      chains.begin(number, isDelta ? ENTRY.ofsDelta : type, size, base);
      this.#copyPieces(number, sweep.pack, place, header.length, chains);
    } else if (!isDelta) {
      chains.begin(number, type, size, -1);
      chains.write(number, sweep.streamAt(place));
    } else {
      const stream = sweep.streamAt(place);
      const isWritten = sweep.pack.open().decoding(offset, () => chains.writeDelta(number, base, size, stream));
      if (!isWritten) this.#make(number, sweep.pack, offset, chains);
    }
  }

  /** Copies the stream of a large entry, whose own header has `length` bytes. */
  #copyPieces(
    number: number,
    pack: Pack,
    { offset, end, position }: EntryPlace,
    length: number,
    chains: ChainWriter,
  ): void {
    const file = pack.open();
    const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
    file.readFully(piece, length, offset, offset);
    let crc = Bun.hash.crc32(piece.subarray(0, length));
    for (let at = offset + length; at < end; at += PIECE_BYTES) {
      const bytes = piece.subarray(0, Math.min(PIECE_BYTES, end - at));
      file.readFully(bytes, bytes.length, at, offset);
      crc = Bun.hash.crc32(bytes, crc);
      chains.write(number, bytes);
    }
    const expected = pack.index.crc(position);
    // An old index has no checksums: then the data speaks for itself.
    if (expected === undefined) pack.read(offset);
    else if (expected !== crc) throw file.corrupt(offset, "its checksum is wrong");
  }

  /** Writes the object at `offset` of `pack` whole. */
  #make(number: number, pack: Pack, offset: number, chains: ChainWriter): void {
    const { kind, data } = pack.read(offset);
    chains.begin(number, kindType(kind), data.length, -1);
    chains.write(number, deflate(data));
  }

  /** A way into the pack; those used longest ago are closed where too many are open. */
  #sweepOf(source: number): PackSweep {
    let sweep = this.#sweeps.get(source);
    if (sweep === undefined) {
      sweep = new PackSweep(this.#packs[source]!);
      // The checksum of each entry is asked for: a read for each takes a fifth of the time of copying.
      sweep.pack.index.keep();
    }
    this.#sweeps.delete(source);
    this.#sweeps.set(source, sweep);
    for (const oldest of this.#sweeps.keys()) {
      if (this.#sweeps.size <= OPEN_PACKS) break;
      this.#close(oldest);
    }
    return sweep;
  }

  #close(source: number): void {
    this.#packs[source]!.close();
    this.#sweeps.get(source)?.release();
    this.#sweeps.delete(source);
  }

  async #pause(): Promise<void> {
    await this.#slice.pause();
    this.#options.signal?.throwIfAborted();
    this.#options.onStep?.();
  }
}
