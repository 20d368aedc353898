/**
 * Receives a pack: stores it as it streams in, verifies all of it, resolves its deltas, completes it where it is thin, and
 * writes its index (what `git index-pack --stdin --fix-thin` does).
 *
 * Nothing of the pack is trusted: sizes and counts are checked before they take memory, and on any error nothing is left.
 */

import * as fs from "node:fs";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { BufferMeter } from "../../memory.ts";
import { inSlices } from "../../time-slice.ts";
import type { ObjectFormat, ObjectKind, Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { ArrivedObjects } from "./arrived-objects.ts";
import { refuseCircles } from "./delta-circles.ts";
import { DeltaLimits } from "./delta-limits.ts";
import { DeltaResolver } from "./delta-resolver.ts";
import { EarlyDeltas } from "./early-deltas.ts";
import { EntryList } from "./entry-list.ts";
import { EntryWriter } from "./entry-writer.ts";
import type { ObjectCache } from "./object-cache.ts";
import { kindType } from "./pack-entry.ts";
import { PackInput, type PackSource } from "./pack-input.ts";
import { installPack, type PackPaths, rehashPack } from "./pack-install.ts";
import { type PackLimits, scanPack } from "./pack-scan.ts";
import { SeenObjects } from "./seen-objects.ts";
import { createTemp, writeAll } from "./temp-file.ts";
import { BaseCopier, type BasePlace, type BaseSink, type BaseSource, placesOf } from "./thin-bases.ts";

/** Bytes held in memory for deltas and their bases, unless told otherwise, and the part of it for the deltas. */
const HELD_BYTES = 256 * 1024 * 1024;
const KEPT_SHARE = 8;
/** Bytes of objects that came last, held for deltas of them. */
const RECENT_BYTES = 8 * 1024 * 1024;
/** Bytes of the received pack that are read at once where it is read again. */
const STORED_BYTES = 256 * 1024;

export interface IndexPackOptions {
  readonly format: ObjectFormat;
  /** Folder the pack goes to. */
  readonly dir: string;
  /** Where bases are found that the pack leaves out; without it a thin pack is refused. */
  readonly bases: BaseSource | undefined;
  /** Limits other than those of limits.ts. */
  readonly limits?: Partial<PackLimits>;
  /** Bytes of deltas and their bases kept in memory meanwhile. Default 256 MiB. */
  readonly heldBytes?: number;
  /** Whether the files are on disk when this resolves; a quarantine does that later, all at once. Default false. */
  readonly fsync?: boolean;
  /** Takes what is decoded on the way, by id, as far as it has room: commits, trees and tags, and the bases that are added. */
  readonly seen?: ObjectCache | undefined;
  /** Whether small blobs are seen too. Default false: whoever asks only whether they are here does not read them. */
  readonly seesBlobs?: boolean;
  /** Whether an object that comes twice is refused, as `git index-pack --strict` does. Default false, as for a fetch. */
  readonly unique?: boolean;
  /** Ends it, with its reason, when it aborts. */
  readonly signal?: AbortSignal | undefined;
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
  readonly objects: ArrivedObjects;
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
    const { fd } = temp;
    const { signal } = options;
    const input = new PackInput(source, fd, options.format, limits.packBytes);
    let list = newList(options);
    let deltas = new DeltaLimits(limits);
    let checksum = await scanPack(input, list, limits, earlyDeltas(list, deltas, options));
    if (list.count === 0) return undefined;
    const receivedEnd = input.position - options.format.rawSize;
    const received = list.count;
    let end = await resolveDeltas(fd, list, receivedEnd, deltas, options);
    if (cameItself(list, received)) {
      // What came was not known before its deltas were resolved. Now it is.
      const came = idsOf(list, 0, received);
      fs.ftruncateSync(fd, receivedEnd);
      list = newList(options);
      const again = new PackInput(storedPack(fd, receivedEnd, checksum), fd, options.format, limits.packBytes);
      deltas = new DeltaLimits(limits);
      await scanPack(again, list, limits, earlyDeltas(list, deltas, options));
      end = await resolveDeltas(fd, list, receivedEnd, deltas, options, came);
    }
    if (list.hasBaseTwice) refuseCircles(list);
    if (list.count > received) checksum = await inSlices(rehashPack(fd, list.format, list.count, end), signal);
    writeAll(fd, checksum, end);
    const objects = new ArrivedObjects(list, received, end);
    const indexed = { ...list.indexed(), sorted: objects.ids };
    const { dir, format, fsync = false, unique = false } = options;
    const paths = await inSlices(installPack(dir, format, temp, indexed, checksum, { fsync, unique }), signal);
    const facts = { checksum: checksum.toString("hex"), objectCount: list.count, byteLength: end + format.rawSize };
    return { ...paths, ...facts, rest: input.rest(), objects };
  } finally {
    temp.discard();
  }
}

function newList({ format, heldBytes = HELD_BYTES, seen, seesBlobs = false }: IndexPackOptions): EntryList {
  const list = new EntryList(format, heldBytes / KEPT_SHARE);
  if (seen !== undefined) list.seen = new SeenObjects(format, seen, seesBlobs);
  return list;
}

