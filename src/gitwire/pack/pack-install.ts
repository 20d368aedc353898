/**
 * Puts a finished pack and its index into a folder under their final names, `pack-<checksum>.pack` and `.idx`: the index
 * last, because a pack exists for git from the moment its index does.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { atOnce } from "../../time-slice.ts";
import type { GitObject, ObjectSource } from "../object/object.ts";
import { newHasher, type ObjectFormat, type Oid } from "../object/oid.ts";
import { withRoom } from "./grow.ts";
import { type FinishedPack, packHeader } from "./pack-builder.ts";
import { encodeTypeSize, kindType, MAX_ENTRY_HEADER } from "./pack-entry.ts";
import { type IndexedObjects, writePackIndex } from "./pack-index-writer.ts";
import { createTemp, fsyncDir, type TempFile, writeAll } from "./temp-file.ts";
import { deflate } from "./zlib.ts";

/** The two files of a pack. */
export interface PackPaths {
  readonly packPath: string;
  readonly idxPath: string;
}

/**
 * Indexes the complete pack in `temp` and gives both their names in `dir`. `fsync`: both are on disk, and so are their
 * names, when this ends. On an error nothing is left. Yields now and then so that others may run.
 */
export function* installPack(
  dir: string,
  format: ObjectFormat,
  temp: TempFile,
  objects: IndexedObjects,
  checksum: Buffer,
  options: { fsync: boolean },
): Generator<void, PackPaths> {
  const name = path.join(dir, `pack-${checksum.toString("hex")}`);
  const paths = { packPath: `${name}.pack`, idxPath: `${name}.idx` };
  // The same pack may be there already: then it is replaced by itself, and stays whatever happens.
  const isNew = !fs.existsSync(paths.packPath);
  const index = createTemp(dir, "tmp_idx_");
  try {
    yield* writePackIndex(index.fd, format, objects, checksum);
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
  source: ObjectSource,
  options: { fsync: boolean },
): PackPaths | undefined {
  if (pack.objectCount === 0) return undefined;
  const temp = createTemp(dir, "tmp_pack_");
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
function writeCompleted(fd: number, pack: FinishedPack, source: ObjectSource): Stored {
  const { format, missingBases } = pack;
  const header = packHeader(pack.objectCount + missingBases.length);
  const hasher = newHasher(format);
  let position = 0;
  const write = (bytes: Buffer): void => {
    hasher.update(bytes);
    writeAll(fd, bytes);
    position += bytes.length;
  };
  write(header);
  for (const chunk of pack.entries()) write(chunk);
  const appended = new AppendedObjects(format, pack.objects);
  for (const base of missingBases) {
    const object = source.read(base);
    if (object === undefined) throw new KvError("BAD_OBJECT", `${base}, the base of a delta, is missing`);
    const entry = wholeEntry(object);
    appended.add(base, position, entry);
    write(entry);
  }
  const checksum = hasher.digest() as Buffer;
  writeAll(fd, checksum);
  return { objects: appended.objects(), checksum };
}

/** The entry of an object stored whole. */
export function wholeEntry(object: GitObject): Buffer {
  const head = Buffer.allocUnsafe(MAX_ENTRY_HEADER);
  const end = encodeTypeSize(head, 0, kindType(object.kind), object.data.length);
  return Buffer.concat([head.subarray(0, end), deflate(object.data)]);
}

/** A pack's objects and further ones at its end. */
class AppendedObjects {
  readonly #format: ObjectFormat;
  #count: number;
  #ids: Buffer[];
  #offsets: Float64Array;
  #crcs: Uint32Array;

  constructor(format: ObjectFormat, first: IndexedObjects) {
    this.#format = format;
    this.#count = first.count;
    this.#ids = [first.ids.subarray(0, first.count * format.rawSize)];
    this.#offsets = first.offsets.slice(0, first.count);
    this.#crcs = first.crcs.slice(0, first.count);
  }

  add(oid: Oid, offset: number, entry: Buffer): void {
    this.#offsets = withRoom(this.#offsets, this.#count);
    this.#crcs = withRoom(this.#crcs, this.#count);
    this.#offsets[this.#count] = offset;
    this.#crcs[this.#count] = Bun.hash.crc32(entry);
    this.#ids.push(Buffer.from(oid, "hex"));
    this.#count++;
  }

  objects(): IndexedObjects {
    const ids = Buffer.concat(this.#ids, this.#count * this.#format.rawSize);
    return { count: this.#count, ids, offsets: this.#offsets, crcs: this.#crcs };
  }
}
