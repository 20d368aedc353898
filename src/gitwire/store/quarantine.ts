/**
 * Where the objects of a push wait until the push is accepted: a folder `.tmp-kv-incoming-XXXXXX` inside the object
 * folder, laid out like it (git: git-receive-pack, "Quarantine environment"). Refused, it goes away and nothing has happened;
 * accepted, its files are renamed into place. A crash leaves at most the folder, which {@link sweepQuarantines} removes.
 *
 * Git's own name is `tmp_objdir-incoming-XXXXXX`, and `git prune --expire=now` removes all that begins with `tmp_`, in use or not.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { assert, KvError } from "../../errors.ts";
import { isMissing } from "../disk.ts";
import type { ObjectSource } from "../object/object.ts";
import type { ObjectFormat } from "../object/oid.ts";
import { ObjectCache } from "../pack/object-cache.ts";
import { fsyncDir, PACK_TEMP, randomSuffix } from "../pack/temp-file.ts";
import { readDirIfThere } from "./loose.ts";
import { ObjectStore } from "./object-store.ts";
import { PackKeeps } from "./pack-keep.ts";
import { leaveSpare, takeSpare } from "./spare-folder.ts";

const PREFIX = ".tmp-kv-incoming-";
/** How those of `git receive-pack` begin, for sweeping. */
const GIT_PREFIX = "tmp_objdir-incoming-";
const SEEN_BYTES = 16 * 1024 * 1024;

/** A pack and its index, whole. */
export interface SmallPack {
  /** Of both files, without what follows the dot. */
  readonly name: string;
  readonly pack: Uint8Array;
  readonly idx: Uint8Array;
}

export interface QuarantineOptions {
  /** Bytes of its objects that are kept in memory at the most. */
  readonly seenBytes?: number;
  /**
   * Take over the folder of the quarantine before, and leave it to the next one: making two folders and removing them again is a large
   * part of a small push. For the one process that takes pushes; removeSpare when it ends.
   */
  readonly spare?: boolean | undefined;
}

export class Quarantine {
  /** The folder. */
  readonly dir: string;
  /** Where indexPack puts a pack. */
  readonly packDir: string;
  /** Its objects in memory: what is checked is read several times. indexPack fills it, then whoever reads. */
  readonly seen: ObjectCache;
  readonly #objectsDir: string;
  /** Whether its folder is left to the next one when it is migrated, and when it is not. */
  readonly #spare: { readonly migrated: boolean; readonly refused: boolean };
  #objects: ObjectStore | undefined;
  readonly #keeps = new PackKeeps();
  #state: "open" | "synced" | "copied" | "failed" | "migrated" | "discarded" = "open";

  private constructor(objectsDir: string, dir: string, { seenBytes, spare }: QuarantineOptions, isTaken: boolean) {
    this.#objectsDir = objectsDir;
    // What is refused leaves nothing behind, not even that.
    this.#spare = { migrated: spare === true, refused: isTaken };
    this.seen = new ObjectCache(seenBytes ?? SEEN_BYTES, { firstStay: true });
    this.dir = dir;
    this.packDir = path.join(dir, "pack");
  }

  /** Makes an empty quarantine in the object folder `objectsDir`. */
  static create(objectsDir: string, options: QuarantineOptions = {}): Quarantine {
    const dir = path.join(objectsDir, PREFIX + randomSuffix(6));
    if (options.spare && takeSpare(objectsDir, dir)) return new Quarantine(objectsDir, dir, options, true);
    fs.mkdirSync(dir, { mode: 0o700 });
    try {
      fs.mkdirSync(path.join(dir, "pack"), { mode: 0o700 });
    } catch (error) {
      removeTree(dir);
      throw error;
    }
    return new Quarantine(objectsDir, dir, options, false);
  }

