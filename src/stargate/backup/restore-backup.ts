/**
 * Makes a repository from a backup. Everything is checked before the repository is there: each file against its SHA-256, each
 * object against its id, and the whole by `fsck`, which holds refs, objects, attestations and journal against each other. What does
 * not verify is refused, and nothing of it stays.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { asBuffer } from "../../bytes.ts";
import type { Clock } from "../../clock.ts";
import { KvError } from "../../errors.ts";
import { systemDisk } from "../../gitwire/disk.ts";
import { objectFormat } from "../../gitwire/object/oid.ts";
import { indexPack } from "../../gitwire/pack/index-pack.ts";
import { randomSuffix } from "../../gitwire/pack/temp-file.ts";
import { createRepository } from "../../gitwire/repo/init.ts";
import { openRepository } from "../../gitwire/repo.ts";
import type { Fault } from "../fsck/fault.ts";
import { fsck } from "../fsck/fsck.ts";
import { installHooks } from "../hooks.ts";
import { Journal } from "../journal.ts";
import { stargateDir } from "../settings.ts";
import { fileName, listBackups, type Manifest, readManifest, type StoredFile } from "./manifest.ts";
import type { Place } from "./place.ts";

export interface RestoreOptions {
  readonly place: Place;
  /** Which backup; undefined: the newest. */
  readonly at: string | undefined;
  /** Where the repository is to be; nothing may be there. */
  readonly dir: string;
  /** Only checks: the repository is made beside `dir` and removed again. */
  readonly check: boolean;
  /** Command line of this program, for the hooks. */
  readonly program: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly progress: (text: string) => void;
}

export interface RestoreReport {
  readonly id: string;
  readonly created: string;
  readonly dir: string | null;
  readonly refs: number;
  readonly objects: number;
  readonly transactions: number;
}

/** Most of what is wrong that is told. */
const MOST_FAULTS = 5;
/** Largest journal that is unpacked. */
const MAX_JOURNAL = 64 * 1024 ** 3;

/** Restores. Throws CORRUPT where the backup does not verify, INPUT_INVALID, IO, NETWORK. */
export async function restoreBackup(options: RestoreOptions): Promise<RestoreReport> {
  const { place, dir, check } = options;
  if (!check && fs.existsSync(dir) && (!fs.statSync(dir).isDirectory() || fs.readdirSync(dir).length > 0)) {
    throw new KvError("INPUT_INVALID", `${dir} is there already`, { hint: "restore to a new folder" });
  }
  const manifest = await readManifest(place, await chosen(options));
  const temp = `${path.resolve(dir)}.restore-${randomSuffix(8)}`;
  try {
    await build(manifest, temp, options);
    const { refs, objects, transactions } = await verify(manifest, temp, options);
    if (!check) {
      noteRestore(manifest, temp, options);
      if (fs.existsSync(dir)) fs.rmdirSync(dir);
      fs.renameSync(temp, dir);
      systemDisk.syncDir(path.dirname(path.resolve(dir)));
    }
    return { id: manifest.id, created: manifest.created, dir: check ? null : dir, refs, objects, transactions };
  } finally {
    fs.rmSync(temp, { recursive: true, force: true });
  }
}

async function chosen({ place, at }: RestoreOptions): Promise<string> {
  const ids = await listBackups(place);
  const id = at ?? ids.at(-1);
  if (id !== undefined && ids.includes(id)) return id;
  throw new KvError(
    "INPUT_INVALID",
    at === undefined ? `there is no backup at ${place.name}` : `there is no backup '${at}'`,
    {
      ...(ids.length > 0 && { hint: `there are ${ids.slice(-5).join(", ")}` }),
    },
  );
}

