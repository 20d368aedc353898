/**
 * What one backup consists of. Files are named by their SHA-256, so backups share what they have in common and each can be
 * checked by itself; a backup exists from the moment its manifest does, which is written last.
 *
 *   backups/<id>.json    files/<sha256>    <id> = time in milliseconds, then eight random digits: sorts by age
 */

import { KvError } from "../../errors.ts";
import { isOid, type Oid, objectFormat } from "../../gitwire/object/oid.ts";
import { isValidRefName } from "../../gitwire/refs/ref-name.ts";
import type { Place } from "./place.ts";

/** Largest manifest that is read. */
const MAX_BYTES = 256 * 1024 * 1024;

/** A file of a backup. */
export interface StoredFile {
  /** Hex SHA-256 of its content, which names it. */
  readonly sha256: string;
  readonly size: number;
}

/** A pack, which later backups build on. */
export interface StoredPack extends StoredFile {
  /** When it was read back last and was what it is to be, RFC 3339; absent: by a version that did not note it. */
  readonly checked?: string;
}

export interface Manifest {
  readonly v: 1;
  readonly id: string;
  /** RFC 3339. */
  readonly created: string;
  readonly format: string;
  /** Content of HEAD. */
  readonly head: string;
  readonly refs: readonly (readonly [name: string, oid: Oid])[];
  /** Together they hold all objects; each builds on those before it. */
  readonly packs: readonly StoredPack[];
  /** The journal as it was when the refs were read, gzipped. */
  readonly journal: StoredFile;
  /** Other files of the repository by their path in it. */
  readonly files: Readonly<Record<string, StoredFile>>;
}

/** Files of the repository that are kept besides objects, refs and journal. */
export const KEPT_FILES = ["config", "stargate.yaml", "stargate/tokens.json"] as const;

export const fileName = ({ sha256 }: StoredFile): string => `files/${sha256}`;
export const manifestName = (id: string): string => `backups/${id}.json`;

/** Ids of the backups at `place`, oldest first. */
export async function listBackups(place: Place): Promise<string[]> {
  const names = await place.list("backups");
  return names.flatMap((name) => /^backups\/(\d{8}T\d{9}Z-[0-9a-f]{8})\.json$/.exec(name)?.[1] ?? []);
}

/** When the backup `id` was made, by its name: milliseconds since 1970. */
export function timeOf(id: string): number {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z/.exec(id);
  const [, year, month, day, hour, minute, second, ms] = parts ?? [];
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${ms}Z`);
}

/** The manifest of the backup `id`. Throws CORRUPT where it is none. */
export async function readManifest(place: Place, id: string): Promise<Manifest> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of place.read(manifestName(id))) {
    size += chunk.length;
    if (size > MAX_BYTES)
      throw new KvError("LIMIT_EXCEEDED", `the manifest of ${id} is larger than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  let content: unknown;
  try {
    content = JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {}
  if (!isManifest(content) || content.id !== id)
    throw new KvError("CORRUPT", `backup ${id} has no sound manifest`, SEE);
  return content;
}

const SEE = { hint: "take another backup: 'restore --at' names one" };

function isManifest(value: unknown): value is Manifest {
  const { v, id, created, format, head, refs, packs, journal, files } = (value ?? {}) as Record<string, unknown>;
  if (v !== 1 || typeof id !== "string" || typeof created !== "string") return false;
  if ((format !== "sha1" && format !== "sha256") || typeof head !== "string" || !/^ref: refs\/\S+\n$/.test(head))
    return false;
  const isRef = (ref: unknown): boolean =>
    Array.isArray(ref) &&
    ref.length === 2 &&
    isValidRefName(String(ref[0])) &&
    isOid(objectFormat(format), String(ref[1]));
  return (
    Array.isArray(refs) &&
    refs.every(isRef) &&
    Array.isArray(packs) &&
    packs.every(isStored) &&
    isStored(journal) &&
    typeof files === "object" &&
    files !== null &&
    Object.entries(files).every(([name, file]) => (KEPT_FILES as readonly string[]).includes(name) && isStored(file))
  );
}

function isStored(value: unknown): value is StoredFile {
  const { sha256, size } = (value ?? {}) as Partial<StoredFile>;
  return /^[0-9a-f]{64}$/.test(String(sha256)) && Number.isSafeInteger(size) && size! >= 0;
}
