/**
 * Removes what writers that were killed have left in an object folder: temporary files, quarantines, what kept their packs, and
 * packs whose index never came or is gone already.
 *
 * A file in use is written to all the time, so one that was not touched for a day is nobody's. `git gc` would sweep most of
 * these after two weeks (gc.pruneExpire), with a figure made for objects that a reference may still come to name; a
 * temporary file has no such hope. A pack without an index may be one that a person is copying in, which takes longer: those
 * get the two weeks.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { isMissing } from "../disk.ts";
import { readDirIfThere } from "./loose.ts";
import { isAbandonedKeep } from "./pack-keep.ts";
import { sweepQuarantines } from "./quarantine.ts";

const DAY = 24 * 60 * 60_000;
/** For packs without an index. */
const TWO_WEEKS = 14 * DAY;

/** Removes what is old enough at `now` (milliseconds); returns how many files and folders. */
export function sweepLeftovers(objectsDir: string, now: number): number {
  let removed = sweepQuarantines(objectsDir, DAY, now);
  const packDir = path.join(objectsDir, "pack");
  const names = readDirIfThere(packDir);
  const present = new Set(names);
  for (const name of names) {
    const file = path.join(packDir, name);
    if (name.startsWith("tmp_") || name.startsWith(".tmp-")) removed += removeOld(file, DAY, now);
    else if (name.endsWith(".keep") && isAbandonedKeep(file)) removed += removeOld(file, DAY, now);
    else if (isWithoutIndex(name, present)) removed += removeOld(file, TWO_WEEKS, now);
  }
  for (const name of readDirIfThere(objectsDir)) {
    if (!/^[0-9a-f]{2}$/.test(name)) continue;
    for (const inner of readDirIfThere(path.join(objectsDir, name))) {
      if (inner.startsWith("tmp_obj_")) removed += removeOld(path.join(objectsDir, name, inner), DAY, now);
    }
  }
  return removed;
}

/** Part of a pack that has neither an index nor anybody who keeps it. */
function isWithoutIndex(name: string, present: ReadonlySet<string>): boolean {
  const [, stem] = /^(pack-[0-9a-f]{40,64})\.(?:pack|rev|bitmap)$/.exec(name) ?? [];
  return stem !== undefined && !present.has(`${stem}.idx`) && !present.has(`${stem}.keep`);
}

/** Removes a file that was not written to for `grace` milliseconds; returns how many that were. */
export function removeOld(file: string, grace: number, now: number): number {
  try {
    const stat = fs.lstatSync(file);
    if (!stat.isFile() || now - stat.mtimeMs < grace) return 0;
    fs.unlinkSync(file);
    return 1;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
}
