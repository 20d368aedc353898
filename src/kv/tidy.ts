/** Housekeeping after a verb, when its answer is out: nobody waits for it, and nothing it meets makes the verb fail. */

import { LIMITS } from "../limits.ts";
import type { Workspace } from "./workspace.ts";

/**
 * Rolls up the repository's packs where there are many, and sweeps what killed writers left. Costs one comparison else. As with
 * git, `gc.auto = 0` or `maintenance.auto = false` turns it off.
 */
export async function tidyUp({ repo, around }: Workspace): Promise<void> {
  const { signal, clock } = around;
  try {
    if (repo.objects.replaceablePacks().length <= LIMITS.packs || !repo.isAutoMaintained) return;
    const { rollUp } = await import("../gitwire/store/maintenance.ts");
    await rollUp(repo.objects, { commonDir: repo.commonDir, signal });
    const { sweepLeftovers } = await import("../gitwire/store/leftovers.ts");
    sweepLeftovers(repo.objectsDir, clock.now());
  } catch {
    // What was written stands whatever comes of this: the next write tries again, and a damaged pack shows where it is read.
  }
}
