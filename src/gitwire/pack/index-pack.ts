/**
 * Receives a pack: stores it, or holds it where it is small, as it streams in, verifies all of it, resolves its deltas, completes it where it is thin, and
 * writes its index (what `git index-pack --stdin --fix-thin` does).
 *
 * Nothing of the pack is trusted: sizes and counts are checked before they take memory, and on any error nothing is left.
 */

import { asBuffer } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { BufferMeter, collectGarbage } from "../../memory.ts";
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
import { HeldFile } from "./held-file.ts";
import type { ObjectArena } from "./object-arena.ts";
import { kindType } from "./pack-entry.ts";
import { PackIndex } from "./pack-index.ts";
import { type IndexedObjects, mostIndexBytes, writePackIndex } from "./pack-index-writer.ts";
import { PackInput, type PackSource } from "./pack-input.ts";
import { installPack, type PackPaths, packName, packPaths, rehashPack, type SmallPack } from "./pack-install.ts";
import { Pack } from "./pack-reader.ts";
import { type PackLimits, scanPack } from "./pack-scan.ts";
import type { RootedObject } from "./recent-bases.ts";
import { SeenObjects } from "./seen-objects.ts";
import { type ByteFile, PACK_TEMP } from "./temp-file.ts";
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
  /** Called before the first file is made there. */
  readonly makeDir?: () => void;
  /** Bytes of pack and index up to which both are handed over in memory ({@link IndexedPack.held}) and not stored. Default 0. */
  readonly mostHeld?: number;
  /** Where bases are found that the pack leaves out; without it a thin pack is refused. */
  readonly bases: BaseSource | undefined;
  /** Limits other than those of limits.ts. */
  readonly limits?: Partial<PackLimits>;
  /** Bytes of deltas and their bases kept in memory meanwhile. Default 256 MiB. */
  readonly heldBytes?: number;
  /** Whether the files are on disk when this resolves; a quarantine does that later, all at once. Default false. */
  readonly fsync?: boolean;
  /** Takes what is decoded on the way, by id, as far as it has room: commits, trees and tags, and the bases that are added. */
  readonly seen?: ObjectArena | undefined;
  /** Whether small blobs are seen too. Default false: whoever asks only whether they are here does not read them. */
  readonly seesBlobs?: boolean;
  /** Whether an object that comes twice is refused, as `git index-pack --strict` does. Default false, as for a fetch. */
  readonly unique?: boolean;
  /** Ends it, with its reason, when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

/** How objects of a pack are made of whole ones. */
export type Rooted = ReadonlyMap<Oid, RootedObject>;

