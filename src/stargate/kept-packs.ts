/**
 * Small packs ride in the journal (docs/design/151-packs-in-the-journal.md): the row of a push carries its pack and index, and the one
 * fsync of the row makes all of it last. The files in objects/pack are written without waiting for the disk. A power cut may
 * take them away or damage them; start-up then writes them again from the journal. They are let go of when maintenance has put
 * their objects into a larger pack, which it syncs, or, where nobody does that, when there are too many and they are synced.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { readFileIfThere, systemDisk } from "../gitwire/disk.ts";
import { randomSuffix } from "../gitwire/pack/temp-file.ts";
import type { Repository } from "../gitwire/repo.ts";
import type { Journal } from "./journal.ts";

type Store = Pick<Repository, "objects" | "objectsDir">;

/** Writes every kept pack again that is not as it was accepted. Returns their names. The caller is the only writer. */
export function restoreKeptPacks({ objects, objectsDir }: Store, journal: Journal): string[] {
  const folder = path.join(objectsDir, "pack");
  const restored: string[] = [];
  for (const { name } of journal.keptPacks()) {
    const kept = journal.keptPack(name);
    if (kept === undefined) continue;
    const file = path.join(folder, name);
    // The index last: it is what makes a pack visible.
    const isNew = [writeAgain(`${file}.pack`, kept.pack), writeAgain(`${file}.idx`, kept.idx)];
    if (isNew.includes(true)) restored.push(name);
  }
  if (restored.length > 0) {
    systemDisk.syncDir(folder);
    objects.refresh();
  }
  return restored;
}

/** True where `file` did not hold `bytes`. */
function writeAgain(file: string, bytes: Uint8Array): boolean {
  if (readFileIfThere(file)?.equals(bytes) === true) return false;
  const temp = path.join(path.dirname(file), `.tmp-kv-kept-${randomSuffix(6)}`);
  try {
    systemDisk.create(temp, bytes, true, 0o444);
    systemDisk.rename(temp, file);
  } catch (error) {
    fs.rmSync(temp, { force: true });
    throw error;
  }
  return true;
}

/**
 * Lets go of the packs whose files are gone, which only happens when another pack has their objects; and of all where more than
 * `most` are left, after their files were brought to disk.
 */
export function releaseKeptPacks({ objectsDir }: Pick<Store, "objectsDir">, journal: Journal, most: number): void {
  const folder = path.join(objectsDir, "pack");
  const kept = journal.keptPacks().map(({ name }) => name);
  const there = kept.filter((name) => fs.existsSync(path.join(folder, `${name}.pack`)));
  const gone = kept.filter((name) => !there.includes(name));
  if (there.length <= most) {
    if (gone.length > 0) journal.releasePacks(gone);
    return;
  }
  for (const name of there) {
    for (const ending of ["pack", "idx"]) syncIfThere(path.join(folder, `${name}.${ending}`));
  }
  systemDisk.syncDir(folder);
  journal.releasePacks(kept);
}

/** Another process may tidy up meanwhile: what it removes, it has put elsewhere. */
function syncIfThere(file: string): void {
  if (!fs.existsSync(file)) return;
  const fd = fs.openSync(file, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}
