/**
 * Where the objects of a push wait until the push is accepted: a folder `.tmp-kv-incoming-XXXXXX` inside the object
 * folder, laid out like it (git: git-receive-pack, "Quarantine environment"). Refused, it goes away and nothing has happened;
 * accepted, its files are renamed into place. A crash leaves at most the folder, which {@link sweepQuarantines} removes.
 *
 * A small pack may wait in memory instead ({@link Quarantine.hold}): then there is no folder, and its files are written when it is accepted.
 *
 * Git's own name is `tmp_objdir-incoming-XXXXXX`, and `git prune --expire=now` removes all that begins with `tmp_`, in use or not.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { assert, KvError } from "../../errors.ts";
import { isMissing } from "../disk.ts";
import type { GitObject, ObjectSource } from "../object/object.ts";
import type { ObjectFormat, Oid } from "../object/oid.ts";
import { type IndexedPack, openIndexed, type Rooted } from "../pack/index-pack.ts";
import { ObjectArena } from "../pack/object-arena.ts";
import type { SmallPack } from "../pack/pack-install.ts";
import type { Pack } from "../pack/pack-reader.ts";
import { createTemp, fsyncDir, fsyncFile, PACK_TEMP, randomSuffix } from "../pack/temp-file.ts";
import { readDirIfThere } from "./loose.ts";
import { ObjectStore } from "./object-store.ts";
import { PackKeeps } from "./pack-keep.ts";

const PREFIX = ".tmp-kv-incoming-";
/** How those of `git receive-pack` begin, for sweeping. */
const GIT_PREFIX = "tmp_objdir-incoming-";
const SEEN_BYTES = 16 * 1024 * 1024;

/** Bytes of objects that a small push leaves in the memory of the store: what comes next is often built on them. */
const LEFT_BYTES = 1024 * 1024;

/** A pack that waits in memory. */
interface HeldPack {
  readonly files: SmallPack;
  /** For reading it. */
  readonly pack: Pack;
  readonly rooted: Rooted;
}

export interface QuarantineOptions {
  /** Bytes of its objects that are kept in memory at the most. */
  readonly seenBytes?: number;
}

export class Quarantine {
  /** The folder. */
  readonly dir: string;
  /** Where indexPack puts a pack. */
  readonly packDir: string;
  /** Its objects in memory: what is checked is read several times. indexPack fills it, then whoever reads. */
  readonly seen: ObjectArena;
  readonly #objectsDir: string;
  #hasFolder: boolean;
  /** The pack that waits in memory, and for reading it. */
  #held: HeldPack | undefined;
  #objects: ObjectStore | undefined;
  readonly #keeps = new PackKeeps();
  #state: "open" | "synced" | "copied" | "failed" | "migrated" | "discarded" = "open";

  private constructor(objectsDir: string, dir: string, hasFolder: boolean, { seenBytes }: QuarantineOptions = {}) {
    this.#objectsDir = objectsDir;
    this.#hasFolder = hasFolder;
    this.seen = new ObjectArena(seenBytes ?? SEEN_BYTES);
    this.dir = dir;
    this.packDir = path.join(dir, "pack");
  }

  /** Makes an empty quarantine in the object folder `objectsDir`. */
  static create(objectsDir: string, options: QuarantineOptions = {}): Quarantine {
    const quarantine = Quarantine.prepare(objectsDir, options);
    quarantine.makeFolder();
    return quarantine;
  }

  /** One without a folder: for a pack that may turn out to be small ({@link hold}), or else for {@link makeFolder}. */
  static prepare(objectsDir: string, options: QuarantineOptions = {}): Quarantine {
    return new Quarantine(objectsDir, path.join(objectsDir, PREFIX + randomSuffix(6)), false, options);
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
    const quarantine = new Quarantine(objectsDir, dir, true);
    quarantine.#state = "synced";
    return quarantine;
  }

