/** Making one pack of several, proved and on disk: what maintenance does in the dark before anything changes its place. */

import { type MergedPack, type MergeOptions, mergePacks } from "../pack/pack-merge.ts";
import { fsyncFile } from "../pack/temp-file.ts";
import { verifyPack } from "../pack/verify-pack.ts";

/**
 * Puts the objects of the packs at `paths`, older ones first, into a new one in the folder of the options: each object in it was read and compared
 * with its id, and pack and index are on disk, when this resolves. Their names there are not. Rejects as {@link mergePacks} and
 * {@link verifyPack} do.
 */
export type Combine = (paths: readonly string[], options: MergeOptions) => Promise<MergedPack>;

/** Combines packs in this thread, in slices. */
export const combineHere: Combine = async (paths, options) => {
  const merged = await mergePacks(paths, options);
  // Copies are checked by their checksums. That each is the object it is taken for shows only when all are read again: it
  // takes as long as the copying, and what comes next cannot be undone.
  await verifyPack(merged.packPath, options.format, options.signal, options.onStep);
  for (const file of [merged.packPath, merged.idxPath]) fsyncFile(file);
  return merged;
};
