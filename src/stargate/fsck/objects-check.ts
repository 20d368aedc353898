/** The objects: each that is stored is what its id says, and everything the refs lead to is here. */

import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { isMissing } from "../../gitwire/disk.ts";
import { hashObject, type ObjectKind } from "../../gitwire/object/oid.ts";
import { verifyPack } from "../../gitwire/pack/verify-pack.ts";
import { findDisconnection } from "../../gitwire/protocol/connectivity.ts";
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

/** Reads every stored object; returns how many there are. */
export async function checkStored(repo: Repository, { report, progress, signal }: ObjectsCheck): Promise<number> {
  let count = 0;
  const packs = repo.objects.ownPacks();
  for (const [at, pack] of packs.entries()) {
    progress(`reading pack ${at + 1} of ${packs.length}`);
    try {
      count += await verifyPack(pack.path, repo.format, signal);
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
      count++;
      attempt("objects", oid, report, () => checkLoose(repo, oid));
      if (slice.isOver()) await slice.pause();
      signal.throwIfAborted();
    }
  }
  return count;
}

function checkLoose({ objectsDir, format }: Repository, oid: string): void {
  const object = readLoose(objectsDir, oid);
  if (object === undefined) return;
  const actual = hashObject(format, object.kind, object.data);
  if (actual !== oid) throw new KvError("CORRUPT", `its file holds ${actual}`);
}

/** Walks from every ref to everything it leads to. One walk tells whether all is here; only if not, each ref is walked by itself. */
export async function checkConnected(repo: Repository, refs: readonly Ref[], check: ObjectsCheck): Promise<void> {
  const { objects, format } = repo;
  const newKind = (bytes: Buffer, at: number): ObjectKind | undefined =>
    objects.kind(bytes.hexSlice(at, at + format.rawSize));
  const view = { objects, newKind, oldKind: () => undefined, fsck: undefined };
  check.progress(`following ${refs.length} refs`);
  const missing = async (tips: readonly Ref[]): Promise<KvError | undefined> => {
    try {
      const found = await findDisconnection(
        view,
        tips.map(({ oid }) => oid),
      );
      if (found === undefined) return undefined;
      const { oid, expected, found: kind } = found;
      const what = kind === undefined ? "which is not here" : `which is a ${kind}, not a ${expected}`;
      return new KvError("CORRUPT", `it leads to ${oid}, ${what}`);
    } catch (thrown) {
      if (thrown instanceof KvError && thrown.code !== "BUG") return thrown;
      throw thrown;
    }
  };
  if ((await missing(refs)) === undefined) return;
  for (const ref of refs) {
    check.signal.throwIfAborted();
    const fault = await missing([ref]);
    if (fault !== undefined) {
      const { code, message } = fault;
      check.report({ part: "objects", subject: ref.name, code, message });
    }
  }
}
