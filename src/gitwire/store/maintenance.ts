/**
 * Keeps the number of packs small. Every transaction leaves one, and a lookup asks each in turn, so a store of thousands
 * would be slow. As `git repack --geometric=2` does, small packs are combined until each holds at least twice as many objects as
 * the next smaller one: an object is copied a number of times that grows with the logarithm of all there are.
 *
 * The new pack is made in a quarantine and read again there. Then it is synced and given its place, then its index, then
 * the old indexes go, each before its pack. So a kill at any point leaves every object readable, at worst twice, and what
 * has no name yet to {@link sweepLeftovers}. A stock `git gc` and we keep off each other with its own lock. A bare
 * `git repack` takes none, and needs none: only packs are removed all of whose objects were copied, and one that it removes
 * first ends our work. Readers that have an old pack open go on reading it; others find the new one when a lookup fails and
 * they look at the folder again.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { isMissing } from "../disk.ts";
import type { MergedPack } from "../pack/pack-merge.ts";
import { Pack } from "../pack/pack-reader.ts";
import { type Combine, combineHere } from "./combine.ts";
import { takeGcLock } from "./gc-lock.ts";
import type { ObjectStore } from "./object-store.ts";
import { PINS } from "./pack-dir.ts";
import { Quarantine } from "./quarantine.ts";

/** Packs from this size on stay as they are. */
const MAX_BYTES = 512 * 1024 * 1024;
/** Most objects that are combined at once, unless told otherwise: 75 bytes of memory each. */
const MAX_OBJECTS = 2_000_000;
const FACTOR = 2;
/** Packs of so many bytes at least, and of so many on average for each object, hold large objects. */
const BULKY_BYTES = 1024 * 1024;
const LARGE_AVERAGE = 16 * 1024;

export interface RollUpOptions {
  /** Common git folder, whose lock keeps `git gc` away; without it no lock is taken. */
  readonly commonDir?: string;
  /** Stops the work; nothing is left of it then. */
  readonly signal?: AbortSignal;
  /** Packs that may lie side by side. Default 16. */
  readonly maxPacks?: number;
  /** Packs of this many bytes and more stay as they are. Default 512 MiB. */
  readonly maxBytes?: number;
  /** Most objects that are combined at once; packs of half as many stay as they are. Default 2,000,000. */
  readonly maxObjects?: number;
  /** Makes the new pack. Default: this thread does, in slices. */
  readonly combine?: Combine;
}

/** How packs are made one. */
export type CombineOptions = Pick<RollUpOptions, "combine" | "signal">;

/** What became of a roll-up. */
export type RollUp =
  /** `packs` were combined into one. */
  | { readonly kind: "rolled"; readonly packs: number; readonly pack: MergedPack }
  /** The packs are few, or in good order. */
  | { readonly kind: "nothing" }
  /** Somebody else tidies up, or has just done so. */
  | { readonly kind: "busy" };

/** Whether {@link rollUp} may have something to do, judged by the list of packs that is at hand. */
export function needsRollUp(
  store: ObjectStore,
  { maxPacks = LIMITS.packs, maxObjects = MAX_OBJECTS }: Pick<RollUpOptions, "maxPacks" | "maxObjects"> = {},
): boolean {
  const packs = store.replaceablePacks();
  return packs.length > maxPacks && packs.filter((pack) => !hasMany(pack, maxObjects)).length > maxPacks;
}

/** Whether the pack stays as it is because of its objects: with as many more there would be too many at once. */
function hasMany(pack: Pack, maxObjects: number): boolean {
  try {
    return pack.count * 2 >= maxObjects;
  } catch (error) {
    if (!isGoneOrDamaged(error)) throw error;
    return false;
  }
}

function isGoneOrDamaged(error: unknown): boolean {
  return isMissing(error) || (error instanceof KvError && error.code === "CORRUPT");
}

/**
 * Combines small packs of the store where there are many. Lets others run meanwhile. Rejects with CORRUPT where a pack is
 * damaged, the signal's reason, system errors; the store is then as it was.
 */
export async function rollUp(store: ObjectStore, options: RollUpOptions = {}): Promise<RollUp> {
  if (!needsRollUp(store, options)) return { kind: "nothing" };
  const lock = options.commonDir === undefined ? { release() {} } : takeGcLock(options.commonDir);
  if (lock === undefined) return { kind: "busy" };
  try {
    return await rollUpLocked(store, options);
  } finally {
    lock.release();
  }
}

async function rollUpLocked(store: ObjectStore, options: RollUpOptions): Promise<RollUp> {
  const { maxBytes = MAX_BYTES, maxObjects = MAX_OBJECTS } = options;
  store.refresh();
  if (!needsRollUp(store, options)) return { kind: "nothing" };
  const chosen = choose(measure(store, maxBytes, maxObjects), maxBytes, maxObjects);
  if (chosen.length < 2) return { kind: "nothing" };
  chosen.sort((a, b) => a.modified - b.modified);
  return combinePacks(
    store,
    chosen.map(({ pack }) => pack.path),
    options,
  );
}

