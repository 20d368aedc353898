/** Reads every object of a stored pack and compares it with its id (what `git verify-pack` does). */

import { compareRuns } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { BufferMeter } from "../../memory.ts";
import { TimeSlice } from "../../time-slice.ts";
import { ObjectBuffer } from "../object/object-buffer.ts";
import { hashObjectRaw, type ObjectFormat } from "../object/oid.ts";
import { applyDelta, deltaSizes } from "./delta.ts";
import { ObjectCache } from "./object-cache.ts";
import { ENTRY, entryKind, kindType } from "./pack-entry.ts";
import type { PackOrder } from "./pack-order.ts";
import { Pack } from "./pack-reader.ts";
import { PackSweep } from "./pack-sweep.ts";
import { RecentObjects } from "./recent-objects.ts";

/** Bytes of delta bases kept meanwhile, and of objects that were read last. */
const CACHE_BYTES = 8 * 1024 * 1024;
const RECENT_BYTES = 4 * 1024 * 1024;
/** Larger objects are read by themselves. */
const SMALL = 64 * 1024;

/**
 * Verifies the pack at `path`, in slices, at the end of each of which `onStep` is called; returns the number of its objects. Rejects with CORRUPT,
 * or the signal's reason.
 */
export async function verifyPack(
  path: string,
  format: ObjectFormat,
  signal?: AbortSignal,
  onStep?: () => void,
): Promise<number> {
  const slice = new TimeSlice();
  const recent = spare ?? new RecentObjects(RECENT_BYTES);
  spare = undefined;
  const pack = new Pack(path, format, new ObjectCache(CACHE_BYTES));
  try {
    const order = pack.order();
    const ids = pack.index.loadIds();
    const reading = new Reading(pack, order, recent);
    for (let rank = 0; rank < order.offsets.length; rank++) {
      const at = order.positionOf(rank) * format.rawSize;
      if (compareRuns(reading.idOf(rank), 0, ids, at, format.rawSize) !== 0) {
        const oid = ids.hexSlice(at, at + format.rawSize);
        throw new KvError("CORRUPT", `${path}: the entry at ${order.offsets[rank]} does not hold ${oid}`);
      }
      if (slice.isOver()) {
        await slice.pause();
        signal?.throwIfAborted();
        onStep?.();
      }
    }
    reading.close();
    return order.offsets.length;
  } finally {
    pack.close();
    recent.clear();
    spare = recent;
  }
}

/** What the last one kept objects in: a busy Stargate verifies a pack each second. */
let spare: RecentObjects | undefined;

/** Makes the objects of a pack one after the other, as they lie there: most deltas are of an object that came a short while before. */
class Reading {
  readonly #pack: Pack;
  readonly #order: PackOrder;
  readonly #sweep: PackSweep;
  readonly #recent: RecentObjects;
  readonly #types: Uint8Array;
  readonly #entry: ObjectBuffer;
  readonly #made: ObjectBuffer;
  readonly #meter = new BufferMeter();

  constructor(pack: Pack, order: PackOrder, recent: RecentObjects) {
    this.#pack = pack;
    this.#order = order;
    this.#recent = recent;
    this.#sweep = new PackSweep(pack);
    this.#types = new Uint8Array(order.offsets.length);
    this.#entry = new ObjectBuffer(pack.format, SMALL + 1);
    this.#made = new ObjectBuffer(pack.format, SMALL);
  }

  /** Raw id of what the entry of that rank makes; good until the next call. Called for one rank after the other. */
  idOf(rank: number): Buffer {
    return this.#smallId(rank) ?? this.#largeId(rank);
  }

  close(): void {
    this.#sweep.release();
  }

  #smallId(rank: number): Buffer | undefined {
    const offset = this.#order.offsets[rank]!;
    const entry = this.#sweep.smallEntry(offset, this.#entry.data);
    if (entry === undefined) return undefined;
    const { type, baseDistance } = entry.header;
    if (entryKind(type) !== undefined) return this.#note(rank, type, this.#entry, entry.data.length);
    if (type !== ENTRY.ofsDelta) return undefined;
    const baseRank = this.#order.rank(offset - baseDistance);
    const base = this.#recent.get(baseRank);
    return base === undefined ? undefined : this.#deltaId(rank, this.#types[baseRank]!, base, entry.data);
  }

  #deltaId(rank: number, type: number, base: Buffer, delta: Buffer): Buffer | undefined {
    return this.#pack.open().decoding(this.#order.offsets[rank]!, () => {
      if (deltaSizes(delta).targetSize > SMALL) return undefined;
      const { length } = applyDelta(base, delta, LIMITS.objectBytes, this.#made.data);
      return this.#note(rank, type, this.#made, length);
    });
  }

  #note(rank: number, type: number, object: ObjectBuffer, size: number): Buffer {
    this.#types[rank] = type;
    this.#recent.add(rank, object.data, size);
    return object.id(entryKind(type)!, size);
  }

  #largeId(rank: number): Buffer {
    const { kind, data } = this.#pack.read(this.#order.offsets[rank]!);
    this.#meter.add(data.length);
    this.#types[rank] = kindType(kind);
    this.#recent.add(rank, data, data.length);
    return hashObjectRaw(this.#pack.format, kind, data);
  }
}