/** A stored pack, or one that is to be stored under these paths. */
export interface IndexedPack extends PackPaths {
  /** The pack and its index where they are not stored. */
  readonly held?: SmallPack;
  /** How the objects that came as deltas are made of whole ones, as far as that is known; where it is held and `bases` remembers such things. */
  readonly rooted: Rooted;
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

/** For reading what {@link indexPack} made. */
export function openIndexed({ packPath, held }: Pick<IndexedPack, "packPath" | "held">, format: ObjectFormat): Pack {
  if (held === undefined) return new Pack(packPath, format);
  const index = new PackIndex(packPath.replace(/\.pack$/, ".idx"), format, asBuffer(held.idx));
  return new Pack(packPath, format, undefined, { pack: asBuffer(held.pack), index });
}

/**
 * Reads one pack from `source` (which is not read past its end further than the chunk that holds it) and stores it.
 * Resolves to undefined for a pack without objects. Rejects with BAD_PACK where the pack is damaged or lacks a base,
 * LIMIT_EXCEEDED, or the error of the source.
 */
export async function indexPack(source: PackSource, options: IndexPackOptions): Promise<IndexedPack | undefined> {
  const limits: PackLimits = { ...LIMITS, ...options.limits };
  const made = (): string => {
    options.makeDir?.();
    return options.dir;
  };
  const temp = new HeldFile(made, "tmp_pack_", options.mostHeld ?? 0);
  try {
    const { format, signal } = options;
    const input = new PackInput(source, temp, format, limits.packBytes);
    let list = newList(options);
    let deltas = new DeltaLimits(limits);
    let checksum = await scanPack(input, list, limits, earlyDeltas(list, deltas, options));
    if (list.count === 0) return undefined;
    const receivedEnd = input.position - format.rawSize;
    const received = list.count;
    const rooted = new Map<Oid, RootedObject>();
    let end = await resolveDeltas(temp, list, receivedEnd, deltas, options, rooted);
    if (cameItself(list, received)) {
      // What came was not known before its deltas were resolved. Now it is.
      const came = idsOf(list, 0, received);
      temp.truncate(receivedEnd);
      list = newList(options);
      const again = new PackInput(storedPack(temp, receivedEnd, checksum), temp, format, limits.packBytes);
      deltas = new DeltaLimits(limits);
      await scanPack(again, list, limits, earlyDeltas(list, deltas, options));
      rooted.clear();
      end = await resolveDeltas(temp, list, receivedEnd, deltas, options, rooted, came);
    }
    if (list.hasBaseTwice) refuseCircles(list);
    if (list.count > received) checksum = await inSlices(rehashPack(temp, list.format, list.count, end), signal);
    temp.write(checksum, end);
    const objects = new ArrivedObjects(list, received, end);
    const indexed = { ...list.indexed(), sorted: objects.ids };
    const placed = await inSlices(place(temp, indexed, checksum, options), signal);
    collectGarbage(list.count);
    const facts = { checksum: checksum.toString("hex"), objectCount: list.count, byteLength: end + format.rawSize };
    return { ...placed, ...facts, rooted, rest: input.rest(), objects };
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

/** The pack that was received: it is in `file` up to `end`, where its checksum was. */
function storedPack(file: ByteFile, end: number, checksum: Buffer): PackSource {
  let at = 0;
  return {
    read: async () => {
      if (at > end) return undefined;
      const chunk = at === end ? checksum : Buffer.allocUnsafe(Math.min(STORED_BYTES, end - at));
      const got = at === end ? chunk.length : file.read(chunk, chunk.length, at);
      if (got === 0) return undefined;
      at += got;
      return chunk.subarray(0, got);
    },
  };
}

/** Indexes the pack, and stores both unless they may be held. */
function* place(
  temp: HeldFile,
  objects: IndexedObjects,
  checksum: Buffer,
  options: IndexPackOptions,
): Generator<void, PackPaths & Pick<IndexedPack, "held">> {
  const { dir, format, fsync = false, unique = false, mostHeld = 0 } = options;
  const most = mostIndexBytes(format, objects.count);
  const pack = temp.held;
  if (pack === undefined || pack.length + most > mostHeld) {
    options.makeDir?.();
    return yield* installPack(dir, format, temp, objects, checksum, { fsync, unique });
  }
  const index = new HeldFile(() => dir, PACK_TEMP, mostHeld, most);
  yield* writePackIndex(index, format, objects, checksum, { unique });
  return { ...packPaths(dir, checksum), held: { name: packName(checksum), pack, idx: index.held! } };
}

/** Resolves all deltas; returns where the entries end now that missing bases, none of them one of `came`, are appended. */
async function resolveDeltas(
  file: HeldFile,
  list: EntryList,
  received: number,
  limits: DeltaLimits,
  { bases, heldBytes = HELD_BYTES, signal }: IndexPackOptions,
  rooted: Map<Oid, RootedObject>,
  came?: OidTable,
): Promise<number> {
  if (list.deltaCount === list.earlyCount) return received;
  const resolver = new DeltaResolver(list, file, received, limits, heldBytes, signal);
  await resolver.resolveReceived();
  return resolver.unresolved > 0 ? appendBases(resolver, file, list, received, bases, rooted, came) : received;
}

/** Appends the bases that are still missing; returns where the entries end then. */
async function appendBases(
  resolver: DeltaResolver,
  file: HeldFile,
  list: EntryList,
  end: number,
  bases: BaseSource | undefined,
  rooted: Map<Oid, RootedObject>,
  came: OidTable | undefined,
): Promise<number> {
  const sink = new AppendedEntries(list, file, end, came);
  if (bases !== undefined) {
    const outside = [...waiting(list)].filter((oid) => came?.has(oid) !== true);
    // A large push has more of them than are remembered: 18,000 copies for nothing.
    const remembers = bases.recentBases !== undefined && file.held !== undefined;
    const copier = new BaseCopier(bases, sink, remembers);
    await resolveOutside(resolver, list, copier, placesOf(bases, outside));
    if (resolver.unresolved === 0) noteRoots(list, copier.rooted, rooted);
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

/** Adds to `rooted` what the deltas made of bases that were added. */
function noteRoots(list: EntryList, bases: Rooted, rooted: Map<Oid, RootedObject>): void {
  if (bases.size === 0) return;
  const { rawSize } = list.format;
  const oidOf = (entry: number): Oid => list.ids.hexSlice(entry * rawSize, (entry + 1) * rawSize);
  for (let number = 0; number < list.deltaCount; number++) {
    const from = list.deltaBases[number]!;
    const base = from < 0 ? undefined : bases.get(oidOf(from));
    const delta = base && list.kept.get(number);
    if (delta === undefined) continue;
    rooted.set(oidOf(list.deltaEntries[number]!), { root: base!.root, deltas: [...base!.deltas, Buffer.from(delta)] });
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

  constructor(list: EntryList, file: ByteFile, end: number, came: OidTable | undefined) {
    this.format = list.format;
    this.#list = list;
    this.#came = came;
    this.#writer = new EntryWriter(file, end);
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