/** Makes the packs at `paths`, older ones first, one. The caller holds the lock. Rejects as {@link rollUp}. */
export async function combinePacks(
  store: ObjectStore,
  paths: readonly string[],
  options: CombineOptions = {},
): Promise<RollUp> {
  let merged: MergedPack;
  try {
    merged = await combine(store, paths, options);
  } catch (error) {
    // A repack took one of them away, and has put its objects elsewhere.
    if (isMissing(error)) return { kind: "busy" };
    throw error;
  }
  removePacks(
    store,
    paths.filter((file) => file !== merged.packPath),
  );
  return { kind: "rolled", packs: paths.length, pack: merged };
}

/** Puts the objects of the packs into a new one, which is in place and on disk when this resolves. */
async function combine(
  store: ObjectStore,
  paths: readonly string[],
  { combine: make = combineHere, signal }: CombineOptions,
): Promise<MergedPack> {
  const quarantine = Quarantine.create(store.objectsDir);
  try {
    const merged = await make(paths, { dir: quarantine.packDir, format: store.format, signal });
    quarantine.wasSynced();
    quarantine.migrate(store);
    const inPlace = (file: string): string => path.join(store.objectsDir, "pack", path.basename(file));
    return { ...merged, packPath: inPlace(merged.packPath), idxPath: inPlace(merged.idxPath) };
  } finally {
    quarantine.discard();
  }
}

/** A pack that may be combined with others. */
export interface Candidate {
  readonly pack: Pack;
  readonly objects: number;
  readonly bytes: number;
  readonly modified: number;
}

/** The packs that may be combined; those that are large, gone or damaged are left alone. */
function measure(store: ObjectStore, maxBytes: number, maxObjects: number): Candidate[] {
  const found: Candidate[] = [];
  for (const { path: file } of store.replaceablePacks()) {
    // Not the store's own: it would be left with all of them open.
    const pack = new Pack(file, store.format);
    try {
      const { size, mtimeMs } = fs.statSync(file);
      if (size < maxBytes && !hasMany(pack, maxObjects) && !isPinned(file)) {
        found.push({ pack, objects: pack.count, bytes: size, modified: mtimeMs });
      }
    } catch (error) {
      if (!isGoneOrDamaged(error)) throw error;
    } finally {
      pack.close();
    }
  }
  return found;
}

/**
 * Which packs become one. Packs of large objects keep to themselves and below `maxBytes`: a change of such an object may have its
 * pack written anew (fold-copies.ts), and with it whatever else is in it.
 */
function choose(candidates: readonly Candidate[], maxBytes: number, maxObjects: number): Candidate[] {
  const isBulky = ({ bytes, objects }: Candidate): boolean => bytes >= BULKY_BYTES && bytes / objects >= LARGE_AVERAGE;
  const byObjects = ({ objects }: Candidate): number => objects;
  const chosen = chooseBySize(
    candidates.filter((each) => !isBulky(each)),
    byObjects,
    maxObjects,
  );
  return chosen.length >= 2 ? chosen : chooseBySize(candidates.filter(isBulky), ({ bytes }) => bytes, maxBytes);
}

/**
 * The candidates to combine, smallest first: so many that each of the others holds at least twice as many objects as the next
 * smaller pack, the new one included (git: pack-geometry.c).
 */
export function chooseBySize(
  candidates: readonly Candidate[],
  sizeOf = ({ objects }: Candidate): number => objects,
  most: number = MAX_OBJECTS,
): Candidate[] {
  const sorted = [...candidates].sort((a, b) => sizeOf(a) - sizeOf(b));
  const sizes = sorted.map(sizeOf);
  let split = sizes.length - 1;
  while (split > 0 && sizes[split]! >= FACTOR * sizes[split - 1]!) split--;
  if (split > 0) split++;
  let total = 0;
  for (const size of sizes.slice(0, split)) total += size;
  while (split > 0 && split < sizes.length && sizes[split]! < FACTOR * total) total += sizes[split++]!;
  for (; total > most; total -= sizes[split]!) split--;
  return sorted.slice(0, split);
}

/** Removes packs whose objects are all elsewhere, in the order in which git does. */
function removePacks(store: ObjectStore, paths: readonly string[]): void {
  const own = new Map(store.ownPacks().map((pack) => [pack.path, pack]));
  removeMultiPackIndex(path.join(store.objectsDir, "pack"));
  for (const file of paths) {
    if (isPinned(file)) continue;
    removeFiles(file);
    const known = own.get(file);
    if (known !== undefined) store.dropPack(known);
  }
}

function removeFiles(packPath: string): void {
  for (const extension of [".idx", ".pack", ".rev", ".bitmap"]) {
    fs.rmSync(packPath.replace(/\.pack$/, extension), { force: true });
  }
}

/** An index over several packs would name some that are gone; git makes it again when it wants one. */
function removeMultiPackIndex(dir: string): void {
  fs.rmSync(path.join(dir, "multi-pack-index"), { force: true });
  if (!fs.existsSync(path.join(dir, "multi-pack-index.d"))) return;
  fs.rmSync(path.join(dir, "multi-pack-index.d"), { recursive: true, force: true });
}

/** Whether the pack is to stay as it is; somebody may have said so since its folder was read. */
function isPinned(file: string): boolean {
  return PINS.some((extension) => fs.existsSync(file.replace(/\.pack$/, extension)));
}
