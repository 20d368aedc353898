/**
 * Puts a finished pack and its index into a folder under their final names, `pack-<checksum>.pack` and `.idx`: the index
 * last, because a pack exists for git from the moment its index does.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { atOnce } from "../../time-slice.ts";
import { newHasher, type ObjectFormat, type ObjectKind, type Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { EntryWriter } from "./entry-writer.ts";
import { withRoom } from "./grow.ts";
import { type FinishedPack, packHeader } from "./pack-builder.ts";
import { PACK_HEADER_BYTES } from "./pack-file.ts";
import { type IndexedObjects, writePackIndex } from "./pack-index-writer.ts";
import { type ByteFile, createTemp, fsyncDir, PACK_TEMP, type PackTemp } from "./temp-file.ts";
import { BaseCopier, type BaseSink, type BaseSource, findEnds, placesOf } from "./thin-bases.ts";

const REHASH_BYTES = 256 * 1024;

/** The two files of a pack. */
export interface PackPaths {
  readonly packPath: string;
  readonly idxPath: string;
}

/** A pack and its index, whole. */
export interface SmallPack {
  /** Of both files, without what follows the dot. */
  readonly name: string;
  readonly pack: Uint8Array;
  readonly idx: Uint8Array;
}

export interface StorePackOptions {
  /** Both files are on disk, and so are their names, when this ends. */
  readonly fsync: boolean;
  /** Told the pack's path before the pack is there. */
  readonly onName?: (packPath: string) => void;
}

/** What the files of the pack with that checksum are called, without what follows the dot. */
export function packName(checksum: Buffer): string {
  return `pack-${checksum.toString("hex")}`;
}

/** Where those files are in the folder `dir`. */
export function packPaths(dir: string, checksum: Buffer): PackPaths {
  const name = path.join(dir, packName(checksum));
  return { packPath: `${name}.pack`, idxPath: `${name}.idx` };
}

/**
 * Indexes the complete pack in `temp` and gives both their names in `dir`. `fsync`: both are on disk, and so are their
 * names, when this ends. `unique`: throws BAD_PACK where an object comes twice. On an error nothing is left. Yields now and then
 * so that others may run.
 */
export function* installPack(
  dir: string,
  format: ObjectFormat,
  temp: PackTemp,
  objects: IndexedObjects,
  checksum: Buffer,
  options: StorePackOptions & { readonly unique?: boolean },
): Generator<void, PackPaths> {
  const paths = packPaths(dir, checksum);
  // The same pack may be there already: then it is replaced by itself, and stays whatever happens.
  const isNew = !fs.existsSync(paths.packPath);
  const index = createTemp(dir, `${PACK_TEMP}idx-`);
  try {
    yield* writePackIndex(index, format, objects, checksum, { unique: options.unique ?? false });
    options.onName?.(paths.packPath);
    temp.commit(paths.packPath, options);
    index.commit(paths.idxPath, options);
  } catch (error) {
    if (isNew) fs.rmSync(paths.packPath, { force: true });
    throw error;
  } finally {
    index.discard();
    temp.discard();
  }
  if (options.fsync) fsyncDir(dir);
  return paths;
}

/**
 * Stores a pack from a {@link FinishedPack} in `dir`. A thin one is completed with its missing bases from `source`. Returns
 * undefined for a pack without objects, which is not stored. Throws BAD_OBJECT where a base is missing.
 */
export function storeFinishedPack(
  dir: string,
  pack: FinishedPack,
  source: BaseSource,
  options: StorePackOptions,
): PackPaths | undefined {
  return atOnce(storePackInSteps(dir, pack, source, options));
}

/** As {@link storeFinishedPack}, yielding now and then so that others may run. */
export function* storePackInSteps(
  dir: string,
  pack: FinishedPack,
  source: BaseSource,
  options: StorePackOptions,
): Generator<void, PackPaths | undefined> {
  if (pack.objectCount === 0) return undefined;
  const temp = createTemp(dir, `${PACK_TEMP}pack-`);
  try {
    const stored = yield* pack.thin ? writeCompleted(temp, pack, source) : writeWhole(temp, pack);
    return yield* installPack(dir, pack.format, temp, stored.objects, stored.checksum, options);
  } finally {
    temp.discard();
  }
}

interface Stored {
  readonly objects: IndexedObjects;
  readonly checksum: Buffer;
}

function* writeWhole(file: ByteFile, pack: FinishedPack): Generator<void, Stored> {
  let at = 0;
  for (const chunk of pack.chunks()) {
    file.write(chunk, at);
    at += chunk.length;
    yield;
  }
  return { objects: pack.objects, checksum: Buffer.from(pack.checksum, "hex") };
}

