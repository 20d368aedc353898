/**
 * The objects of a repository: its packs, its loose objects, and those of the folders it borrows from.
 *
 * Lookups go through the two packs that answered last, the others from there on to older ones and then from the newest on (what an object
 * names is in its pack or came before it), then loose objects, then alternates. A miss looks at the disk once more before it is final,
 * because gc and repack move objects while we read; what an open pack held stays readable. object-writer.ts adds to them.
 */

import { KvError } from "../../errors.ts";
import { atOnce } from "../../time-slice.ts";
import { isMissing } from "../disk.ts";
import type { GitObject, ObjectSource } from "../object/object.ts";
import type { ObjectFormat, ObjectKind, Oid } from "../object/oid.ts";
import { SortedIds } from "../object/sorted-ids.ts";
import { ObjectCache, type ObjectMemory } from "../pack/object-cache.ts";
import type { PackIndex } from "../pack/pack-index.ts";
import type { Pack } from "../pack/pack-reader.ts";
import type { RecentBases } from "../pack/recent-bases.ts";
import { alternateDirs } from "./alternates.ts";
import { findKnown, type KnownObjects } from "./known-objects.ts";
import { hasLoose, looseStartingWith, readDirIfThere, readLoose } from "./loose.ts";
import { looseHeader } from "./loose-stream.ts";
import type { ObjectLocation, ObjectPlace, ObjectStoreOptions } from "./object-place.ts";
import { PackDir } from "./pack-dir.ts";
import { readMany } from "./read-many.ts";

const DELTA_BASE_BYTES = 32 * 1024 * 1024;
const OBJECT_BYTES = 16 * 1024 * 1024;
/** Larger blobs are read once where they are read at all: pieces of large values would fill the cache for nothing. */
const CACHED_BLOB = 32 * 1024;
/** Packs kept open; more would use up the process's file descriptors. */
const OPEN_PACKS = 200;
/** Paths remembered of packs that were put here: a daemon puts one for each push. */
const ADDED_PACKS = 100;

/** One object folder. */
interface Folder {
  readonly objectsDir: string;
  readonly packs: PackDir;
}

export class ObjectStore implements ObjectSource {
  readonly objectsDir: string;
  readonly format: ObjectFormat;
  readonly #extra: readonly string[];
  readonly #bases = new ObjectCache(DELTA_BASE_BYTES);
  /** Most bytes of objects kept in memory. */
  readonly cacheBytes: number;
  /** How what was put here lately is made of whole objects; for a server. */
  recentBases: RecentBases | undefined;
  readonly #objects: ObjectMemory;
  readonly #sealed: boolean;
  /** Whether a sealed store has no loose objects; undefined until it was looked. */
  #noLoose: boolean | undefined;
  readonly #own: Folder;
  /** Own folder first; undefined until the alternates have been read. */
  #folders: readonly Folder[] | undefined;
  /** The two packs that answered last, the later one first. */
  #lately: readonly { readonly pack: Pack; readonly folder: Folder }[] = [];
  /** Packs that may hold descriptors, in order of opening. */
  readonly #open = new Set<Pack>();
  readonly #added: string[] = [];
  /** The first damage met by the lookup under way. */
  #damage: KvError | undefined;

  constructor(objectsDir: string, format: ObjectFormat, options: ObjectStoreOptions = {}) {
    this.objectsDir = objectsDir;
    this.format = format;
    this.#extra = options.alternates ?? [];
    this.cacheBytes = options.cacheBytes ?? OBJECT_BYTES;
    this.#objects = options.cache ?? new ObjectCache(this.cacheBytes);
    this.#sealed = options.sealed === true;
    this.#own = this.#folder(objectsDir);
  }

