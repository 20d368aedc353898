/** Where objects are: those of a store, as plain values for another thread, and one of them in it. */

import { objectFormat } from "../object/oid.ts";
import type { ObjectMemory } from "../pack/object-cache.ts";
import type { Pack } from "../pack/pack-reader.ts";
import { ObjectStore } from "./object-store.ts";

export interface ObjectPlace {
  readonly objectsDir: string;
  readonly format: string;
  readonly alternates: readonly string[];
}

export interface ObjectStoreOptions {
  /** Object folders to read from besides those in info/alternates (GIT_ALTERNATE_OBJECT_DIRECTORIES). */
  readonly alternates?: readonly string[];
  /** Bytes of objects read lately that are kept. */
  readonly cacheBytes?: number;
  /** Where they are kept, for a cache that others fill as well. */
  readonly cache?: ObjectMemory;
  /**
   * Nobody else adds objects once the store is in use, so that a miss asks the disk nothing. A push of 15,000 operations cost
   * 80,000 looks at the disk before.
   */
  readonly sealed?: boolean;
}

/** Where an object is stored; `position` is its place in the pack's index. */
export type ObjectLocation =
  | { readonly kind: "packed"; readonly pack: Pack; readonly offset: number; readonly position: number }
  | { readonly kind: "loose"; readonly objectsDir: string };

/** Another view of the objects at `place`. */
export function storeAt({ objectsDir, format, alternates }: ObjectPlace): ObjectStore {
  return new ObjectStore(objectsDir, objectFormat(format), { alternates });
}