async function build(
  manifest: Manifest,
  dir: string,
  { place, program, env, signal, progress }: RestoreOptions,
): Promise<void> {
  const format = objectFormat(manifest.format);
  createRepository(dir, { bare: true, format });
  fs.chmodSync(dir, 0o750);
  const stargate = stargateDir(dir);
  fs.mkdirSync(stargate, { recursive: true, mode: 0o750 });
  for (const [i, file] of manifest.packs.entries()) {
    signal.throwIfAborted();
    progress(`pack ${i + 1} of ${manifest.packs.length}`);
    await checked(place, file, (chunks) => storePack(chunks, path.join(dir, "objects", "pack"), format));
  }
  for (const [name, file] of Object.entries(manifest.files)) {
    const to = path.join(dir, name);
    await checked(place, file, (chunks) => pipeline(Readable.from(chunks), fs.createWriteStream(to, { mode: 0o640 })));
  }
  const journal = fs.createWriteStream(path.join(stargate, "journal.db"), { mode: 0o640 });
  await checked(place, manifest.journal, (chunks) => pipeline(Readable.from(chunks), createGunzip(), limited, journal));
  fs.writeFileSync(path.join(dir, "HEAD"), manifest.head);
  const repo = openRepository(dir, env);
  try {
    // What the backup has of the config may send git elsewhere.
    installHooks(dir, program, { config: repo.config, replace: true });
    const { zeroOid } = repo.format;
    await repo.refs.update(manifest.refs.map(([name, oid]) => ({ name, oldOid: zeroOid, newOid: oid })));
  } finally {
    repo.close();
  }
  for (const name of ["HEAD", "stargate/journal.db", ...Object.keys(manifest.files)]) syncFile(path.join(dir, name));
  for (const folder of [dir, stargate, path.join(dir, "objects", "pack")]) systemDisk.syncDir(folder);
}

async function verify(manifest: Manifest, dir: string, { env, clock, signal, progress }: RestoreOptions) {
  const repo = openRepository(dir, env);
  const faults: Fault[] = [];
  try {
    const summary = await fsck(repo, { env, clock, signal, progress, report: (fault) => void faults.push(fault) });
    if (faults.length === 0) return summary;
  } finally {
    repo.close();
  }
  const told = faults.slice(0, MOST_FAULTS).map(({ subject, message }) => `${subject}: ${message}`);
  const more = faults.length > told.length ? `; and ${faults.length - told.length} more` : "";
  throw new KvError("CORRUPT", `backup ${manifest.id} does not verify: ${told.join("; ")}${more}`, {
    hint: "take an older one with --at",
  });
}

/** The mirror may have what was accepted after the backup: until it was seen, nothing else is (fence.ts). */
function noteRestore({ id, format }: Manifest, dir: string, { env, clock }: RestoreOptions): void {
  const journal = new Journal(stargateDir(dir));
  try {
    journal.record({
      ...{
        kind: "restore",
        ns: "",
        txn: id,
        seq: 0,
        oid: objectFormat(format).zeroOid,
        updates: [],
        signer: undefined,
      },
      ...{ who: env.USER ?? "local", door: undefined, keysSet: 0, keysDel: 0, acceptedAt: clock.now() },
    });
  } finally {
    journal.close();
  }
}

/** Lets `use` have the content of `file`. Throws CORRUPT where it is not what the manifest says. */
async function checked(
  place: Place,
  file: StoredFile,
  use: (chunks: AsyncGenerator<Uint8Array>) => Promise<void>,
): Promise<void> {
  const hash = new Bun.CryptoHasher("sha256");
  let size = 0;
  const wrong = (cause?: unknown): KvError =>
    new KvError("CORRUPT", `${place.name}: ${fileName(file)} is damaged or missing`, {
      hint: "take an older backup with --at",
      ...(cause !== undefined && { cause }),
    });
  async function* hashed(): AsyncGenerator<Uint8Array> {
    for await (const chunk of place.read(fileName(file))) {
      hash.update(chunk);
      size += chunk.length;
      if (size > file.size) throw wrong();
      yield chunk;
    }
  }
  try {
    await use(hashed());
  } catch (error) {
    // A disk that is full here says nothing of the backup.
    if (
      error instanceof KvError
        ? !["BAD_PACK", "IO"].includes(error.code)
        : (error as { code?: string }).code === "ENOSPC"
    )
      throw error;
    throw wrong(error);
  }
  if (size !== file.size || hash.digest("hex") !== file.sha256) throw wrong();
}

async function storePack(
  chunks: AsyncGenerator<Uint8Array>,
  dir: string,
  format: ReturnType<typeof objectFormat>,
): Promise<void> {
  const source = {
    read: async () => {
      const { value, done } = await chunks.next();
      return done === true ? undefined : asBuffer(value);
    },
  };
  await indexPack(source, { format, dir, bases: undefined, fsync: true });
  // The hash is of all of the file.
  for await (const _ of chunks);
}

async function* limited(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > MAX_JOURNAL) throw new KvError("LIMIT_EXCEEDED", `the journal is larger than ${MAX_JOURNAL} bytes`);
    yield chunk;
  }
}

function syncFile(file: string): void {
  const fd = fs.openSync(file, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}