  get place(): ObjectPlace {
    return { objectsDir: this.objectsDir, format: this.format.name, alternates: this.#extra };
  }

  read(oid: Oid): GitObject | undefined {
    const cached = this.#objects.get(oid);
    if (cached !== undefined) return cached;
    const object = this.#readStored(oid);
    if (object !== undefined && (object.kind !== "blob" || object.data.length <= CACHED_BLOB))
      this.#objects.set(oid, object);
    return object;
  }

  readInto(oid: Oid, into: Buffer): GitObject | undefined {
    return this.#objects.get(oid) ?? this.#readStored(oid, into);
  }

  readOnce(oid: Oid, into?: Buffer): GitObject | undefined {
    return this.#objects.get(oid) ?? this.#readStored(oid, into, false);
  }

  readMany(oids: readonly Oid[]): readonly (GitObject | undefined)[] {
    return readMany(atOnce(this.known(SortedIds.of(this.format, oids))), oids.length);
  }

  has(oid: Oid): boolean {
    return oid === this.format.emptyTree || this.#objects.get(oid) !== undefined || this.locate(oid) !== undefined;
  }

  /** As {@link has}, for ids that may well not be here: packs that another process just made are not looked for. */
  hasAtHand(oid: Oid): boolean {
    if (oid === this.format.emptyTree || this.#objects.get(oid) !== undefined) return true;
    this.#damage = undefined;
    return this.#search(oid, () => true) === true;
  }

  /** Where the object is stored, for taking it over as it is; undefined where it is not here. */
  locate(oid: Oid): ObjectLocation | undefined {
    return this.#find(oid, (location) => {
      // Open from now on, the pack stays readable whatever happens to its files.
      if (location.kind === "packed") location.pack.open();
      return location;
    });
  }

  /** As {@link locate} for many objects: where each one that is here is stored. */
  locateAll(oids: Iterable<Oid>): Map<Oid, ObjectLocation> {
    const all = [...new Set(oids)];
    const known = atOnce(this.known(SortedIds.of(this.format, all)));
    const found = new Map<Oid, ObjectLocation>();
    for (const [number, oid] of all.entries()) {
      const first = known.location(number);
      const location = first !== undefined && this.#stays(first) ? first : this.locate(oid);
      if (location !== undefined) found.set(oid, location);
    }
    return found;
  }