function earlyDeltas(list: EntryList, limits: DeltaLimits, { heldBytes = HELD_BYTES }: IndexPackOptions): EarlyDeltas {
  return new EarlyDeltas(list, limits, Math.min(RECENT_BYTES, heldBytes / KEPT_SHARE));
}

/** Ids of the entries from number `start` up to `end`. */
function idsOf(list: EntryList, start: number, end: number): OidTable {
  const ids = new OidTable(list.format, end - start);
  for (let entry = start; entry < end; entry++) ids.addRaw(list.ids, entry * list.format.rawSize);
  return ids;
}

/** Whether an object that was added, as entries from number `received` on are, is one of those that were received. */
function cameItself(list: EntryList, received: number): boolean {
  if (list.count === received) return false;
  const added = idsOf(list, received, list.count);
  for (let entry = 0; entry < received; entry++) {
    if (added.indexOfRaw(list.ids, entry * list.format.rawSize) >= 0) return true;
  }
  return false;
}

/** The pack that was received: it is in the file `fd` up to `end`, where its checksum was. */
function storedPack(fd: number, end: number, checksum: Buffer): PackSource {
  let at = 0;
  return {
    read: async () => {
      if (at > end) return undefined;
      const chunk = at === end ? checksum : Buffer.allocUnsafe(Math.min(STORED_BYTES, end - at));
      const got = at === end ? chunk.length : fs.readSync(fd, chunk, 0, chunk.length, at);
      if (got === 0) return undefined;
      at += got;
      return chunk.subarray(0, got);
    },
  };
}

/** Resolves all deltas; returns where the entries end now that missing bases, none of them one of `came`, are appended. */
async function resolveDeltas(
  fd: number,
  list: EntryList,
  received: number,
  limits: DeltaLimits,
  { bases, heldBytes = HELD_BYTES, signal }: IndexPackOptions,
  came?: OidTable,
): Promise<number> {
  if (list.deltaCount === list.earlyCount) return received;
  const resolver = new DeltaResolver(list, fd, received, limits, heldBytes, signal);
  await resolver.resolveReceived();
  return resolver.unresolved > 0 ? appendBases(resolver, fd, list, received, bases, came) : received;
}

/** Appends the bases that are still missing; returns where the entries end then. */
async function appendBases(
  resolver: DeltaResolver,
  fd: number,
  list: EntryList,
  end: number,
  bases: BaseSource | undefined,
  came: OidTable | undefined,
): Promise<number> {
  const sink = new AppendedEntries(list, fd, end, came);
  if (bases !== undefined) {
    const outside = [...waiting(list)].filter((oid) => came?.has(oid) !== true);
    await resolveOutside(resolver, list, new BaseCopier(bases, sink), placesOf(bases, outside));
  }
  if (resolver.unresolved > 0) throw missingBase(list, resolver.unresolved);
  return sink.finish();
}

/** Appends the bases that are needed and resolves what waits for them. */
async function resolveOutside(
  resolver: DeltaResolver,
  list: EntryList,
  copier: BaseCopier,
  places: readonly BasePlace[],
): Promise<void> {
  const meter = new BufferMeter();
  for (const place of places) {
    // It may have turned up meanwhile, as the result of a delta whose own base was appended.
    if (resolver.unresolved === 0) return;
    if (list.waiting(list.refBases.indexOf(place.oid)) < 0) continue;
    const { entry, object } = copier.addAndRead(place);
    list.seen?.addBase(list.idOf(entry), object);
    await resolver.resolveBase(entry, object);
    // The base, and what was made of it.
    meter.add(2 * object.data.length);
  }
}

/** Bases that deltas wait for. */
function* waiting(list: EntryList): Generator<Oid> {
  for (let ref = 0; ref < list.refBases.size; ref++) if (list.waiting(ref) >= 0) yield list.refBases.oid(ref);
}

/** Entries added to the end of a pack that has arrived. */
class AppendedEntries implements BaseSink {
  readonly format: ObjectFormat;
  readonly #list: EntryList;
  readonly #came: OidTable | undefined;
  readonly #writer: EntryWriter;

  constructor(list: EntryList, fd: number, end: number, came: OidTable | undefined) {
    this.format = list.format;
    this.#list = list;
    this.#came = came;
    this.#writer = new EntryWriter(fd, end);
  }

  get position(): number {
    return this.#writer.position;
  }

  has(oid: Oid): boolean {
    return this.#list.has(oid) || this.#came?.has(oid) === true;
  }

  append(oid: Oid, kind: ObjectKind, header: Buffer, stream: Buffer): number {
    const crc = Bun.hash.crc32(stream, Bun.hash.crc32(header));
    const entry = this.#list.add(kindType(kind), this.position, crc);
    this.#list.setId(entry, Buffer.from(oid, "hex"));
    this.#writer.write(header);
    this.#writer.write(stream);
    return entry;
  }

  /** Writes what is left; returns where the entries end. */
  finish(): number {
    this.#writer.flush();
    return this.position;
  }
}

function missingBase(list: EntryList, unresolved: number): KvError {
  const [oid] = waiting(list);
  return new KvError("BAD_PACK", `the pack has ${unresolved} deltas without a base; ${oid} is missing`, {
    data: { base: oid },
  });
}
