/**
 * Takes back what completing thin packs costs where the bases are large (docs/design/144-storage-of-large-values.md).
 *
 * A pack must hold the bases of its deltas, so a push that changes 13 KB in each of 400 pieces brings 5 MB and leaves 105 MB. Here
 * the packs that hold the same large entries are combined, each entry once, as a roll-up does it: 5 MB stay. That rewrites the
 * pack with the originals, so it is done where the copies are worth it.
 */

import * as fs from "node:fs";
import { KvError } from "../../errors.ts";
import { TimeSlice } from "../../time-slice.ts";
import { isMissing } from "../disk.ts";
import { OidTable } from "../object/oid-table.ts";
import { Pack } from "../pack/pack-reader.ts";
import { takeGcLock } from "./gc-lock.ts";
import { combinePacks, type RollUp, type RollUpOptions } from "./maintenance.ts";
import type { ObjectStore } from "./object-store.ts";

/** Entries from this size on are looked for in other packs. */
const LARGE_ENTRY = 16 * 1024;
/** Packs of more objects are not searched for copies: rolling up deals with them. */
const MOST_OBJECTS = 200_000;
/** Copies of fewer bytes stay, and those that make up a smaller part of what would be written anew: much more is rewritten for more. */
const LEAST_COPIES = 128 * 1024;
const LEAST_SHARE = 512;
const LARGE_GROUP = 1024 * 1024 * 1024;
const LARGE_GROUP_SHARE = 8;
/** Most objects of packs that are combined: 75 bytes of memory each. */
const MOST_COMBINED = 2_000_000;

/** Finds packs that are worth combining. Remembers the packs it has looked at, so that only new ones cost anything. */
export class CopyFinder {
  readonly #store: ObjectStore;
  readonly #leastShare: number;
  /** By path of a pack that was looked at: the packs that hold some of its large entries too. */
  readonly #known = new Map<string, Set<string>>();

  /** Copies are worth it from one part in `leastShare` of what would be written anew. */
  constructor(store: ObjectStore, leastShare: number = LEAST_SHARE) {
    this.#store = store;
    this.#leastShare = leastShare;
  }

  /** Whether packs came or went since the last look. */
  isStale(): boolean {
    const packs = this.#store.replaceablePacks();
    return packs.length !== this.#known.size || packs.some(({ path }) => !this.#known.has(path));
  }

  /** Paths of packs that should become one, older first; undefined where there are none. */
  async find(signal?: AbortSignal): Promise<readonly string[] | undefined> {
    const paths = this.#store.replaceablePacks().map(({ path }) => path);
    await this.#learn(paths, signal);
    for (const path of paths) {
      const group = [path, ...this.#known.get(path)!];
      if (group.length > 1 && this.#isWorthIt(group)) return group.sort((a, b) => modified(a) - modified(b));
    }
    return undefined;
  }

  async #learn(paths: readonly string[], signal: AbortSignal | undefined): Promise<void> {
    const slice = new TimeSlice();
    const present = new Set(paths);
    for (const gone of [...this.#known.keys()].filter((path) => !present.has(path))) {
      this.#known.delete(gone);
      for (const partners of this.#known.values()) partners.delete(gone);
    }
    const fresh = paths.filter((path) => !this.#known.has(path));
    for (const path of fresh) this.#known.set(path, new Set());
    for (const path of fresh) {
      for (const partner of await this.#partnersOf(path, paths, slice, signal)) {
        this.#known.get(path)!.add(partner);
        this.#known.get(partner)!.add(path);
      }
    }
  }

  async #partnersOf(
    path: string,
    others: readonly string[],
    slice: TimeSlice,
    signal: AbortSignal | undefined,
  ): Promise<string[]> {
    const large = largeEntries(path, this.#store);
    if (large.length === 0) return [];
    const found: string[] = [];
    for (const other of others) {
      if (other === path) continue;
      if (withPack(other, this.#store, (pack) => holdsAny(pack, large)) === true) found.push(other);
      signal?.throwIfAborted();
      if (slice.isOver()) await slice.pause();
    }
    return found;
  }

  /** Counts the bytes that are there more than once. */
  #isWorthIt(group: readonly string[]): boolean {
    const seen = new OidTable(this.#store.format);
    let copies = 0;
    let bytes = 0;
    for (const path of group) {
      bytes += sizeOf(path);
      for (const { id, length } of largeEntries(path, this.#store)) {
        const before = seen.size;
        if (seen.addRaw(id, 0) < before) copies += length;
      }
    }
    const share = bytes > LARGE_GROUP ? Math.min(LARGE_GROUP_SHARE, this.#leastShare) : this.#leastShare;
    return copies >= Math.max(LEAST_COPIES, bytes / share);
  }
}

/**
 * Combines packs of the store that hold the same large entries, where that is worth it. Lets others run meanwhile. Rejects as
 * rollUp does; the store is then as it was.
 */
export async function foldCopies(
  store: ObjectStore,
  options: Pick<RollUpOptions, "commonDir" | "combine" | "signal"> = {},
  finder = new CopyFinder(store),
): Promise<RollUp> {
  const { commonDir, signal } = options;
  if ((await finder.find(signal)) === undefined) return { kind: "nothing" };
  const lock = commonDir === undefined ? { release() {} } : takeGcLock(commonDir);
  if (lock === undefined) return { kind: "busy" };
  try {
    // Whoever held the lock before may have changed the packs.
    store.refresh();
    const group = await finder.find(signal);
    return group === undefined ? { kind: "nothing" } : await combinePacks(store, group, options);
  } finally {
    lock.release();
  }
}

interface LargeEntry {
  readonly id: Buffer;
  /** Bytes of the entry as stored. */
  readonly length: number;
}

function largeEntries(path: string, store: ObjectStore): readonly LargeEntry[] {
  if (sizeOf(path) < LARGE_ENTRY) return [];
  const entries = withPack(path, store, (pack) => {
    if (pack.count > MOST_OBJECTS) return [];
    const found: LargeEntry[] = [];
    const order = pack.order();
    for (let rank = 0; rank < order.offsets.length; rank++) {
      const length = order.endOf(rank) - order.offsets[rank]!;
      if (length < LARGE_ENTRY) continue;
      found.push({ id: Buffer.from(pack.index.oid(order.positionOf(rank)), "hex"), length });
    }
    return found;
  });
  return entries ?? [];
}

function holdsAny({ index }: Pack, entries: readonly LargeEntry[]): boolean {
  return index.count <= MOST_COMBINED && entries.some(({ id }) => index.findRaw(id, 0) >= 0);
}

/** Uses a pack of its own: the store's would be left with all of them open. Undefined where it is gone or damaged. */
function withPack<T>(path: string, store: ObjectStore, use: (pack: Pack) => T): T | undefined {
  const pack = new Pack(path, store.format);
  try {
    return use(pack);
  } catch (error) {
    if (isMissing(error) || (error instanceof KvError && error.code === "CORRUPT")) return undefined;
    throw error;
  } finally {
    pack.close();
  }
}

const sizeOf = (path: string): number => fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0;
const modified = (path: string): number => fs.statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
