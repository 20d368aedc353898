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
import { type IndexedObjects, writePackIndex } from "./pack-index-writer.ts";
import { createTemp, fsyncDir, PACK_TEMP, type TempFile, writeAll } from "./temp-file.ts";
import { BaseCopier, type BaseSink, type BaseSource, findEnds, placesOf } from "./thin-bases.ts";

const REHASH_BYTES = 256 * 1024;

/** The two files of a pack. */
export interface PackPaths {
  readonly packPath: string;
  readonly idxPath: string;
}

export interface StorePackOptions {
  /** Both files are on disk, and so are their names, when this ends. */
  readonly fsync: boolean;
  /** Told the pack's path before the pack is there. */
  readonly onName?: (packPath: string) => void;
}

/**
 * Indexes the complete pack in `temp` and gives both their names in `dir`. `fsync`: both are on disk, and so are their
 * names, when this ends. `unique`: throws BAD_PACK where an object comes twice. On an error nothing is left. Yields now and then
 * so that others may run.
 */
export function* installPack(
  dir: string,
  format: ObjectFormat,
  temp: TempFile,
  objects: IndexedObjects,
  checksum: Buffer,
  options: StorePackOptions & { readonly unique?: boolean },
): Generator<void, PackPaths> {
  const name = path.join(dir, `pack-${checksum.toString("hex")}`);
  const paths = { packPath: `${name}.pack`, idxPath: `${name}.idx` };
  // The same pack may be there already: then it is replaced by itself, and stays whatever happens.
  const isNew = !fs.existsSync(paths.packPath);
  const index = createTemp(dir, `${PACK_TEMP}idx-`);
  try {
    yield* writePackIndex(index.fd, format, objects, checksum, { unique: options.unique ?? false });
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
  if (pack.objectCount === 0) return undefined;
  const temp = createTemp(dir, `${PACK_TEMP}pack-`);
  try {
    const stored = pack.thin ? writeCompleted(temp.fd, pack, source) : writeWhole(temp.fd, pack);
    return atOnce(installPack(dir, pack.format, temp, stored.objects, stored.checksum, options));
  } catch (error) {
    temp.discard();
    throw error;
  }
}

interface Stored {
  readonly objects: IndexedObjects;
  readonly checksum: Buffer;
}

function writeWhole(fd: number, pack: FinishedPack): Stored {
  for (const chunk of pack.chunks()) writeAll(fd, chunk);
  return { objects: pack.objects, checksum: Buffer.from(pack.checksum, "hex") };
}

/** Writes the pack with the bases it lacks at its end, and the header and trailer that this takes. */
function writeCompleted(fd: number, pack: FinishedPack, source: BaseSource): Stored {
  const { format, missingBases } = pack;
  const places = placesOf(source, missingBases);
  const found = new Set(places.map(({ oid }) => oid));
  const missing = missingBases.find((oid) => !found.has(oid));
  if (missing !== undefined) throw new KvError("BAD_OBJECT", `${missing}, the base of a delta, is missing`);
  findEnds(places);
  // Most bases are one entry each; where some are more, the count was wrong and so was the hash.
  const expected = pack.objectCount + missingBases.length;
  const hasher = newHasher(format);
  const grown = new GrownPack(new EntryWriter(fd, 0, hasher), pack, expected);
  const copier = new BaseCopier(source, grown);
  for (const place of places) copier.add(place);
  const end = grown.finish();
  const { count } = grown;
  const checksum = count === expected ? (hasher.digest() as Buffer) : atOnce(rehashPack(fd, format, count, end));
  writeAll(fd, checksum, end);
  return { objects: grown.objects(), checksum };
}

/**
 * Corrects the number of entries in the header of the pack in `fd`, whose entries end at `end`; returns its new checksum.
 * Yields now and then.
 */
export function* rehashPack(fd: number, format: ObjectFormat, count: number, end: number): Generator<void, Buffer> {
  writeAll(fd, packHeader(count), 0);
  const hasher = newHasher(format);
  const buffer = Buffer.allocUnsafeSlow(REHASH_BYTES);
  for (let at = 0; at < end; ) {
    const got = fs.readSync(fd, buffer, 0, Math.min(buffer.length, end - at), at);
    if (got === 0) throw new KvError("IO", "the temporary pack was cut short");
    hasher.update(buffer.subarray(0, got));
    at += got;
    yield;
  }
  return hasher.digest() as Buffer;
}

/** A pack's objects and further ones at its end. */
class GrownPack implements BaseSink {
  readonly format: ObjectFormat;
  readonly #writer: EntryWriter;
  readonly #first: IndexedObjects;
  #held: OidTable | undefined;
  #count: number;
  #ids: Buffer[];
  #offsets: Float64Array;
  #crcs: Uint32Array;

  /** Writes `pack` to `writer` with a header that declares `expected` entries. */
  constructor(writer: EntryWriter, pack: FinishedPack, expected: number) {
    const { count, ids, offsets, crcs } = pack.objects;
    this.format = pack.format;
    this.#writer = writer;
    this.#first = pack.objects;
    this.#count = count;
    this.#ids = [ids.subarray(0, count * pack.format.rawSize)];
    this.#offsets = offsets.slice(0, count);
    this.#crcs = crcs.slice(0, count);
    writer.write(packHeader(expected));
    for (const chunk of pack.entries()) writer.write(chunk);
  }

  get count(): number {
    return this.#count;
  }

  get position(): number {
    return this.#writer.position;
  }

  has(oid: Oid): boolean {
    this.#held ??= tableOf(this.format, this.#first);
    return this.#held.has(oid);
  }

  append(oid: Oid, _kind: ObjectKind, header: Buffer, stream: Buffer): number {
    const number = this.#count++;
    this.#offsets = withRoom(this.#offsets, number);
    this.#crcs = withRoom(this.#crcs, number);
    this.#offsets[number] = this.position;
    this.#crcs[number] = Bun.hash.crc32(stream, Bun.hash.crc32(header));
    this.#ids.push(Buffer.from(oid, "hex"));
    this.#writer.write(header);
    this.#writer.write(stream);
    return number;
  }

  /** Writes what is left; returns where the entries end. */
  finish(): number {
    this.#writer.flush();
    return this.position;
  }

  objects(): IndexedObjects {
    const ids = Buffer.concat(this.#ids, this.#count * this.format.rawSize);
    return { count: this.#count, ids, offsets: this.#offsets, crcs: this.#crcs };
  }
}

function tableOf(format: ObjectFormat, { count, ids }: IndexedObjects): OidTable {
  const table = new OidTable(format, count);
  for (let i = 0; i < count; i++) table.addRaw(ids, i * format.rawSize);
  return table;
}
