/**
 * Backs a repository up, beside a daemon that serves it: the objects that the backup before does not have in one pack, all refs,
 * and the journal of the same instant. Every file that is written is read back and compared before the manifest is.
 */

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { Clock } from "../../clock.ts";
import { KvError } from "../../errors.ts";
import { writeAll } from "../../gitwire/pack/temp-file.ts";
import { CommitGraph } from "../../gitwire/protocol/commit-graph.ts";
import { listObjects } from "../../gitwire/protocol/object-list.ts";
import { newStatistics, packObjects } from "../../gitwire/protocol/pack-objects.ts";
import type { Repository } from "../../gitwire/repo.ts";
import { classifyRef, type KvRef } from "../../kv/namespace.ts";
import { copyJournal } from "./journal-copy.ts";
import {
  fileName,
  KEPT_FILES,
  listBackups,
  type Manifest,
  manifestName,
  readManifest,
  type StoredFile,
  type StoredPack,
  timeOf,
} from "./manifest.ts";
import type { Place } from "./place.ts";

export interface BackupOptions {
  readonly repo: Repository;
  readonly place: Place;
  /** All objects anew, whatever is there. */
  readonly full: boolean;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface BackupReport {
  readonly id: string;
  readonly place: string;
  /** The backup it builds on; null for a full one. */
  readonly base: string | null;
  readonly refs: number;
  /** Of the new pack. */
  readonly objects: number;
  /** Bytes that were written. */
  readonly bytes: number;
  /** How many packs of earlier backups were read back. */
  readonly checked: number;
  /** Each pack that this backup needs was read back then or later, RFC 3339; null where one has not been so far. */
  readonly checkedSince: string | null;
}

/** Milliseconds after which a pack of an earlier backup is read back again. */
const DUE = 7 * 24 * 60 * 60_000;
/** Most bytes of them that are read back for one backup; one pack may be more. */
const READ_BACK = 1024 * 1024 * 1024;

/** Makes a backup. Throws BUSY, CORRUPT where what was written is not what is read back, IO, NETWORK. */
export async function makeBackup(options: BackupOptions): Promise<BackupReport> {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "git-kv-backup-"));
  try {
    return await new Backup(options, scratch).make();
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
}

/** The way out where what a backup would build on is damaged. */
const WHOLE = { hint: "make a whole one with --full" };

/** Refs whose commits name a transaction, which no other repository has. */
const LEDGER_KINDS = new Set<KvRef["kind"] | undefined>(["ledger", "epoch", "archive"]);

class Backup {
  readonly #options: BackupOptions;
  readonly #scratch: string;
  #bytes = 0;

  constructor(options: BackupOptions, scratch: string) {
    this.#options = options;
    this.#scratch = scratch;
  }

