/** The keys of a snapshot in byte order, each with its metadata and a way to its value. */

import { decodeUtf8 } from "../../bytes.ts";
import { KvError } from "../../errors.ts";
import { readOnceAs } from "../../gitwire/object/object.ts";
import { GarbageMeter } from "../../memory.ts";
import { inSlices } from "../../time-slice.ts";
import { bringPieces } from "../bring-pieces.ts";
import { readManifest, streamValue } from "../chunked-value.ts";
import { type EtagHasher, etagHasher } from "../etag.ts";
import { isExpired } from "../expiry.ts";
import { type IndexEntry, listIndex } from "../index-list.ts";
import { type Key, keyText } from "../key.ts";
import type { Manifest } from "../manifest.ts";
import type { FoundKey } from "../read.ts";
import { parseMetadata } from "../record.ts";
import type { NamespaceState } from "../state.ts";
import type { Workspace } from "../workspace.ts";
import { allFiles, type FindFiles, filesByKey } from "./ledger-files.ts";

/** A key, what is known of it, and its value. */
export interface ExportedKey extends FoundKey {
  /** The value, where it is stored as one blob; undefined where it is in pieces. Its etag has been checked. */
  readonly data: Buffer | undefined;
  /** Hands the whole value on in order; its pieces and its etag are checked. */
  stream(use: (bytes: Buffer) => void): Promise<void>;
}

export interface ExportRange {
  readonly prefix: Key;
  /** Unix seconds: what has expired by then is left out; undefined: nothing is. */
  readonly now: number | undefined;
}

/** Largest value of a format that has each value in one place. */
const MOST_WHOLE = 16 * 1024 * 1024;

/** The keys of `state` in the range. Throws CORRUPT where something is not what its id, metadata or etag name. */
export async function* exportedKeys(
  workspace: Workspace,
  state: NamespaceState,
  { prefix, now }: ExportRange,
): AsyncGenerator<readonly ExportedKey[], void, undefined> {
  const etagOf = await etagHasher(Number.POSITIVE_INFINITY);
  const { objects } = workspace.repo;
  const { progress, signal } = workspace.around;
  const gather = (): Promise<FindFiles> =>
    inSlices(
      allFiles(objects, state, (files) => progress(`exporting: ${files} files found`)),
      signal,
    );
  const find = prefix === "" ? await gather() : filesByKey(objects, state);
  const garbage = new GarbageMeter(COLLECTED);
  let some: ExportedKey[] = [];
  let bytes = 0;
  for (const entry of listIndex(objects, state.ledger.indexTree, { prefix })) {
    if (entry.state.kind === "deleted") continue;
    if (now !== undefined && isExpired(entry.state.expires, now)) continue;
    const exported = open(workspace, find, entry, etagOf);
    some.push(exported);
    bytes += exported.data?.length ?? 0;
    if (some.length < MANY && bytes < MANY_BYTES) continue;
    const { length } = some;
    yield some;
    some = [];
    bytes = 0;
    garbage.add(length);
  }
  if (some.length > 0) yield some;
}

/** Keys whose garbage is collected together. */
const COLLECTED = 25_000;
/** Keys that are handed on at a time, and bytes of their values. */
const MANY = 256;
const MANY_BYTES = 4 * 1024 * 1024;

/** The value in one piece. Throws LIMIT_EXCEEDED where it is too large for that. */
export async function wholeValue({ key, data, meta, stream }: ExportedKey): Promise<Buffer> {
  if (data !== undefined) return data;
  if (meta.size > MOST_WHOLE) {
    throw new KvError(
      "LIMIT_EXCEEDED",
      `${JSON.stringify(keyText(key))} has ${meta.size} bytes, too many for this format`,
      {
        hint: "the format jsonl takes values of any size",
      },
    );
  }
  const parts: Buffer[] = [];
  await stream((bytes) => void parts.push(Buffer.from(bytes)));
  return Buffer.concat(parts, meta.size);
}

/** The value as text; undefined where it is not UTF-8. Throws as {@link wholeValue}. */
export async function wholeText(exported: ExportedKey): Promise<string | undefined> {
  return decodeUtf8(await wholeValue(exported));
}

function open(workspace: Workspace, find: FindFiles, entry: IndexEntry, etagOf: EtagHasher): ExportedKey {
  const found = foundKey(workspace, find, entry);
  if (found.meta.type === "inline") {
    // The etag says more than the object id does.
    const data = readOnceAs(workspace.repo.objects, found.oid, "blob");
    if (etagOf(data) !== found.meta.etag) throw corrupt(found.key, "has a value that is not the one its etag names");
    return { ...found, data, stream: async (use) => use(data) };
  }
  return {
    ...found,
    data: undefined,
    stream: (use) => streamPieces(workspace, readManifest(workspace.repo.objects, found), use),
  };
}

async function streamPieces(workspace: Workspace, manifest: Manifest, use: (bytes: Buffer) => void): Promise<void> {
  const whole = { start: 0, end: manifest.size };
  await bringPieces(workspace, manifest, whole);
  await streamValue(workspace.repo.objects, manifest, whole, use, workspace.around.signal);
}

const metaRoom = Buffer.allocUnsafeSlow(4 * 1024);

function foundKey({ repo: { objects } }: Workspace, find: FindFiles, { key, state }: IndexEntry): FoundKey {
  const files = find(key);
  if (files === undefined) throw corrupt(key, "is in the kv-index and not in the ledger");
  const meta = parseMetadata(readOnceAs(objects, files.meta, "blob", metaRoom));
  if (state.kind === "live" && state.expires === meta.expires) return { key, oid: files.data, meta };
  throw corrupt(key, "expires at another time by the kv-index than by the ledger");
}

function corrupt(key: Key, what: string): KvError {
  return new KvError("CORRUPT", `${JSON.stringify(keyText(key))} ${what}`);
}
