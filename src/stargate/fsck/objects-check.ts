/**
 * The objects: each that is stored is what its id says; everything the refs lead to is here and keeps to git's object rules, and so it is
 * with what is stored and no ref leads to. Pushes count on it: what was here before is not looked at again.
 */

import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { isMissing } from "../../gitwire/disk.ts";
import { hashObject, type ObjectKind } from "../../gitwire/object/oid.ts";
import { OidTable } from "../../gitwire/object/oid-table.ts";
import { PackIndex } from "../../gitwire/pack/pack-index.ts";
import { verifyPack } from "../../gitwire/pack/verify-pack.ts";
import { type Disconnection, findDisconnection, type ObjectsToFollow } from "../../gitwire/protocol/connectivity.ts";
import { fsckRules } from "../../gitwire/protocol/fsck-config.ts";
import type { Ref } from "../../gitwire/refs/ref-snapshot.ts";
import type { Repository } from "../../gitwire/repo.ts";
import { readDirIfThere, readLoose } from "../../gitwire/store/loose.ts";
import { TimeSlice } from "../../time-slice.ts";
import { attempt, type Report, reportThrown } from "./fault.ts";

export interface ObjectsCheck {
  readonly report: Report;
  readonly progress: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Reads every stored object; returns the ids of all. */
export async function checkStored(repo: Repository, { report, progress, signal }: ObjectsCheck): Promise<OidTable> {
  const { rawSize } = repo.format;
  const stored = new OidTable(repo.format);
  const packs = repo.objects.ownPacks();
  for (const [at, pack] of packs.entries()) {
    progress(`reading pack ${at + 1} of ${packs.length}`);
    try {
      const count = await verifyPack(pack.path, repo.format, signal);
      const ids = new PackIndex(pack.path.replace(/\.pack$/, ".idx"), repo.format).loadIds();
      for (let i = 0; i < count; i++) stored.addRaw(ids, i * rawSize);
    } catch (thrown) {
      signal.throwIfAborted();
      // A daemon beside us may combine packs meanwhile; what it removes is in another one.
      if (!isMissing(thrown)) reportThrown("objects", path.basename(pack.path), report, thrown);
    }
  }
  const slice = new TimeSlice();
  for (const folder of readDirIfThere(repo.objectsDir)) {
    if (!/^[0-9a-f]{2}$/.test(folder)) continue;
    for (const rest of readDirIfThere(path.join(repo.objectsDir, folder))) {
      const oid = folder + rest;
      if (oid.length !== repo.format.hexSize) continue;
      stored.add(oid);
      attempt("objects", oid, report, () => checkLoose(repo, oid));
      if (slice.isOver()) await slice.pause();
      signal.throwIfAborted();
    }
  }
  return stored;
}

function checkLoose({ objectsDir, format }: Repository, oid: string): void {
  const object = readLoose(objectsDir, oid);
  if (object === undefined) return;
  const actual = hashObject(format, object.kind, object.data);
  if (actual !== oid) throw new KvError("CORRUPT", `its file holds ${actual}`);
}

/**
 * Walks from every ref to everything it leads to, then from what is `stored` and none leads to. One walk tells whether all is here and sound;
 * only if not, each ref is walked by itself.
 */
export async function checkConnected(
  repo: Repository,
  refs: readonly Ref[],
  stored: OidTable,
  { report, progress, signal }: ObjectsCheck,
): Promise<void> {
  const { objects, format } = repo;
  const newKind = (bytes: Buffer, at: number): ObjectKind | undefined =>
    objects.kind(bytes.hexSlice(at, at + format.rawSize));
  const view = { objects, newKind, oldKind: () => undefined, fsck: fsckRules(repo.config, "receive"), signal };
  const problem = async (tips: readonly Ref[], others?: ObjectsToFollow): Promise<KvError | undefined> => {
    try {
      const oids = tips.map(({ oid }) => oid);
      const found = await findDisconnection(view, oids, others);
      return found === undefined ? undefined : new KvError("CORRUPT", describe(found));
    } catch (thrown) {
      signal.throwIfAborted();
      if (thrown instanceof KvError && thrown.code !== "BUG") return thrown;
      throw thrown;
    }
  };
  progress(`following ${refs.length} refs`);
  const all = {
    ids: { raw: stored.rawIds(), format },
    received: stored.size,
    kind: (number: number) => objects.kind(stored.oid(number)),
    oid: (number: number) => stored.oid(number),
  };
  if ((await problem(refs, all)) === undefined) return;
  let isOfRef = false;
  for (const ref of refs) {
    signal.throwIfAborted();
    const fault = await problem([ref]);
    if (fault === undefined) continue;
    isOfRef = true;
    report({ part: "objects", subject: ref.name, code: fault.code, message: `it leads to ${fault.message}` });
  }
  if (isOfRef) return;
  const fault = await problem(refs, all);
  if (fault === undefined) return;
  const message = `an object that no ref needs leads to ${fault.message}`;
  report({ part: "objects", subject: "unreachable", code: fault.code, message });
}

function describe({ oid, expected, found }: Disconnection): string {
  return `${oid}, ${found === undefined ? "which is not here" : `which is a ${found}, not a ${expected}`}`;
}
