/**
 * Whole packs taken over into an answer, byte for byte (git calls it "pack-reused"). Where every object of a stored pack is to
 * be sent, its entries follow each other in the answer as they do in the pack: deltas name their base by distance or by id, and
 * both stay true. A clone of a store that is mostly one pack then costs a read of that pack.
 */

import { KvError } from "../../errors.ts";
import type { TimeSlice } from "../../time-slice.ts";
import { isMissing } from "../disk.ts";
import { newHasher } from "../object/oid.ts";
import type { OidTable } from "../object/oid-table.ts";
import { PACK_HEADER_BYTES, PackFile } from "../pack/pack-file.ts";
import type { Pack } from "../pack/pack-reader.ts";

/** Packs of fewer objects are not worth the look at each of them. */
const LEAST_OBJECTS = 256;
/** Bytes read at once. */
const CHUNK = 128 * 1024;

/** A pack that is taken over. */
export interface PackCopy {
  readonly pack: Pack;
  readonly file: PackFile;
  /** Number in the list of each object of the pack, in the order of its index. */
  readonly numbers: Uint32Array;
}

/**
 * The pack where it can be taken over: all its objects are listed, and `isFree` says of each that nothing has been written for it.
 * It is open then, and the caller releases its file; undefined where it cannot, or is gone.
 */
export async function copyOf(
  pack: Pack,
  objects: OidTable,
  isFree: (number: number) => boolean,
  slice: TimeSlice,
): Promise<PackCopy | undefined> {
  const { rawSize } = pack.format;
  const file = new PackFile(pack.path, pack.format);
  try {
    const { count } = pack;
    if (count < LEAST_OBJECTS || count > objects.size) return undefined;
    file.open(pack.index);
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
    return { pack, file, numbers };
  } catch (error) {
    file.release();
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** The entries of the pack, in chunks. Throws CORRUPT at the end where the pack is not the one its checksum names. */
export function* entriesOf({ pack, file }: PackCopy): Generator<Buffer> {
  const { rawSize } = pack.format;
  const { end } = file;
  const hasher = newHasher(pack.format);
  const edge = Buffer.alloc(Math.max(PACK_HEADER_BYTES, rawSize));
  file.readFully(edge, PACK_HEADER_BYTES, 0, PACK_HEADER_BYTES);
  hasher.update(edge.subarray(0, PACK_HEADER_BYTES));
  for (let at = PACK_HEADER_BYTES; at < end; at += CHUNK) {
    // A buffer of its own for each: the last one may still wait to be sent.
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK, end - at));
    file.readFully(chunk, chunk.length, at, at);
    hasher.update(chunk);
    yield chunk;
  }
  file.readFully(edge, rawSize, end, end);
  if (edge.subarray(0, rawSize).equals(hasher.digest() as Buffer)) return;
  throw new KvError("CORRUPT", `${pack.path}: its checksum is not that of its entries`);
}