  /**
   * The quarantine at `dir`, which was synced before its process died; undefined where it is gone. Migrating goes on where it
   * was broken off. Throws CORRUPT where `dir` is no quarantine of `objectsDir`.
   */
  static reopen(objectsDir: string, dir: string): Quarantine | undefined {
    if (path.dirname(dir) !== objectsDir || !path.basename(dir).startsWith(PREFIX)) {
      throw new KvError("CORRUPT", `'${dir}' is no quarantine of '${objectsDir}'`);
    }
    if (!fs.existsSync(dir)) return undefined;
    const quarantine = new Quarantine(objectsDir, dir, {}, false);
    quarantine.#state = "synced";
    return quarantine;
  }

  /** The objects in it alone, when its pack has been put there. */
  objects(format: ObjectFormat): ObjectStore {
    this.#objects ??= new ObjectStore(this.dir, format, { sealed: true, cache: this.seen });
    return this.#objects;
  }

  /** Objects of the quarantine first, then those of `store`. Stays good after {@link migrate}. */
  source(store: ObjectSource): ObjectSource {
    const { format } = store;
    const own = (): ObjectStore => this.objects(format);
    return {
      format,
      read: (oid) => (this.#holds ? own().read(oid) : undefined) ?? store.read(oid),
      readInto: (oid, into) => (this.#holds ? own().readInto(oid, into) : undefined) ?? store.readInto?.(oid, into),
      has: (oid) => (this.#holds && own().has(oid)) || store.has(oid),
      size: (oid) => (this.#holds ? own().size(oid) : undefined) ?? store.size?.(oid),
    };
  }

  /** Brings all files to disk, under their names in the quarantine. A failure is final: nothing can be migrated then. */
  sync(): void {
    if (this.#state === "synced") return;
    assert(this.#state === "open", `a quarantine that is ${this.#state} is not synced`);
    this.#state = "failed";
    for (const { file } of this.#files()) fsyncFile(path.join(this.dir, file));
    this.#state = "synced";
  }

  /**
   * Instead of {@link sync}: copies of the packs in it, for the caller to bring to disk in its own way, where they are at most
   * `most` bytes and all there is; else undefined. {@link migrate} waits for no disk then.
   */
  copies(most: number): readonly SmallPack[] | undefined {
    if (this.#state !== "open") return undefined;
    const files = this.#files().map(({ file }) => path.join(this.dir, file));
    if (files.reduce((sum, file) => sum + fs.statSync(file).size, 0) > most) return undefined;
    const packs = files.filter((file) => file.endsWith(".pack")).map((file) => file.slice(0, -".pack".length));
    const pairs = packs.flatMap((base) => [`${base}.pack`, `${base}.idx`]);
    if (pairs.length !== files.length || !pairs.every((file) => files.includes(file))) return undefined;
    this.#state = "copied";
    return packs.map((base) => ({
      name: path.basename(base),
      pack: fs.readFileSync(`${base}.pack`),
      idx: fs.readFileSync(`${base}.idx`),
    }));
  }

  /**
   * Moves everything into the repository, an index after its pack, and makes that last. `store` learns of the new packs.
   * A crash on the way leaves some objects in place that nothing refers to yet, and is harmless. `keep`: no `git gc`
   * takes the packs away until {@link discard}, when refs name them; or until those given are let go of.
   */
  migrate(store?: ObjectStore, { keep }: { readonly keep?: boolean | PackKeeps | undefined } = {}): void {
    if (this.#state === "failed") throw new KvError("STORAGE", "the objects of the push could not be brought to disk");
    if (this.#state === "open") this.sync();
    const isCopied = this.#state === "copied";
    assert(isCopied || this.#state === "synced", `a quarantine that is ${this.#state} is not migrated`);
    const keeps = keep === true ? this.#keeps : keep;
    const touched = new Set<string>();
    const packs: string[] = [];
    for (const { file, dir } of this.#files()) {
      const target = path.join(this.#objectsDir, dir);
      if (!touched.has(target) && makeDir(target)) touched.add(this.#objectsDir);
      touched.add(target);
      if (keeps && file.endsWith(".pack")) keeps.add(path.join(this.#objectsDir, file));
      fs.renameSync(path.join(this.dir, file), path.join(this.#objectsDir, file));
      if (file.endsWith(".idx")) packs.push(path.join(this.#objectsDir, file.replace(/\.idx$/, ".pack")));
    }
    if (!isCopied) for (const dir of touched) fsyncDir(dir);
    this.#state = "migrated";
    this.#objects?.close();
    for (const packPath of packs) store?.addPack({ packPath });
    this.#leave(this.#spare.migrated);
  }

  /** Throws its objects away, before {@link sync}: nothing is left to migrate. */
  empty(): void {
    this.#objects?.close();
    this.#objects = undefined;
    this.seen.clear();
    for (const { file } of this.#files()) fs.unlinkSync(path.join(this.dir, file));
  }

  /** Removes the quarantine and everything in it; lets go of what was migrated; harmless more than once. */
  discard(): void {
    this.#objects?.close();
    this.#keeps.release();
    if (this.#state === "migrated" || this.#state === "discarded") return;
    this.#state = "discarded";
    this.#leave(this.#spare.refused);
  }

  #leave(asSpare: boolean): void {
    if (!asSpare || !leaveSpare(this.#objectsDir, this.dir)) removeTree(this.dir);
  }

  get #holds(): boolean {
    return this.#state !== "migrated" && this.#state !== "discarded";
  }

  /** What is to be migrated, in that order: `file` and its folder `dir`, both relative. Temporary files stay behind. */
  #files(): { file: string; dir: string }[] {
    const files: { file: string; dir: string }[] = [];
    for (const dir of readDirIfThere(this.dir)) {
      if (dir !== "pack" && !/^[0-9a-f]{2}$/.test(dir)) continue;
      for (const name of readDirIfThere(path.join(this.dir, dir))) {
        if (!name.startsWith("tmp_") && !name.startsWith(PACK_TEMP)) files.push({ file: path.join(dir, name), dir });
      }
    }
    return files.sort((a, b) => migrationRank(a.file) - migrationRank(b.file));
  }
}

/** Loose objects, then what keeps a pack alive, then packs, and what makes a pack visible last (git's tmp-objdir.c). */
function migrationRank(file: string): number {
  const rank = [".keep", ".pack", ".rev", ".idx"].indexOf(path.extname(file));
  return rank < 0 ? 0 : rank + 1;
}

/** Makes a folder where it is missing; true where it was. */
function makeDir(dir: string): boolean {
  if (fs.existsSync(dir)) return false;
  fs.mkdirSync(dir, { recursive: true });
  return true;
}

function fsyncFile(file: string): void {
  const fd = fs.openSync(file, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function removeTree(dir: string): void {
  fs.rmSync(dir, { recursive: true, force: true });
}

/**
 * Removes quarantines that a crash left behind: those in which nothing was written for `graceMs` milliseconds before `now`.
 * Returns how many.
 */
export function sweepQuarantines(objectsDir: string, graceMs: number, now: number = Date.now()): number {
  let removed = 0;
  for (const name of readDirIfThere(objectsDir)) {
    if (!name.startsWith(PREFIX) && !name.startsWith(GIT_PREFIX)) continue;
    const dir = path.join(objectsDir, name);
    if (now - lastWritten(dir) < graceMs) continue;
    removeTree(dir);
    removed++;
  }
  return removed;
}

/** Latest modification of `dir` and anything in it, in milliseconds. */
function lastWritten(dir: string): number {
  try {
    let latest = fs.statSync(dir).mtimeMs;
    for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
      const inner = path.join(dir, entry.name);
      const at = entry.isDirectory() ? lastWritten(inner) : fs.statSync(inner).mtimeMs;
      if (at > latest) latest = at;
    }
    return latest;
  } catch (error) {
    // Its owner removes it right now.
    if (isMissing(error)) return Number.POSITIVE_INFINITY;
    throw error;
  }
}
