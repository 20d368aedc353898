/** The pack of a push to the mirror: what the mirror lacks, made once and kept so that it can be sent again. */

import * as path from "node:path";
import type { Oid } from "../../gitwire/object/oid.ts";
import { Spill } from "../../gitwire/pack/spill.ts";
import { CommitGraph } from "../../gitwire/protocol/commit-graph.ts";
import { listObjects } from "../../gitwire/protocol/object-list.ts";
import { newStatistics, packObjects } from "../../gitwire/protocol/pack-objects.ts";
import type { RequestBody } from "../../gitwire/protocol/transport.ts";
import type { ObjectStore } from "../../gitwire/store/object-store.ts";

/** Bytes of a pack held in memory; more goes to a temporary file. */
const IN_MEMORY = 16 * 1024 * 1024;

export interface PackToSend extends RequestBody {
  readonly thin: boolean;
  /** Frees memory and the temporary file. */
  dispose(): void;
}

/** Packs what can be reached from `wants` and not from `haves`, of which those that are not here are passed over. */
export async function packFor(
  objects: ObjectStore,
  wants: readonly Oid[],
  haves: readonly Oid[],
  thin: boolean,
): Promise<PackToSend> {
  return (await packUpTo(objects, wants, haves, thin, Number.POSITIVE_INFINITY))!;
}

/** {@link packFor}, or undefined where that is more than `most` bytes. */
export async function packUpTo(
  objects: ObjectStore,
  wants: readonly Oid[],
  haves: readonly Oid[],
  thin: boolean,
  most: number,
): Promise<PackToSend | undefined> {
  const known = [...new Set(haves)].filter((oid) => objects.has(oid));
  const list = await listObjects(objects, new CommitGraph(objects), { wants, haves: known, tags: [] });
  const statistics = newStatistics(list.objects.size);
  const spill = new Spill(path.join(objects.objectsDir, "pack"), IN_MEMORY);
  try {
    for await (const chunk of packObjects(objects, list, { ofsDelta: true, thin }, statistics)) {
      spill.append(chunk);
      if (spill.length <= most) continue;
      spill.dispose();
      return undefined;
    }
  } catch (error) {
    spill.dispose();
    throw error;
  }
  return { thin, byteLength: spill.length, chunks: () => spill.read(), dispose: () => spill.dispose() };
}
