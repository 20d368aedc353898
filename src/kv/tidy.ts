/** Housekeeping after a verb, when its answer is out: nobody waits for it, and nothing it meets makes the verb fail. */

import { hasManyLoose } from "../gitwire/store/loose-count.ts";
import { LIMITS } from "../limits.ts";
import type { Workspace } from "./workspace.ts";

/**
 * Packs loose objects and rolls up packs where there are many, and sweeps what killed writers left. Costs one comparison and one
 * look into a folder else. As with git, `gc.auto = 0` or `maintenance.auto = false` turns it off.
 */
export async function tidyUp({ repo, around }: Workspace): Promise<void> {
  const { signal, clock } = around;
  try {
    const { objects, objectsDir, format, commonDir } = repo;
    const manyLoose = hasManyLoose(objectsDir, format, repo.looseLimit);
    if ((!manyLoose && objects.replaceablePacks().length <= LIMITS.packs) || !repo.isAutoMaintained) return;
    if (manyLoose) {
      const { packLoose } = await import("../gitwire/store/pack-loose.ts");
      await packLoose(objects, { commonDir, signal, maxLoose: repo.looseLimit });
    }
    const { rollUp } = await import("../gitwire/store/maintenance.ts");
    await rollUp(objects, { commonDir, signal });
    const { sweepLeftovers } = await import("../gitwire/store/leftovers.ts");
    sweepLeftovers(objectsDir, clock.now());
  } catch {
    // What was written stands whatever comes of this: the next write tries again, and a damaged pack shows where it is read.
  }
}
