/**
 * The trees a new epoch begins with (docs/formats/data-format.md, section 8): those of the state before it without the keys that have
 * expired at a given time, without tombstones, and with the pieces that are still named. They are a function of that state and
 * that time: who begins an epoch writes them, who checks one makes them again and compares ids.
 */

import { KvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { hasSubtree, MODE, parseTree } from "../gitwire/object/tree.ts";
import { LIMITS } from "../limits.ts";
import { inSlices, TimeSlice } from "../time-slice.ts";
import { addPieces, type ChunkFile } from "./chunk-tree.ts";
import { isExpired } from "./expiry.ts";
import { indexFileName, type KeyState } from "./index-file.ts";
import { type IndexEntry, listIndex } from "./index-list.ts";
import { buildIndexInSteps, type KeyFile } from "./index-tree.ts";
import { keyDigits, keyName } from "./key.ts";
import { type TrieChange, trieFileName, updateTrieInSteps } from "./ledger-trie.ts";
import { parseManifest } from "./manifest.ts";
import type { NodeWriter } from "./node-writer.ts";
import { parseIndexRecord } from "./record.ts";
import type { NamespaceState } from "./state.ts";
import type { Watch } from "./workspace.ts";

/** What an epoch begins with, and what it leaves behind. */
export interface EpochTrees {
  readonly data: Oid | undefined;
  readonly meta: Oid | undefined;
  readonly index: Oid;
  /** The chunk tree; undefined where no value is in pieces. */
  readonly chunks: Oid | undefined;
  /** Keys that go on. */
  readonly live: number;
  /** Keys left out because they have expired. */
  readonly expired: number;
  /** Tombstones left out. */
  readonly tombstones: number;
  /** Pieces that go on, and their bytes. */
  readonly pieces: number;
  readonly pieceBytes: number;
}

/** Whether a key is left out at `now` (Unix seconds): the rule of every reader. */
export function hasExpired(state: KeyState, now: number): boolean {
  return state.kind === "live" && isExpired(state.expires, now);
}

/**
 * Makes the trees of an epoch that follows `base` and begins at `now` (Unix seconds). Lets others run meanwhile and tells `watch` how
 * far it is. Rejects with the signal's reason, and as reading does where the state before is damaged.
 */
export async function epochTrees(
  source: ObjectSource,
  writer: NodeWriter,
  base: NamespaceState,
  now: number,
  watch: Watch = {},
): Promise<EpochTrees> {
  const counts = { live: 0, expired: 0, tombstones: 0 };
  const dropped: IndexEntry[] = [];
  for await (const entry of entries(source, base, watch)) {
    if (entry.state.kind === "deleted") counts.tombstones++;
    else if (hasExpired(entry.state, now)) dropped.push(entry);
    else counts.live++;
  }
  counts.expired = dropped.length;
  const isWhole = counts.expired + counts.tombstones === 0;
  const index = isWhole ? base.ledger.indexTree : await newIndex(source, writer, base, now, watch);
  const update = (kind: "data" | "meta", root: Oid | undefined, gone: TrieChange[]): Promise<Oid | undefined> =>
    inSlices(updateTrieInSteps(writer, kind, root, gone), watch.signal);
  const values = await removals(source, "data", dropped, watch);
  const data = await update("data", base.data, values);
  const meta = await update("meta", base.meta, await removals(source, "meta", dropped, watch));
  const gone = new Set(values.map(({ name }) => name));
  const pieces = await namedPieces(source, base.data, gone, watch);
  const chunks = pieces.size === 0 ? undefined : addPieces(writer, undefined, pieces.values());
  let pieceBytes = 0;
  for (const { size } of pieces.values()) pieceBytes += size;
  watch.progress?.("");
  return { data, meta, index, chunks, ...counts, pieces: pieces.size, pieceBytes };
}

/** All of a kv-index, in key order and in slices. */
async function* entries(
  source: ObjectSource,
  base: NamespaceState,
  { signal, progress }: Watch,
): AsyncGenerator<IndexEntry> {
  const slice = new TimeSlice();
  let count = 0;
  for (const entry of listIndex(source, base.ledger.indexTree)) {
    yield entry;
    count++;
    if (!slice.isOver()) continue;
    progress?.(`looking for what is left behind: ${count} keys`);
    await slice.pause(signal);
  }
}

/** The kv-index of the keys that go on. */
async function newIndex(
  source: ObjectSource,
  writer: NodeWriter,
  base: NamespaceState,
  now: number,
  watch: Watch,
): Promise<Oid> {
  const files = await liveFiles(source, base, now, watch);
  watch.progress?.(`making the kv-index of ${files.length} keys`);
  watch.signal?.throwIfAborted();
  return inSlices(buildIndexInSteps(writer, files), watch.signal);
}

async function liveFiles(source: ObjectSource, base: NamespaceState, now: number, watch: Watch): Promise<KeyFile[]> {
  const files: KeyFile[] = [];
  for await (const { key, state, oid } of entries(source, base, watch)) {
    if (state.kind === "deleted" || hasExpired(state, now)) continue;
    files.push({ key, fileName: indexFileName(keyName(key), state), oid });
  }
  return files;
}

/** The changes that take the dropped keys out of a trie, made in slices. */
async function removals(
  source: ObjectSource,
  kind: "data" | "meta",
  dropped: readonly IndexEntry[],
  { signal }: Watch,
): Promise<TrieChange[]> {
  const changes: TrieChange[] = [];
  const slice = new TimeSlice();
  for (const { key, oid } of dropped) {
    const digits = keyDigits(key);
    const is = kind === "data" && isChunked(source, oid) ? "manifest" : kind;
    changes.push({ digits, name: trieFileName(is, keyName(key, digits)), oid: undefined });
    if (slice.isOver()) await slice.pause(signal);
  }
  return changes;
}

function isChunked(source: ObjectSource, pointer: Oid): boolean {
  const record = parseIndexRecord(readAs(source, pointer, "blob"));
  return record.kind === "live" && record.type === "chunked";
}

/** A piece with its size. */
type SizedPiece = ChunkFile & { readonly size: number };

/** The pieces that the manifests of `data` name, by SHA-256, but for manifests called as in `gone`. */
async function namedPieces(
  source: ObjectSource,
  data: Oid | undefined,
  gone: ReadonlySet<string>,
  { signal, progress }: Watch,
): Promise<ReadonlyMap<string, SizedPiece>> {
  const pieces = new Map<string, SizedPiece>();
  const slice = new TimeSlice(1);
  for (const file of data === undefined ? [] : manifestFiles(source, data)) {
    if (slice.isOver()) {
      progress?.(`looking for large values: ${pieces.size} pieces`);
      await slice.pause(signal);
    }
    if (file === undefined || gone.has(file.name)) continue;
    const { oid } = file;
    const size = source.size?.(oid) ?? 0;
    if (size > LIMITS.manifestBytes) throw new KvError("CORRUPT", `the manifest ${oid} has ${size} bytes`);
    for (const piece of parseManifest(source.format, readAs(source, oid, "blob")).chunks) {
      const { sha256, oid: blob, size: bytes } = piece;
      pieces.set(sha256, { sha256, oid: blob, size: bytes });
    }
  }
  return pieces;
}

/** The files of a data trie that are manifests, and undefined before those of each directory. */
function* manifestFiles(
  source: ObjectSource,
  root: Oid,
  depth = 0,
): Generator<{ readonly name: string; readonly oid: Oid } | undefined> {
  yield undefined;
  if (depth > 64) throw new KvError("CORRUPT", "data/ is deeper than SHA-256 has digits");
  const tree = readAs(source, root, "tree");
  const isBranch = hasSubtree(source.format, tree);
  const suffix = trieFileName("manifest", "");
  for (const { name, mode, oid } of parseTree(source.format, tree)) {
    if (isBranch) yield* manifestFiles(source, oid, depth + 1);
    else if (mode === MODE.file && name.endsWith(suffix)) yield { name, oid };
  }
}