  /** Makes its folders; harmless more than once. */
  makeFolder(): void {
    if (this.#hasFolder) return;
    fs.mkdirSync(this.dir, { mode: 0o700 });
    this.#hasFolder = true;
    try {
      fs.mkdirSync(this.packDir, { mode: 0o700 });
    } catch (error) {
      removeTree(this.dir);
      throw error;
    }
  }

  /** Takes a pack that was received for it, where that is in memory. */
  hold(indexed: Pick<IndexedPack, "packPath" | "held" | "rooted" | "objects">): void {
    const { held, rooted, objects } = indexed;
    if (held === undefined) return;
    assert(!this.#hasFolder, "a quarantine with a folder holds what is in that");
    this.#held = { files: held, pack: openIndexed(indexed, objects.ids.format), rooted };
  }

  /** Its folder, where it has one. */
  get folder(): string | undefined {
    return this.#hasFolder ? this.dir : undefined;
  }

  /** The objects in it alone, when its pack has been put there. */
  objects(format: ObjectFormat): ObjectStore {
    this.#objects ??= new ObjectStore(this.dir, format, { sealed: true, cache: this.seen });
    return this.#objects;
  }

  /** Objects of the quarantine first, then those of `store`. Stays good after {@link migrate}. */
  source(store: ObjectSource): ObjectSource {
    const { format } = store;
    const own = (): ObjectSource | undefined => {
      if (this.#state === "migrated" || this.#state === "discarded") return undefined;
      return this.#held === undefined ? this.objects(format) : this.#heldObjects(this.#held.pack);
    };
    return {
      format,
      read: (oid) => own()?.read(oid) ?? store.read(oid),
      readInto: (oid, into) => own()?.readInto?.(oid, into) ?? store.readInto?.(oid, into),
      readOnce: (oid, into) => readOnceFrom(own(), oid, into) ?? readOnceFrom(store, oid, into),
      // What came of the push is in memory mostly: there is nothing to gain.
      readMany: (oids) => store.readMany?.(oids) ?? [],
      has: (oid) => own()?.has(oid) === true || store.has(oid),
      size: (oid) => own()?.size?.(oid) ?? store.size?.(oid),
    };
  }

  #heldObjects(pack: Pack): ObjectSource {
    const { format } = pack;
    const readInto = (oid: Oid, into?: Buffer): GitObject | undefined => {
      const seen = this.seen.get(oid);
      if (seen !== undefined) return seen;
      const offset = pack.find(oid);
      return offset < 0 ? undefined : pack.read(offset, into);
    };
    const read = (oid: Oid): GitObject | undefined => {
      const object = readInto(oid);
      if (object !== undefined) this.seen.set(oid, object);
      return object;
    };
    return { format, read, readInto, has: (oid) => pack.find(oid) >= 0, size: (oid) => read(oid)?.data.length };
  }

  /** Brings all files to disk, under their names in the quarantine. A failure is final: nothing can be migrated then. */
  sync(): void {
    if (this.#state === "synced") return;
    assert(this.#state === "open", `a quarantine that is ${this.#state} is not synced`);
    this.#state = "failed";
    for (const { file } of this.#files()) fsyncFile(path.join(this.dir, file));
    this.#state = "synced";
  }

  /** Instead of {@link sync}: whoever put the files there has brought them to disk. */
  wasSynced(): void {
    assert(this.#state === "open", `a quarantine that is ${this.#state} is not synced`);
    this.#state = "synced";
  }

  /**
   * Instead of {@link sync}: copies of the packs in it, for the caller to bring to disk in its own way, where they are at most
   * `most` bytes and all there is; else undefined. {@link migrate} waits for no disk then.
   */
  copies(most: number): readonly SmallPack[] | undefined {
    if (this.#state !== "open") return undefined;
    if (this.#held !== undefined) {
      const { pack, idx } = this.#held.files;
      if (pack.length + idx.length > most) return undefined;
      this.#state = "copied";
      return [this.#held.files];
    }
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
    if (this.#held !== undefined) this.#writeHeld(this.#held, isCopied, keeps || undefined, store);
    else this.#moveFiles(isCopied, keeps || undefined, store);
    this.#state = "migrated";
    this.#objects?.close();
    if (this.#hasFolder) removeTree(this.dir);
  }

  /** Writes the files of the pack that is in memory. What the store reads next may be what it brought, which is in memory still. */
  #writeHeld(
    { files, pack, rooted }: HeldPack,
    isCopied: boolean,
    keeps: PackKeeps | undefined,
    store: ObjectStore | undefined,
  ): void {
    const target = path.join(this.#objectsDir, "pack");
    makeDir(target);
    const file = path.join(target, files.name);
    keeps?.add(`${file}.pack`);
    for (const [ending, bytes] of [
      ["pack", files.pack],
      ["idx", files.idx],
    ] as const) {
      const temp = createTemp(target, PACK_TEMP);
      try {
        temp.write(bytes, 0);
        temp.commit(`${file}.${ending}`, { fsync: !isCopied });
      } finally {
        temp.discard();
      }
    }
    if (!isCopied) for (const dir of [target, this.#objectsDir]) fsyncDir(dir);
    store?.addPack({ packPath: `${file}.pack` }, pack.index);
    for (const [oid, object] of rooted) store?.recentBases?.add(oid, object);
    if (this.seen.bytes <= LEFT_BYTES) store?.keep(basesToCome(this.seen, rooted));
  }

  #moveFiles(isCopied: boolean, keeps: PackKeeps | undefined, store: ObjectStore | undefined): void {
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
    for (const packPath of packs) store?.addPack({ packPath });
  }

  /** Throws its objects away, before {@link sync}: nothing is left to migrate. */
  empty(): void {
    this.#objects?.close();
    this.#objects = undefined;
    this.seen.clear();
    this.#held = undefined;
    for (const { file } of this.#files()) fs.unlinkSync(path.join(this.dir, file));
  }

  /** Removes the quarantine and everything in it; lets go of what was migrated; harmless more than once. */
  discard(): void {
    this.#objects?.close();
    this.#keeps.release();
    if (this.#state === "migrated" || this.#state === "discarded") return;
    this.#state = "discarded";
    if (this.#hasFolder) removeTree(this.dir);
  }

  /** What is to be migrated, in that order: `file` and its folder `dir`, both relative. Temporary files stay behind. */
  #files(): { file: string; dir: string }[] {
    const files: { file: string; dir: string }[] = [];
    for (const dir of this.#hasFolder ? readDirIfThere(this.dir) : []) {
      if (dir !== "pack" && !/^[0-9a-f]{2}$/.test(dir)) continue;
      for (const name of readDirIfThere(path.join(this.dir, dir))) {
        if (!name.startsWith("tmp_") && !name.startsWith(PACK_TEMP)) files.push({ file: path.join(dir, name), dir });
      }
    }
    return files.sort((a, b) => migrationRank(a.file) - migrationRank(b.file));
  }
}

function readOnceFrom(source: ObjectSource | undefined, oid: Oid, into: Buffer | undefined): GitObject | undefined {
  return source?.readOnce === undefined ? source?.read(oid) : source.readOnce(oid, into);
}

/** Those of `objects` that came as deltas: the next ones are likely to be deltas of them. */
function* basesToCome(objects: ObjectArena, rooted: Rooted): Generator<readonly [Oid, GitObject]> {
  for (const oid of rooted.keys()) {
    const object = objects.get(oid);
    // A copy, and without what is known of how it came to be: that was for the checks of this push.
    if (object !== undefined && object.kind !== "blob")
      yield [oid, { kind: object.kind, data: Buffer.copyBytesFrom(object.data) }];
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
