/**
 * Writing objects into a store. Apart from the store itself, which a command that only reads loads without all that makes
 * packs (docs/design/120-cold-code.md).
 */

import { atOnce } from "../../time-slice.ts";
import type { ObjectKind, Oid } from "../object/oid.ts";
import type { FinishedPack } from "../pack/pack-builder.ts";
import { type PackPaths, type StorePackOptions, storePackInSteps } from "../pack/pack-install.ts";
import type { BaseSource } from "../pack/thin-bases.ts";
import { writeLooseFile } from "./loose-writer.ts";
import type { ObjectStore } from "./object-store.ts";

type WritePackOptions = StorePackOptions & { readonly bases?: BaseSource | undefined };

/**
 * Stores a pack made by a PackBuilder; a thin one is completed from `bases`, by default the store itself. `fsync` (the default): it is on disk when this
 * returns. `onName` is told its path before it is there. Returns undefined for a pack without objects. Throws BAD_OBJECT where
 * the base of a delta is missing.
 */
export function writePack(
  store: ObjectStore,
  pack: FinishedPack,
  options: WritePackOptions = { fsync: true },
): PackPaths | undefined {
  return atOnce(writePackInSteps(store, pack, options));
}

/** As {@link writePack}, yielding now and then so that others may run. */
export function* writePackInSteps(
  store: ObjectStore,
  pack: FinishedPack,
  options: WritePackOptions,
): Generator<void, PackPaths | undefined> {
  const paths = yield* storePackInSteps(store.packDir, pack, options.bases ?? store, options);
  if (paths !== undefined) store.addPack(paths);
  return paths;
}

/** Writes one loose object and returns its id. `fsync` (the default): it is on disk when this returns. */
export function writeLoose(
  store: ObjectStore,
  kind: ObjectKind,
  data: Uint8Array,
  options: { fsync: boolean } = { fsync: true },
): Oid {
  store.expectLoose();
  return writeLooseFile(store.objectsDir, store.format, kind, data, options);
}
