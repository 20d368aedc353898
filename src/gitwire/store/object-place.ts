/** Where a store's objects are, as plain values, for another thread. */

import { objectFormat } from "../object/oid.ts";
import { ObjectStore } from "./object-store.ts";

export interface ObjectPlace {
  readonly objectsDir: string;
  readonly format: string;
  readonly alternates: readonly string[];
}

/** Another view of the objects at `place`. */
export function storeAt({ objectsDir, format, alternates }: ObjectPlace): ObjectStore {
  return new ObjectStore(objectsDir, objectFormat(format), { alternates });
}
