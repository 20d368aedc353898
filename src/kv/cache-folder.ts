/**
 * The user's cache: one bare repository for each remote that was read without a clone, `<cache>/git-kv/<id>/<object format>/`, the id
 * being a hash of the address without its password. Nothing in it is anybody's only copy: it may be removed at any time, and is when
 * it grows too large, when it was not used for long, and when it is damaged.
 *
 * Each format has a folder: who knows nothing of a remote yet begins with SHA-1, and finds out beside others who have found out already.
 *
 * Several processes use one folder at a time. Packs are put there whole by renaming; a pack that is removed stays readable to
 * whoever has it open, and what was looked for in it is fetched again.
 */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { KvError, toKvError } from "../errors.ts";
import type { ObjectFormat } from "../gitwire/object/oid.ts";
import { initRepository } from "../gitwire/repo/init.ts";
import { openRepository, type Repository } from "../gitwire/repo.ts";
import { LIMITS } from "../limits.ts";
import { CopyStore } from "./copy-store.ts";
import type { Environment } from "./workspace.ts";

/** What is known of a remote besides its objects; a guess for the next time, never trusted. */
export interface RemoteFacts {
  readonly url: string;
  /** Nothing was heard of it yet. */
  readonly isGuess?: boolean;
  readonly format: "sha1" | "sha256";
  /** Words of its v2 greeting's `fetch`. */
  readonly features: readonly string[];
  /** How far its filters go. */
  readonly filters: "deep" | "flat" | "none";
  /** Newest sequence number seen, by namespace. */
  readonly seen: Readonly<Record<string, number>>;
  /** The ledger commit with that number. */
  readonly tips?: Readonly<Record<string, string>>;
}

const FACTS = "git-kv.json";
const FACTS_BYTES = 256 * 1024;

/** A folder of the cache in use. */
export interface CacheFolder {
  readonly dir: string;
  /** Nothing could be written where caches go: it is removed at the end. */
  readonly isTemporary: boolean;
}

/** Where the caches of this user are; undefined where the environment names no such place. */
function cacheRoot(env: Environment): string | undefined {
  const { XDG_CACHE_HOME: xdg, HOME: home } = env;
  if (xdg !== undefined && path.isAbsolute(xdg)) return path.join(xdg, "git-kv");
  return home !== undefined && path.isAbsolute(home) ? path.join(home, ".cache", "git-kv") : undefined;
}

/** The folder for the remote at `address` (which holds no password), made where it is missing. Throws IO where nothing can be written at all. */
export function cacheFolder(address: string, env: Environment): CacheFolder {
  const id = new Bun.SHA256().update(address).digest("hex").slice(0, 32);
  const root = cacheRoot(env);
  if (root !== undefined) {
    const dir = path.join(root, id);
    try {
      fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
      fs.accessSync(dir, fs.constants.W_OK);
      // Git settings are read in it, and they name programs to run.
      if (fs.statSync(dir).uid === process.getuid?.()) return { dir, isTemporary: false };
    } catch {
      // A home that is not there or not ours, a read-only system: anywhere else will do for one command.
    }
  }
  try {
    const base = env.TMPDIR || os.tmpdir();
    fs.mkdirSync(base, { recursive: true });
    return { dir: fs.mkdtempSync(path.join(base, "git-kv-")), isTemporary: true };
  } catch (error) {
    throw new KvError("IO", `there is no place for what is fetched: ${toKvError(error).message}`, {
      hint: "name a folder that can be written in XDG_CACHE_HOME",
      cause: error,
    });
  }
}

/** The folder's repository of an object format; made again where it cannot be opened. */
export function openCache(folder: CacheFolder, format: ObjectFormat, env: Environment): Repository {
  const dir = path.join(folder.dir, format.name);
  const repo = repositoryIn(dir, format, env) ?? makeRepository(dir, format, env);
  repo.storeMaker = (objectsDir, itsFormat, options) => new CopyStore(objectsDir, itsFormat, options);
  return repo;
}

function repositoryIn(dir: string, format: ObjectFormat, env: Environment): Repository | undefined {
  try {
    const repo = openRepository(dir, env);
    if (repo.format === format) return repo;
    repo.close();
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
  }
  return undefined;
}

/** Makes a repository beside the folder and puts it there whole: other processes may be about to do the same, and the first one's stays. */
function makeRepository(dir: string, format: ObjectFormat, env: Environment): Repository {
  const made = fs.mkdtempSync(`${dir}.`);
  try {
    initRepository(made, { bare: true, format }, env).close();
    for (let tries = 0; ; tries++) {
      try {
        // Takes the place of an empty folder, and of no other.
        fs.renameSync(made, dir);
        return openRepository(dir, env);
      } catch (error) {
        const other = repositoryIn(dir, format, env);
        if (other !== undefined) return other;
        if (tries > 0) throw error;
        for (const name of readDir(dir)) fs.rmSync(path.join(dir, name), { recursive: true, force: true });
      }
    }
  } finally {
    fs.rmSync(made, { recursive: true, force: true });
  }
}

