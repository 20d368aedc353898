/**
 * Puts loose objects into packs. A stock `git receive-pack` leaves every push of up to 100 objects loose, and git's own commands
 * leave what they write so.
 *
 * All of them go in, those that no ref leads to as well: which of these are old enough to go is for `git gc` to say (gc.pruneExpire),
 * and in a pack they are as young as the pack. Nothing is ever pruned here.
 *
 * The pack is made in a quarantine and read again there, synced and put in its place; then each file that went into it goes. So
 * a kill at any point leaves every object readable, at worst twice. Until the last file is gone the pack has its `.keep`: a
 * `git repack -A` that finds an object in a pack it is to remove leaves that be where it lies loose as well, and between
 * the two removals it would be lost. A file that somebody else removes meanwhile is passed over.
 */

import * as fs from "node:fs";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { TimeSlice } from "../../time-slice.ts";
import { isMissing } from "../disk.ts";
import { hashObject, type Oid } from "../object/oid.ts";
import { verifyPack } from "../pack/verify-pack.ts";
import { WholeEntries } from "../pack/whole-entries.ts";
import { deflate } from "../pack/zlib.ts";
import { takeGcLock } from "./gc-lock.ts";
import { loosePath, readLoose } from "./loose.ts";
import { hasManyLoose, looseNames } from "./loose-count.ts";
import { deflatedLoose, looseHeader } from "./loose-stream.ts";
import type { ObjectStore } from "./object-store.ts";
import { Quarantine } from "./quarantine.ts";

/** Objects in one pack (as git's maintenance.loose-objects.batchSize). */
const BATCH = 50_000;
/** Content from this size on goes through in pieces. */
const LARGE = 1024 * 1024;

export interface PackLooseOptions {
  /** Common git folder, whose lock keeps `git gc` away; without it no lock is taken. */
  readonly commonDir?: string;
  /** Stops the work; nothing is left of the pack that was being made. */
  readonly signal?: AbortSignal;
  /** Loose objects that may lie about, 0 for none at all. Default 6,700. */
  readonly maxLoose?: number;
  /** Objects in one pack. Default 50,000. */
  readonly batch?: number;
}

/** What became of the loose objects. */
export type LoosePacking =
  /** So many went into so many packs. `damaged` ones were left as they are. */
  | { readonly kind: "packed"; readonly objects: number; readonly packs: number; readonly damaged: number }
  /** They are few. */
  | { readonly kind: "nothing" }
  /** Somebody else tidies up. */
  | { readonly kind: "busy" };

/** Packs the loose objects of the store where there are many. Lets others run meanwhile. Rejects with the signal's reason, system errors. */
export async function packLoose(store: ObjectStore, options: PackLooseOptions = {}): Promise<LoosePacking> {
  const { maxLoose = LIMITS.looseObjects } = options;
  if (maxLoose > 0 && !hasManyLoose(store.objectsDir, store.format, maxLoose)) return { kind: "nothing" };
  const lock = options.commonDir === undefined ? { release() {} } : takeGcLock(options.commonDir);
  if (lock === undefined) return { kind: "busy" };
  try {
    return await packAll(store, options);
  } finally {
    lock.release();
  }
}

async function packAll(store: ObjectStore, options: PackLooseOptions): Promise<LoosePacking> {
  const { batch = BATCH } = options;
  let [objects, packs, damaged] = [0, 0, 0];
  let waiting: Oid[] = [];
  const packWaiting = async (): Promise<void> => {
    const done = await packBatch(store, waiting, options.signal);
    waiting = [];
    objects += done.packed;
    damaged += done.damaged;
    if (done.packed > 0) packs++;
  };
  for (let fan = 0; fan < 256; fan++) {
    const prefix = fan.toString(16).padStart(2, "0");
    for (const name of looseNames(`${store.objectsDir}/${prefix}`, store.format)) {
      if (waiting.push(prefix + name) >= batch) await packWaiting();
    }
  }
  if (waiting.length > 0) await packWaiting();
  return objects + damaged === 0 ? { kind: "nothing" } : { kind: "packed", objects, packs, damaged };
}

/** Packs these objects, and removes their files. */
async function packBatch(
  store: ObjectStore,
  oids: readonly Oid[],
  signal?: AbortSignal,
): Promise<{ packed: number; damaged: number }> {
  const quarantine = Quarantine.create(store.objectsDir);
  let entries: WholeEntries | undefined;
  try {
    entries = new WholeEntries(quarantine.packDir, store.format);
    const packed: Oid[] = [];
    let damaged = 0;
    const slice = new TimeSlice();
    for (const oid of oids) {
      const outcome = await addObject(store, oid, entries);
      if (outcome === "added") packed.push(oid);
      if (outcome === "damaged") damaged++;
      if (slice.isOver()) {
        await slice.pause();
        signal?.throwIfAborted();
      }
    }
    if (packed.length === 0) return { packed: 0, damaged };
    const { packPath } = await entries.finish();
    // What comes next cannot be undone.
    await verifyPack(packPath, store.format, signal);
    quarantine.migrate(store, { keep: true });
    await removeFiles(store.objectsDir, packed);
    return { packed: packed.length, damaged };
  } finally {
    entries?.discard();
    quarantine.discard();
  }
}

/** Adds one object, where its file is still there and holds what its name says. */
async function addObject(
  { objectsDir, format }: ObjectStore,
  oid: Oid,
  entries: WholeEntries,
): Promise<"added" | "damaged" | "gone"> {
  try {
    const head = looseHeader(objectsDir, oid);
    if (head === undefined) return "gone";
    if (head.size >= LARGE) {
      await entries.addPieces(oid, head.kind, head.size, deflatedLoose(objectsDir, format, oid, head));
      return "added";
    }
    const object = readLoose(objectsDir, oid);
    if (object === undefined) return "gone";
    if (hashObject(format, object.kind, object.data) !== oid) return "damaged";
    entries.add(oid, object.kind, object.data.length, deflate(object.data));
    return "added";
  } catch (error) {
    if (isMissing(error)) return "gone";
    if (error instanceof KvError && (error.code === "CORRUPT" || error.code === "LIMIT_EXCEEDED")) return "damaged";
    throw error;
  }
}

/** The folders stay, also empty ones: a git that is about to write into one gives up where it is taken away at that moment. */
async function removeFiles(objectsDir: string, oids: readonly Oid[]): Promise<void> {
  const slice = new TimeSlice();
  for (const oid of oids) {
    fs.rmSync(loosePath(objectsDir, oid), { force: true });
    if (slice.isOver()) await slice.pause();
  }
}
