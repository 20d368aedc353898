/**
 * Receives a pack: stores it as it streams in, verifies all of it, resolves its deltas, completes it where it is thin, and
 * writes its index (what `git index-pack --stdin --fix-thin` does).
 *
 * Nothing of the pack is trusted: sizes and counts are checked before they take memory, and on any error nothing is left.
 * 100,000 objects of 120 bytes take 0.4 s here, git 2.39 with one thread 0.6 s, with two 0.33 s.
 */

import * as fs from "node:fs";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { inSlices, TimeSlice } from "../../time-slice.ts";
import type { ObjectSource } from "../object/object.ts";
import { newHasher, type ObjectFormat, type Oid } from "../object/oid.ts";
import { DeltaResolver } from "./delta-resolver.ts";
import { EntryList } from "./entry-list.ts";
import { packHeader } from "./pack-builder.ts";
import { kindType } from "./pack-entry.ts";
import { PackInput, type PackSource } from "./pack-input.ts";
import { installPack, type PackPaths, wholeEntry } from "./pack-install.ts";
import { type PackLimits, scanPack } from "./pack-scan.ts";
import { createTemp, type TempFile, writeAll } from "./temp-file.ts";

export interface IndexPackOptions {
  readonly format: ObjectFormat;
  /** Folder the pack goes to. */
  readonly dir: string;
  /** Where bases are found that the pack leaves out; without it a thin pack is refused. */
  readonly bases: ObjectSource | undefined;
  /** Limits other than those of limits.ts. */
  readonly limits?: Partial<PackLimits>;
  /** Bytes of delta bases kept in memory meanwhile. Default 256 MiB. */
  readonly heldBytes?: number;
  /** Whether the files are on disk when this resolves; a quarantine does that later, all at once. Default false. */
  readonly fsync?: boolean;
}

/** A stored pack. */
export interface IndexedPack extends PackPaths {
  /** Hex checksum, which names the files. */
  readonly checksum: string;
  /** Objects in the stored pack, added bases included. */
  readonly objectCount: number;
  /** Bytes of the stored pack. */
  readonly byteLength: number;
  /** Bytes that followed the pack and were already read. */
  readonly rest: Buffer;
}

/**
 * Reads one pack from `source` (which is not read past its end further than the chunk that holds it) and stores it.
 * Resolves to undefined for a pack without objects. Rejects with BAD_PACK where the pack is damaged or lacks a base,
 * LIMIT_EXCEEDED, or the error of the source.
 */
export async function indexPack(source: PackSource, options: IndexPackOptions): Promise<IndexedPack | undefined> {
  const limits: PackLimits = { ...LIMITS, ...options.limits };
  const temp = createTemp(options.dir, "tmp_pack_");
  try {
    const input = new PackInput(source, temp.fd, options.format, limits.packBytes);
    const list = new EntryList(options.format);
    let checksum = await scanPack(input, list, limits);
    if (list.count === 0) return undefined;
    let end = input.position - options.format.rawSize;
    const received = list.count;
    if (list.deltaCount > 0) end = await resolveDeltas(temp.fd, list, end, limits, options);
    if (list.count > received) checksum = await rehash(temp.fd, list, end);
    writeAll(temp.fd, checksum, end);
    const paths = await inSlices(install(temp, list, checksum, options));
    const byteLength = end + options.format.rawSize;
    return { ...paths, checksum: checksum.toString("hex"), objectCount: list.count, byteLength, rest: input.rest() };
  } finally {
    temp.discard();
  }
}

function install(
  temp: TempFile,
  list: EntryList,
  checksum: Buffer,
  options: IndexPackOptions,
): Generator<void, PackPaths> {
  const { dir, format, fsync = false } = options;
  return installPack(dir, format, temp, list.indexed(), checksum, { fsync });
}

/** Resolves all deltas; returns where the entries end now that missing bases are appended. */
async function resolveDeltas(
  fd: number,
  list: EntryList,
  end: number,
  limits: PackLimits,
  { bases, heldBytes }: IndexPackOptions,
): Promise<number> {
  const resolver = new DeltaResolver(list, fd, end, limits, heldBytes);
  await resolver.resolveFrom(0, list.count);
  let position = end;
  for (let ref = 0; ref < list.refBases.size && resolver.unresolved > 0; ref++) {
    if (list.waiting(ref) < 0) continue;
    const oid = list.refBases.oid(ref);
    const object = bases?.read(oid);
    // It may still turn up as the result of a delta whose own base is appended later.
    if (object === undefined) continue;
    const bytes = wholeEntry(object);
    writeAll(fd, bytes, position);
    const entry = list.add(kindType(object.kind), position, Bun.hash.crc32(bytes));
    list.setId(entry, Buffer.from(oid, "hex"));
    position += bytes.length;
    resolver.appended(position);
    await resolver.resolveFrom(entry, list.count);
  }
  if (resolver.unresolved > 0) throw missingBase(list, resolver.unresolved);
  return position;
}

function missingBase(list: EntryList, unresolved: number): KvError {
  let oid: Oid | undefined;
  for (let ref = 0; ref < list.refBases.size && oid === undefined; ref++) {
    if (list.waiting(ref) >= 0) oid = list.refBases.oid(ref);
  }
  return new KvError("BAD_PACK", `the pack has ${unresolved} deltas without a base; ${oid} is missing`, {
    data: { base: oid },
  });
}

/** Writes the header of the grown pack and returns its new checksum. */
async function rehash(fd: number, list: EntryList, end: number): Promise<Buffer> {
  writeAll(fd, packHeader(list.count), 0);
  const hasher = newHasher(list.format);
  const slice = new TimeSlice();
  const buffer = Buffer.allocUnsafeSlow(256 * 1024);
  for (let at = 0; at < end; ) {
    const got = fs.readSync(fd, buffer, 0, Math.min(buffer.length, end - at), at);
    if (got === 0) throw new KvError("IO", "the temporary pack was cut short");
    hasher.update(buffer.subarray(0, got));
    at += got;
    if (slice.isOver()) await slice.pause();
  }
  return hasher.digest() as Buffer;
}