/** Removes all that was fetched, and what says that it is here: something of it is damaged. */
export function emptyCache(repo: Repository): void {
  repo.close();
  forget(repo.commonDir);
  const dir = path.join(repo.objectsDir, "pack");
  // The index first: without it a pack is none.
  for (const suffix of [".idx", ""])
    for (const name of readDir(dir)) if (name.endsWith(suffix)) fs.rmSync(path.join(dir, name), { force: true });
}

/** Removes what says of more than single objects that it is here: refs, where history ends, tables of transactions. */
function forget(dir: string): void {
  for (const name of readDir(path.join(dir, "refs")))
    fs.rmSync(path.join(dir, "refs", name), { recursive: true, force: true });
  for (const name of ["packed-refs", "shallow", "kv"])
    fs.rmSync(path.join(dir, name), { recursive: true, force: true });
}

/** What is known of the remote; undefined where that is nothing. */
export function readFacts({ dir }: CacheFolder): RemoteFacts | undefined {
  try {
    const file = path.join(dir, FACTS);
    if (fs.statSync(file).size > FACTS_BYTES) return undefined;
    const facts = JSON.parse(fs.readFileSync(file, "utf8")) as Partial<RemoteFacts>;
    const isWhole =
      typeof facts.url === "string" &&
      (facts.format === "sha1" || facts.format === "sha256") &&
      Array.isArray(facts.features) &&
      ["deep", "flat", "none"].includes(facts.filters ?? "") &&
      typeof facts.seen === "object" &&
      facts.seen !== null;
    return isWhole ? (facts as RemoteFacts) : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps what is known, for the next time; where it cannot be written, the next time learns it again. */
export function writeFacts({ dir }: CacheFolder, facts: RemoteFacts): void {
  const temporary = path.join(dir, `.${FACTS}.${process.pid}`);
  try {
    fs.writeFileSync(temporary, JSON.stringify(facts), { mode: 0o600 });
    fs.renameSync(temporary, path.join(dir, FACTS));
  } catch {
    fs.rmSync(temporary, { force: true });
  }
}

/**
 * Keeps the caches in bounds at the end of a command: the packs of the folder, whose repository of `format` was used, and whatever folder
 * in it or beside it was not used for LIMITS.cacheAge. A temporary folder goes. Never throws.
 */
export function pruneCaches(
  folder: CacheFolder,
  format: ObjectFormat,
  now: number,
  most: number = LIMITS.cacheBytes,
): void {
  try {
    if (folder.isTemporary) {
      fs.rmSync(folder.dir, { recursive: true, force: true });
      return;
    }
    const used = path.join(folder.dir, format.name);
    for (const dir of [folder.dir, used]) fs.utimesSync(dir, now / 1000, now / 1000);
    prunePacks(used, now, most);
    // Earlier versions had a repository in the folder itself.
    removeUnused(folder.dir, (name) => name !== FACTS, now);
    removeUnused(path.dirname(folder.dir), (name) => /^[0-9a-f]{32}(\.\w{6})?$/.test(name), now);
  } catch {
    // Another process prunes as well, or the disk is read-only by now; the next command tries again.
  }
}

function removeUnused(parent: string, isOurs: (name: string) => boolean, now: number): void {
  for (const name of readDir(parent)) {
    const file = path.join(parent, name);
    const isUnused = now - fs.statSync(file).mtimeMs > LIMITS.cacheAge;
    if (isOurs(name) && isUnused) fs.rmSync(file, { recursive: true, force: true });
  }
}

/** What is younger is about to be read by the process that fetched it. */
const FRESH = 10 * 60_000;

/**
 * Keeps the packs of the repository at `repo` to `most` bytes, the oldest going first. What was fetched in the last minutes stays up to twice that:
 * somebody is about to read it. True where some have gone.
 */
export function prunePacks(repo: string, now: number, most: number = LIMITS.cacheBytes): boolean {
  const dir = path.join(repo, "objects", "pack");
  const packs = readDir(dir)
    .filter((name) => name.endsWith(".pack") || name.startsWith("tmp_") || name.startsWith(".tmp"))
    .map((name) => ({ name, ...timeAndSize(path.join(dir, name)) }))
    .sort((a, b) => b.modified - a.modified);
  let bytes = 0;
  let hasGone = false;
  for (const { name, modified, size } of packs) {
    bytes += size;
    const isLeftover = !name.endsWith(".pack");
    if (now - modified < FRESH && bytes <= 2 * most) continue;
    if (!isLeftover && bytes <= most) continue;
    // Whatever is in it: nobody is to think that all of a ledger or a state is here.
    if (!isLeftover) forget(repo);
    hasGone = true;
    fs.rmSync(path.join(dir, name.replace(/\.pack$/, ".idx")), { force: true });
    fs.rmSync(path.join(dir, name), { force: true });
  }
  return hasGone;
}

function timeAndSize(file: string): { modified: number; size: number } {
  const { mtimeMs = 0, size = 0 } = fs.statSync(file, { throwIfNoEntry: false }) ?? {};
  return { modified: mtimeMs, size };
}

function readDir(dir: string): string[] {
  try {
    return fs.readdirSync(dir);
  } catch {
    return [];
  }
}
