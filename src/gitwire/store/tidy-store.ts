/** Housekeeping of an object folder that is due, for whoever has just written to it (git: `git maintenance run --auto`). */

import type { ObjectFormat } from "../object/oid.ts";
import { hasManyLoose } from "./loose-count.ts";
import type { ObjectStore } from "./object-store.ts";

/** What is tidied; a Repository will do. */
interface Untidy {
  readonly objects: ObjectStore;
  readonly objectsDir: string;
  readonly commonDir: string;
  readonly format: ObjectFormat;
  /** Loose objects that may lie about. */
  readonly looseLimit: number;
}

export interface TidyOptions {
  /** Packs that may lie side by side. */
  readonly maxPacks: number;
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly signal?: AbortSignal;
}

/**
 * Packs loose objects and rolls up packs where there are many, and sweeps what killed writers left. Costs one comparison and one look
 * into a folder else. Rejects as packLoose and rollUp do.
 */
export async function tidyStore(repo: Untidy, { maxPacks, now, signal }: TidyOptions): Promise<void> {
  const { objects, objectsDir, commonDir, format, looseLimit } = repo;
  const manyLoose = hasManyLoose(objectsDir, format, looseLimit);
  if (!manyLoose && objects.replaceablePacks().length <= maxPacks) return;
  const common = { commonDir, ...(signal !== undefined && { signal }) };
  if (manyLoose) {
    const { packLoose } = await import("./pack-loose.ts");
    await packLoose(objects, { ...common, maxLoose: looseLimit });
  }
  const { rollUp } = await import("./maintenance.ts");
  await rollUp(objects, { ...common, maxPacks });
  const { sweepLeftovers } = await import("./leftovers.ts");
  sweepLeftovers(objectsDir, now);
}