  /** Opens the pack of an object, which is then readable whatever happens to its files; false where it is gone or damaged. */
  #stays(location: ObjectLocation): boolean {
    if (location.kind === "loose") return true;
    try {
      this.#opening(location.pack);
      location.pack.open();
      return true;
    } catch {
      // A lookup deals with that.
      return false;
    }
  }

  /** Those of `oids` that are here, each once, as {@link known} finds them. */
  knownAmong(oids: readonly Oid[]): Oid[] {
    const known = atOnce(this.known(SortedIds.of(this.format, oids)));
    return oids.filter((_, number) => known.has(number));
  }

  /** Where those of `ids` lie that are here by what is known of the disk, so that those that are not cost no look at it (findKnown). */
  known(ids: SortedIds): Generator<void, KnownObjects> {
    return findKnown(this.#all(), ids, (pack) => this.#opening(pack));
  }

  /** The kind of an object, without its content where that can be avoided; undefined where it is not here. */
  kind(oid: Oid): ObjectKind | undefined {
    const cached = this.#objects.get(oid);
    if (cached !== undefined) return cached.kind;
    if (oid === this.format.emptyTree) return "tree";
    return this.#find(oid, (at) =>
      at.kind === "packed" ? at.pack.kind(at.offset) : looseHeader(at.objectsDir, oid)?.kind,
    );
  }

  /** Bytes of an object's content, which is read only where it is a delta; undefined where it is not here. */
  size(oid: Oid): number | undefined {
    const cached = this.#objects.get(oid);
    if (cached !== undefined) return cached.data.length;
    const whole = this.#find(oid, (at) => {
      if (at.kind === "loose") return looseHeader(at.objectsDir, oid)?.size;
      const entry = at.pack.entryInfo(at.offset);
      return entry.kind === undefined ? -1 : entry.size;
    });
    return whole === undefined || whole < 0 ? this.read(oid)?.data.length : whole;
  }

  /** Ids that start with the hex digits `prefix` (four at least), at most `limit`, in order. */
  resolvePrefix(prefix: string, limit = 2): Oid[] {
    if (!/^[0-9a-f]{4,}$/.test(prefix) || prefix.length > this.format.hexSize) return [];
    let found: Oid[] | undefined;
    while (found === undefined) found = this.#startingWith(prefix, limit);
    return found;
  }

  /** As {@link resolvePrefix}; undefined where a pack went away meanwhile: what it held is in another one. */
  #startingWith(prefix: string, limit: number): Oid[] | undefined {
    const found = new Set<Oid>();
    for (const folder of this.#all()) {
      folder.packs.refresh();
      for (const pack of folder.packs.packs()) {
        try {
          for (const oid of pack.index.startingWith(prefix, limit)) found.add(oid);
        } catch (error) {
          if (!isMissing(error)) throw error;
          this.#forget(pack, folder);
          return undefined;
        }
      }
      for (const oid of looseStartingWith(folder.objectsDir, this.format, prefix, limit)) found.add(oid);
    }
    return [...found].sort().slice(0, limit);
  }

  /** All packs, own ones first, newest first in each folder. */
  packs(): readonly Pack[] {
    return this.#all().flatMap((folder) => folder.packs.packs());
  }

  /** The repository's own packs, without those of alternates. */
  ownPacks(): readonly Pack[] {
    return this.#own.packs.packs();
  }

  /** The own packs that maintenance may replace. */
  replaceablePacks(): readonly Pack[] {
    return this.#own.packs.unpinned();
  }

  /** Looks for packs that came or went. A failed lookup does this by itself. */
  refresh(): boolean {
    let changed = false;
    for (const folder of this.#all()) if (folder.packs.refresh()) changed = true;
    return changed;
  }

  /** Forgets an own pack whose files were just removed. */
  dropPack(pack: Pack): void {
    this.#forget(pack, this.#own);
  }

  /** Takes up a pack that was just put into this store's own `pack` folder. */
  addPack(paths: { readonly packPath: string }, index?: PackIndex): Pack {
    if (this.#added.push(paths.packPath) > ADDED_PACKS) this.#added.shift();
    return this.#own.packs.add(paths.packPath, index);
  }

  /** Keeps objects in memory that were just put here, as if they had been read. */
  keep(objects: Iterable<readonly [Oid, GitObject]>): void {
    for (const [oid, object] of objects) this.#objects.set(oid, object);
  }

  /** Paths of the newest packs that were put here through this store; maintenance may have replaced them since. */
  addedPacks(): readonly string[] {
    return this.#added;
  }

  /** Folder of the repository's own packs. */
  get packDir(): string {
    return this.#own.packs.dir;
  }

  /** A loose object is about to be written here: a sealed store looks for them from now on. */
  expectLoose(): void {
    this.#noLoose = false;
  }

  /** Forgets the objects that nobody read since the last call: for a server, whose cache is large and seldom needed as a whole. */
  forgetUnused(): void {
    this.#objects.age();
    this.#bases.age();
  }

  /** Closes all files and forgets what is cached; the store may be used again. */
  close(): void {
    for (const folder of this.#folders ?? [this.#own]) folder.packs.close();
    this.#folders = undefined;
    this.#lately = [];
    this.#open.clear();
    this.#bases.clear();
    this.#objects.clear();
  }

  #readStored(oid: Oid, into?: Buffer, isCompared = into !== undefined): GitObject | undefined {
    const stored = this.#find(oid, (at) =>
      at.kind === "packed" ? at.pack.read(at.offset, into, isCompared) : readLoose(at.objectsDir, oid),
    );
    return stored ?? (oid === this.format.emptyTree ? { kind: "tree", data: Buffer.alloc(0) } : undefined);
  }

  /**
   * Finds the object and applies `use` to its place; where it is not found, again on each fresh view of the disk. A pack that has
   * just been seen may be gone when it is opened: a busy Stargate rolls its packs up many times a second.
   */
  #find<T>(oid: Oid, use: (location: ObjectLocation) => T | undefined): T | undefined {
    this.#damage = undefined;
    let found = this.#search(oid, use);
    while (found === undefined && !this.#sealed && this.refresh()) found = this.#search(oid, use);
    // A damaged copy matters only where there is no good one.
    if (found === undefined && this.#damage !== undefined) throw this.#damage;
    return found;
  }

  #search<T>(oid: Oid, use: (location: ObjectLocation) => T | undefined): T | undefined {
    raw.write(oid, 0, "hex");
    const lately = this.#lately;
    for (const { pack, folder } of lately) {
      const found = this.#inPack(pack, folder, use);
      if (found !== undefined) return found;
    }
    for (const folder of this.#all()) {
      const inRecent = this.#inRecent(folder, use);
      if (inRecent !== undefined) return inRecent;
      const packs = folder.packs.packs();
      const first = folder === lately[0]?.folder ? packs.indexOf(lately[0].pack) + 1 : 0;
      for (let i = 0; i < packs.length; i++) {
        const pack = packs[(first + i) % packs.length]!;
        if (folder.packs.recent.has(pack) || pack === lately[0]?.pack || pack === lately[1]?.pack) continue;
        const found = this.#inPack(pack, folder, use);
        if (found !== undefined) return found;
      }
      if ((folder === this.#own && this.#hasNoLoose()) || !hasLoose(folder.objectsDir, oid)) continue;
      const found = this.#inLoose(folder, use);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Applies `use` to the object {@link raw} in one of the packs that were put here lately; one that has it in no good state is none of them any more. */
  #inRecent<T>(folder: Folder, use: (location: ObjectLocation) => T | undefined): T | undefined {
    const { recent } = folder.packs;
    for (let pack = recent.find(raw, 0); pack !== undefined; pack = recent.find(raw, 0)) {
      const found = this.#inPack(pack, folder, use);
      if (found !== undefined) return found;
      recent.delete(pack);
    }
    return undefined;
  }

  /** Applies `use` to the object {@link raw} in `pack`. A pack whose files are gone has nothing. */
  #inPack<T>(pack: Pack, folder: Folder, use: (location: ObjectLocation) => T | undefined): T | undefined {
    try {
      this.#opening(pack);
      const position = pack.index.findRaw(raw, 0);
      if (position < 0) return undefined;
      const last = this.#lately[0];
      if (last?.pack !== pack) this.#lately = last === undefined ? [{ pack, folder }] : [{ pack, folder }, last];
      return use({ kind: "packed", pack, offset: pack.index.offset(position), position });
    } catch (error) {
      if (isMissing(error)) this.#forget(pack, folder);
      else this.#remember(error);
      return undefined;
    }
  }

  #inLoose<T>({ objectsDir }: Folder, use: (location: ObjectLocation) => T | undefined): T | undefined {
    try {
      return use({ kind: "loose", objectsDir });
    } catch (error) {
      this.#remember(error);
      return undefined;
    }
  }

  #hasNoLoose(): boolean {
    if (!this.#sealed) return false;
    this.#noLoose ??= !readDirIfThere(this.objectsDir).some((name) => /^[0-9a-f]{2}$/.test(name));
    return this.#noLoose;
  }

  #forget(pack: Pack, folder: Folder): void {
    folder.packs.drop(pack);
    this.#open.delete(pack);
    this.#lately = this.#lately.filter((other) => other.pack !== pack);
  }

  /** Keeps a CORRUPT for later: there may be a good copy elsewhere. Throws any other error. */
  #remember(error: unknown): void {
    if (!(error instanceof KvError && error.code === "CORRUPT")) throw error;
    this.#damage ??= error;
  }

  /** Counts `pack` as open, and gives back the descriptors of the one counted first where there are too many. */
  #opening(pack: Pack): void {
    if (this.#open.has(pack)) return;
    this.#open.add(pack);
    if (this.#open.size <= OPEN_PACKS) return;
    for (const oldest of this.#open) {
      if (oldest === this.#lately[0]?.pack) continue;
      oldest.release();
      this.#open.delete(oldest);
      return;
    }
  }

  #all(): readonly Folder[] {
    if (this.#folders !== undefined) return this.#folders;
    const dirs = alternateDirs(this.objectsDir, this.#extra);
    this.#folders = [this.#own, ...(dirs.length > 0 ? dirs.map((dir) => this.#folder(dir)) : [])];
    return this.#folders;
  }

  #folder(objectsDir: string): Folder {
    return { objectsDir, packs: new PackDir(objectsDir, this.format, this.#bases) };
  }
}

const raw = Buffer.alloc(32);
