/** Reads every object of a stored pack and compares it with its id (what `git verify-pack` does). */

import { KvError } from "../../errors.ts";
import { BufferMeter } from "../../memory.ts";
import { TimeSlice } from "../../time-slice.ts";
import { hashObjectRaw, type ObjectFormat } from "../object/oid.ts";
import { ObjectCache } from "./object-cache.ts";
import { Pack } from "./pack-reader.ts";

/** Bytes of delta bases kept meanwhile. */
const CACHE_BYTES = 32 * 1024 * 1024;

/** Verifies the pack at `path`, in slices; returns the number of its objects. Rejects with CORRUPT, or the signal's reason. */
export async function verifyPack(path: string, format: ObjectFormat, signal?: AbortSignal): Promise<number> {
  const slice = new TimeSlice();
  const meter = new BufferMeter();
  const pack = new Pack(path, format, new ObjectCache(CACHE_BYTES));
  try {
    const ids = pack.index.loadIds();
    const order = pack.order();
    for (const [rank, offset] of order.offsets.entries()) {
      const { kind, data } = pack.read(offset);
      const at = order.positionOf(rank) * format.rawSize;
      if (hashObjectRaw(format, kind, data).compare(ids, at, at + format.rawSize) !== 0) {
        const oid = ids.hexSlice(at, at + format.rawSize);
        throw new KvError("CORRUPT", `${path}: the entry at ${offset} does not hold ${oid}`);
      }
      meter.add(data.length);
      if (slice.isOver()) {
        await slice.pause();
        signal?.throwIfAborted();
      }
    }
    return order.offsets.length;
  } finally {
    pack.close();
  }
}
