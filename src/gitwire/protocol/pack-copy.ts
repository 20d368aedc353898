/**
 * Whole packs taken over into an answer, byte for byte (git calls it "pack-reused"). Where every object of a stored pack is to
 * be sent, its entries follow each other in the answer as they do in the pack: deltas name their base by distance or by id, and
 * both stay true. A clone of a store that is mostly one pack then costs a read of that pack.
 */

import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import type { TimeSlice } from "../../time-slice.ts";
import { isMissing } from "../disk.ts";
import { newHasher } from "../object/oid.ts";
import { PACK_HEADER_BYTES, PackFile } from "../pack/pack-file.ts";
import type { Pack } from "../pack/pack-reader.ts";
import type { ListedObjects, Span } from "./listed-objects.ts";

/** Packs of fewer objects are not worth the look at each of them. */
const LEAST_OBJECTS = 256;
/** Bytes read at once: as much as two packets of the sideband hold. */
const CHUNK = 2 * (LIMITS.packet - 5);

/** A pack that is taken over. */
export interface PackCopy {
  readonly pack: Pack;
  readonly file: PackFile;
  /** Its objects where the list keeps them by their places in it; otherwise the number in the list of each, in the order of its index. */
  readonly listed: Span | Uint32Array;
}

/**
 * The pack where it can be taken over: all its objects are listed, and `isFree` says of each that nothing has been written for it.
 * It is open then, and the caller releases its file; undefined where it cannot, or is gone.
 */
export async function copyOf(
  pack: Pack,
  objects: ListedObjects,
  isFree: (number: number) => boolean,
  slice: TimeSlice,
): Promise<PackCopy | undefined> {
  const { rawSize } = pack.format;
  const file = new PackFile(pack.path, pack.format);
  try {
    const { count } = pack;
    if (count < LEAST_OBJECTS || count > objects.size) return undefined;
    const span = objects.spanIn(pack);
    if (span !== undefined && span.size < count) return undefined;
    file.open(span?.index ?? pack.index);
    // Spans share no objects, and whatever is in one is written with it or after the copies.
    if (span !== undefined) return { pack, file, listed: span };
    const ids = pack.index.loadIds();
    const numbers = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      if (slice.isOver()) await slice.pause();
      const number = objects.indexOfRaw(ids, i * rawSize);
      if (number < 0 || !isFree(number)) {
        file.release();
        return undefined;
      }
      numbers[i] = number;
    }
    return { pack, file, listed: numbers };
  } catch (error) {
    file.release();
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** The entries of the pack, in chunks, each of them good until the next is asked for. Throws CORRUPT at the end where the pack is not the one its checksum names. */
export function* entriesOf({ pack, file }: PackCopy): Generator<Buffer> {
  const { rawSize } = pack.format;
  const { end } = file;
  const hasher = newHasher(pack.format);
  const memory = Buffer.allocUnsafeSlow(Math.min(CHUNK, end));
  const edge = Buffer.alloc(Math.max(PACK_HEADER_BYTES, rawSize));
  file.readFully(edge, PACK_HEADER_BYTES, 0, PACK_HEADER_BYTES);
  hasher.update(edge.subarray(0, PACK_HEADER_BYTES));
  for (let at = PACK_HEADER_BYTES; at < end; at += CHUNK) {
    const chunk = memory.subarray(0, Math.min(CHUNK, end - at));
    file.readFully(chunk, chunk.length, at, at);
    hasher.update(chunk);
    yield chunk;
  }
  file.readFully(edge, rawSize, end, end);
  if (edge.subarray(0, rawSize).equals(hasher.digest() as Buffer)) return;
  throw new KvError("CORRUPT", `${pack.path}: its checksum is not that of its entries`);
}
