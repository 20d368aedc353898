/** Housekeeping after a verb, when its answer is out: nobody waits for it, and nothing it meets makes the verb fail. */

import * as fs from "node:fs";
import { tidyStore } from "../gitwire/store/tidy-store.ts";
import { LIMITS } from "../limits.ts";
import type { Workspace } from "./workspace.ts";

/**
 * Packs loose objects and rolls up packs where there are many, takes back the copies of large bases that a write brought, and sweeps
 * what killed writers left. Costs one comparison and one look into a folder else. As with git, `gc.auto = 0` or `maintenance.auto = false` turns it off.
 */
export async function tidyUp({ repo, around }: Workspace): Promise<void> {
  const { signal, clock } = around;
  try {
    const { objects, commonDir } = repo;
    if (!repo.isAutoMaintained) return;
    await tidyStore(repo, { maxPacks: LIMITS.packs, now: clock.now(), signal });
    if (objects.addedPacks().some(isLarge)) {
      const { CopyFinder, foldCopies } = await import("../gitwire/store/fold-copies.ts");
      await foldCopies(objects, { commonDir, signal }, new CopyFinder(objects, FOLD_SHARE));
    }
  } catch {
    // What was written stands whatever comes of this: the next write tries again, and a damaged pack shows where it is read.
  }
}

/**
 * Copies are taken back when they are one part in this many of the packs: here someone waits for the process to end, and a copy of
 * 600 KB would have 100 MB written and checked anew.
 */
const FOLD_SHARE = 16;
/** From this size on a pack may hold large objects that others hold too. */
const LARGE_PACK = 128 * 1024;

const isLarge = (file: string): boolean => (fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0) >= LARGE_PACK;
