/**
 * The packs of one object folder, kept in step with the disk: another process may add packs and remove them (fetch, gc,
 * repack) at any moment. Foreign files, packs without an index, multi-pack-index and the like are passed over.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { isMissing } from "../disk.ts";
import type { ObjectFormat } from "../object/oid.ts";
import type { ObjectCache } from "../pack/object-cache.ts";
import type { PackIndex } from "../pack/pack-index.ts";
import { Pack } from "../pack/pack-reader.ts";
import { readDirIfThere } from "./loose.ts";
import { RecentPacks } from "./recent-packs.ts";

export class PackDir {
  readonly dir: string;
  readonly #format: ObjectFormat;
  readonly #cache: ObjectCache;
  readonly #known = new Map<string, Pack>();
  /** Newest first. */
  #packs: readonly Pack[] = [];
  /** Names of packs that are not to be replaced by others, as of the last scan. */
  #pinned: ReadonlySet<string> = new Set();
  /** Packs that were put here through this object, as far as they are still here. */
  readonly recent: RecentPacks;
  #scanned = false;
  #mtime = -1;
  #scannedAt = 0;

  constructor(objectsDir: string, format: ObjectFormat, cache: ObjectCache) {
    this.dir = path.join(objectsDir, "pack");
    this.#format = format;
    this.#cache = cache;
    this.recent = new RecentPacks(format);
  }

  /** The packs known now, newest first. */
  packs(): readonly Pack[] {
    if (!this.#scanned) this.#scan();
    return this.#packs;
  }

  /** Those of {@link packs} that maintenance may replace by others with the same objects. */
  unpinned(): readonly Pack[] {
    return this.packs().filter((pack) => !this.#pinned.has(path.basename(pack.path)));
  }

  /** Looks at the disk again where the folder may have changed; true when the list of packs did change. */
  refresh(): boolean {
    if (this.#scanned && !this.#mayHaveChanged()) return false;
    return this.#scan();
  }

  /** Takes up a pack just written here, without reading the folder again; nor its index where that is at hand. */
  add(packPath: string, index?: PackIndex): Pack {
    const name = path.basename(packPath);
    let pack = this.#known.get(name);
    if (pack === undefined) {
      pack = new Pack(path.join(this.dir, name), this.#format, this.#cache, { ...(index && { index }) });
      this.#known.set(name, pack);
      this.#packs = [pack, ...this.#packs];
      if (index !== undefined) this.recent.add(pack);
    }
    return pack;
  }

  /** Forgets a pack whose files are gone. */
  drop(pack: Pack): void {
    pack.close();
    this.recent.delete(pack);
    this.#known.delete(path.basename(pack.path));
    this.#packs = this.#packs.filter((other) => other !== pack);
  }

  close(): void {
    for (const pack of this.#known.values()) pack.close();
    this.#known.clear();
    this.recent.clear();
    this.#packs = [];
    this.#scanned = false;
  }

  #mayHaveChanged(): boolean {
    const mtime = modified(this.dir);
    if (mtime !== this.#mtime) return true;
    // A change in the same tick of the file system's clock as our scan leaves no trace: not sure until that has passed.
    const tick = mtime % 1_000 === 0 ? 2_000 : 20;
    return this.#scannedAt - mtime < tick;
  }

  #scan(): boolean {
    this.#scannedAt = Date.now();
    this.#mtime = modified(this.dir);
    this.#scanned = true;
    const names = new Set(readDirIfThere(this.dir));
    const pinned = new Set<string>();
    const present = new Set<string>();
    for (const name of names) {
      if (isPin(name)) pinned.add(`${stem(name)}.pack`);
      else if (name.endsWith(".pack") && names.has(`${stem(name)}.idx`)) present.add(name);
    }
    this.#pinned = pinned;
    let changed = false;
    for (const [name, pack] of this.#known) {
      if (present.has(name)) continue;
      pack.close();
      this.recent.delete(pack);
      this.#known.delete(name);
      changed = true;
    }
    for (const name of present) {
      if (this.#known.has(name)) continue;
      this.#known.set(name, new Pack(path.join(this.dir, name), this.#format, this.#cache));
      changed = true;
    }
    if (changed) this.#packs = newestFirst(this.#known.values());
    return changed;
  }
}

/** Files beside a pack that say it is to stay as it is: kept by a person or a fetch, of a partial clone, of unreachable objects. */
export const PINS: readonly string[] = [".keep", ".promisor", ".mtimes"];

function isPin(name: string): boolean {
  return PINS.includes(name.slice(name.lastIndexOf(".")));
}

/** A name without what is behind its last dot. */
function stem(name: string): string {
  return name.slice(0, name.lastIndexOf("."));
}

function newestFirst(known: Iterable<Pack>): Pack[] {
  const packs: Pack[] = [];
  const times = new Map<Pack, number>();
  for (const pack of known) {
    packs.push(pack);
    times.set(pack, modified(pack.path));
  }
  return packs.sort((a, b) => times.get(b)! - times.get(a)!);
}

/** Modification time in milliseconds, -1 where there is no such file. */
function modified(file: string): number {
  try {
    return fs.statSync(file).mtimeMs;
  } catch (error) {
    if (isMissing(error)) return -1;
    throw error;
  }
}