/**
 * Writes the pack with the bases it lacks, those first: only when they are there is it known how many entries the header declares, and a
 * large pack is to be hashed once, while it is written.
 */
function* writeCompleted(file: ByteFile, pack: FinishedPack, source: BaseSource): Generator<void, Stored> {
  const { format, missingBases } = pack;
  const places = placesOf(source, missingBases);
  const found = new Set(places.map(({ oid }) => oid));
  const missing = missingBases.find((oid) => !found.has(oid));
  if (missing !== undefined) throw new KvError("BAD_OBJECT", `${missing}, the base of a delta, is missing`);
  findEnds(places);
  const bases = new AddedBases(new EntryWriter(file, PACK_HEADER_BYTES), pack);
  const copier = new BaseCopier(source, bases);
  for (const place of places) {
    copier.add(place);
    yield;
  }
  const start = bases.finish();
  const hasher = newHasher(format);
  yield* hashPack(hasher, file, pack.objectCount + bases.count, start);
  const entries = new EntryWriter(file, start, hasher);
  for (const chunk of pack.entries()) {
    entries.write(chunk);
    yield;
  }
  entries.flush();
  const checksum = hasher.digest() as Buffer;
  file.write(checksum, entries.position);
  return { objects: bases.and(pack.objects, start - PACK_HEADER_BYTES), checksum };
}

/**
 * Corrects the number of entries in the header of the pack in `file`, whose entries end at `end`; returns its new checksum.
 * Yields now and then.
 */
export function* rehashPack(file: ByteFile, format: ObjectFormat, count: number, end: number): Generator<void, Buffer> {
  const hasher = newHasher(format);
  yield* hashPack(hasher, file, count, end);
  return hasher.digest() as Buffer;
}

/** Writes the header of the pack in `file` and hashes it and the entries up to `end`. */
function* hashPack(hasher: Bun.CryptoHasher, file: ByteFile, count: number, end: number): Generator<void> {
  file.write(packHeader(count), 0);
  const buffer = Buffer.allocUnsafeSlow(Math.min(REHASH_BYTES, end));
  for (let at = 0; at < end; ) {
    const got = file.read(buffer, Math.min(buffer.length, end - at), at);
    if (got === 0) throw new KvError("IO", "the temporary pack was cut short");
    hasher.update(buffer.subarray(0, got));
    at += got;
    yield;
  }
}

/** The bases that a pack lacks, on their way to a file. */
class AddedBases implements BaseSink {
  readonly format: ObjectFormat;
  readonly #writer: EntryWriter;
  readonly #pack: IndexedObjects;
  #held: OidTable | undefined;
  readonly #ids: Buffer[] = [];
  #offsets = new Float64Array(64);
  #crcs = new Uint32Array(64);

  constructor(writer: EntryWriter, pack: FinishedPack) {
    this.format = pack.format;
    this.#writer = writer;
    this.#pack = pack.objects;
  }

  get count(): number {
    return this.#ids.length;
  }

  get position(): number {
    return this.#writer.position;
  }

  has(oid: Oid): boolean {
    this.#held ??= tableOf(this.format, this.#pack);
    return this.#held.has(oid);
  }

  append(oid: Oid, _kind: ObjectKind, header: Buffer, stream: Buffer): number {
    const number = this.#ids.push(Buffer.from(oid, "hex")) - 1;
    this.#offsets = withRoom(this.#offsets, number);
    this.#crcs = withRoom(this.#crcs, number);
    this.#offsets[number] = this.position;
    this.#crcs[number] = Bun.hash.crc32(stream, Bun.hash.crc32(header));
    this.#writer.write(header);
    this.#writer.write(stream);
    return number;
  }

  /** Writes what is left; returns where they end. */
  finish(): number {
    this.#writer.flush();
    return this.position;
  }

  /** They, and behind them `objects`, whose entries begin `shift` bytes later than they say. */
  and({ count, ids, offsets, crcs }: IndexedObjects, shift: number): IndexedObjects {
    const first = this.count;
    const allOffsets = new Float64Array(first + count);
    allOffsets.set(this.#offsets.subarray(0, first));
    for (let i = 0; i < count; i++) allOffsets[first + i] = offsets[i]! + shift;
    const allCrcs = new Uint32Array(first + count);
    allCrcs.set(this.#crcs.subarray(0, first));
    allCrcs.set(crcs.subarray(0, count), first);
    const allIds = Buffer.concat([...this.#ids, ids.subarray(0, count * this.format.rawSize)]);
    return { count: first + count, ids: allIds, offsets: allOffsets, crcs: allCrcs };
  }
}

function tableOf(format: ObjectFormat, { count, ids }: IndexedObjects): OidTable {
  const table = new OidTable(format, count);
  for (let i = 0; i < count; i++) table.addRaw(ids, i * format.rawSize);
  return table;
}
