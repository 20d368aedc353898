/**
 * Writing objects into a store. Apart from the store itself, which a command that only reads loads without all that makes
 * packs (docs/design/120-cold-code.md).
 */

import type { ObjectKind, Oid } from "../object/oid.ts";
import type { FinishedPack } from "../pack/pack-builder.ts";
import { type PackPaths, type StorePackOptions, storeFinishedPack } from "../pack/pack-install.ts";
import type { BaseSource } from "../pack/thin-bases.ts";
import { writeLooseFile } from "./loose-writer.ts";
import type { ObjectStore } from "./object-store.ts";

/**
 * Stores a pack made by a PackBuilder; a thin one is completed from `bases`, by default the store itself. `fsync` (the default): it is on disk when this
 * returns. `onName` is told its path before it is there. Returns undefined for a pack without objects. Throws BAD_OBJECT where
 * the base of a delta is missing.
 */
export function writePack(
  store: ObjectStore,
  pack: FinishedPack,
  options: StorePackOptions & { readonly bases?: BaseSource | undefined } = { fsync: true },
): PackPaths | undefined {
  const paths = storeFinishedPack(store.packDir, pack, options.bases ?? store, options);
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