  async make(): Promise<BackupReport> {
    const { repo, place, clock } = this.#options;
    const base = await this.#base();
    const packs = base === undefined ? [] : await this.#readBack(base);
    const copy = path.join(this.#scratch, "journal.db");
    const refs = await copyJournal(repo, copy);
    const pack = await this.#pack(
      refs.map(({ oid }) => oid),
      base,
    );
    const zipped = `${copy}.gz`;
    await pipeline(fs.createReadStream(copy), createGzip({ level: 6 }), fs.createWriteStream(zipped));
    const created = new Date(clock.now());
    const id = idOf(created, (await listBackups(place)).at(-1), clock);
    const manifest: Manifest = {
      v: 1,
      id,
      created: created.toISOString(),
      format: repo.format.name,
      head: fs.readFileSync(path.join(repo.gitDir, "HEAD"), "utf8"),
      refs: refs.map(({ name, oid }) => [name, oid] as const),
      packs: [...packs.map(({ pack: one }) => one), ...(pack === undefined ? [] : [this.#checked(pack.file)])],
      journal: await this.#store(zipped),
      files: await this.#files(),
    };
    const text = path.join(this.#scratch, "manifest");
    fs.writeFileSync(text, `${JSON.stringify(manifest)}\n`);
    await place.write(manifestName(id), text);
    await this.#compare(manifestName(id), await storedAs(text));
    return {
      id,
      place: place.name,
      base: base?.id ?? null,
      refs: refs.length,
      objects: pack?.objects ?? 0,
      bytes: this.#bytes + fs.statSync(text).size,
      checked: packs.filter(({ isRead }) => isRead).length,
      checkedSince: oldestCheck(manifest.packs),
    };
  }

  /** The packs of `base`, of which those that were not read back for the longest time are. Throws CORRUPT where one is not what was written. */
  async #readBack({ id, packs }: Manifest): Promise<{ readonly pack: StoredPack; readonly isRead: boolean }[]> {
    const { place, clock, signal } = this.#options;
    const due = packs.filter((pack) => !(Math.abs(clock.now() - checkedAt(pack)) < DUE));
    const read = new Map<StoredPack, StoredPack>();
    let bytes = 0;
    for (const pack of due.sort((a, b) => checkedAt(a) - checkedAt(b))) {
      if (read.size > 0 && bytes + pack.size > READ_BACK) break;
      signal.throwIfAborted();
      if (!(await this.#isThere(fileName(pack), pack))) {
        throw new KvError(
          "CORRUPT",
          `${place.name}: ${fileName(pack)} of backup ${id} is not what was written there`,
          WHOLE,
        );
      }
      read.set(pack, this.#checked(pack));
      bytes += pack.size;
    }
    return packs.map((pack) => ({ pack: read.get(pack) ?? pack, isRead: read.has(pack) }));
  }

  #checked({ sha256, size }: StoredFile): StoredPack {
    return { sha256, size, checked: new Date(this.#options.clock.now()).toISOString() };
  }

  /** The newest backup, where one can be built on. */
  async #base(): Promise<Manifest | undefined> {
    const { place, full, repo } = this.#options;
    const newest = full ? undefined : (await listBackups(place)).at(-1);
    if (newest === undefined) return undefined;
    const base = await readManifest(place, newest);
    if (base.format !== repo.format.name) {
      throw new KvError("UNSUPPORTED", `the backups at ${place.name} are of a ${base.format} repository`, {
        hint: "give each repository a place of its own",
      });
    }
    await this.#requireOurs(base);
    for (const file of base.packs) {
      const size = await place.size(fileName(file));
      if (size === file.size) continue;
      const wrong = size === undefined ? "lacks" : `has ${size} of ${file.size} bytes of`;
      throw new KvError("CORRUPT", `backup ${newest} ${wrong} ${fileName(file)}`, WHOLE);
    }
    return base;
  }

  /**
   * Throws INPUT_INVALID where the backups are another repository's: the newest one at a place is what a restore takes. Ours may have been
   * restored to an older state since the newest was made; then it is that of an older one.
   */
  async #requireOurs(newest: Manifest): Promise<void> {
    const { place, repo } = this.#options;
    const isOurs = ({ refs }: Manifest): boolean => {
      const ledgers = refs.filter(([name]) => LEDGER_KINDS.has(classifyRef(name)?.kind));
      return ledgers.length === 0 || ledgers.some(([, oid]) => repo.objects.has(oid));
    };
    if (isOurs(newest)) return;
    for (const id of (await listBackups(place)).reverse()) if (isOurs(await readManifest(place, id))) return;
    throw new KvError("INPUT_INVALID", `the backups at ${place.name} are of another repository`, {
      hint: "give each repository a place of its own",
    });
  }

  async #pack(wants: readonly string[], base: Manifest | undefined) {
    const { repo, signal } = this.#options;
    const { objects } = repo;
    const haves = (base?.refs ?? []).map(([, oid]) => oid).filter((oid) => objects.has(oid));
    const list = await listObjects(objects, new CommitGraph(objects), { wants, haves, tags: [] });
    const { size } = list.objects;
    if (size === 0) return undefined;
    const file = path.join(this.#scratch, "pack");
    const fd = fs.openSync(file, "wx", 0o600);
    try {
      const packed = packObjects(objects, list, { ofsDelta: true, thin: false }, newStatistics(size));
      for await (const chunk of packed) {
        signal.throwIfAborted();
        writeAll(fd, chunk);
      }
    } finally {
      fs.closeSync(fd);
    }
    return { file: await this.#store(file), objects: size };
  }

  async #files(): Promise<Record<string, StoredFile>> {
    const files: Record<string, StoredFile> = {};
    for (const name of KEPT_FILES) {
      const file = path.join(this.#options.repo.gitDir, name);
      if (fs.existsSync(file)) files[name] = await this.#store(file);
    }
    return files;
  }

  /** Puts a file where it belongs, unless it is there as it should be, and reads it back. */
  async #store(from: string): Promise<StoredFile> {
    const { place, signal } = this.#options;
    const file = await storedAs(from);
    signal.throwIfAborted();
    // What is there by this name may have been damaged since.
    if ((await place.size(fileName(file))) === file.size && (await this.#isThere(fileName(file), file))) return file;
    await place.write(fileName(file), from);
    this.#bytes += file.size;
    await this.#compare(fileName(file), file);
    return file;
  }

  async #compare(name: string, written: StoredFile): Promise<void> {
    if (await this.#isThere(name, written)) return;
    throw new KvError("CORRUPT", `${this.#options.place.name}: ${name} is not what was written there`);
  }

  async #isThere(name: string, written: StoredFile): Promise<boolean> {
    const { sha256, size } = await hashOf(this.#options.place.read(name));
    return sha256 === written.sha256 && size === written.size;
  }
}

function storedAs(file: string): Promise<StoredFile> {
  return hashOf(fs.createReadStream(file, { highWaterMark: 1 << 20 }));
}

async function hashOf(chunks: AsyncIterable<Uint8Array>): Promise<StoredFile> {
  const hash = new Bun.CryptoHasher("sha256");
  let size = 0;
  for await (const chunk of chunks) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { sha256: hash.digest("hex"), size };
}

/** When a pack was read back last, milliseconds since 1970; 0: nobody knows. */
const checkedAt = ({ checked = "" }: StoredPack): number => Date.parse(checked) || 0;

function oldestCheck(packs: readonly StoredPack[]): string | null {
  const oldest = Math.min(...packs.map(checkedAt));
  return Number.isFinite(oldest) && oldest > 0 ? new Date(oldest).toISOString() : null;
}

/** An id that sorts behind `newest`, also where the clock was set back. */
function idOf(created: Date, newest: string | undefined, clock: Clock): string {
  const after = newest === undefined ? 0 : timeOf(newest) + 1;
  const time = new Date(Math.max(created.getTime(), after)).toISOString().replaceAll(/[-:.]/g, "");
  return `${time}-${Buffer.from(clock.random(4)).toString("hex")}`;
}
