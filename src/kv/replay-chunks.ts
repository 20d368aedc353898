/**
 * The replay check of values in pieces (docs/formats/data-format.md, sections 6 and 7): what a transaction added to the chunk tree,
 * and what its manifests name.
 *
 * A manifest is believed nothing. Every piece it names must be in the chunk tree of this very namespace, so that it can borrow
 * none that its writer may not see; read one after the other, the pieces must have the sizes, digests and etag it states. Where a
 * value is cut is the writer's affair, who may follow an older version's cuts; the sizes are within the chunking's bounds, else
 * the manifest is none. What the chunk tree gained must be pieces that a manifest of this transaction names, and nothing else.
 * One piece is in memory at a time. What is the same in a version of the value that was read before is not read again
 * (known-groups.ts).
 */

import { createHash } from "node:crypto";
import { KvError, toKvError } from "../errors.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import { type Oid, SHA256 } from "../gitwire/object/oid.ts";
import { OidTable } from "../gitwire/object/oid-table.ts";
import { deflateBound } from "../gitwire/pack/zlib.ts";
import { LIMITS } from "../limits.ts";
import { BufferMeter } from "../memory.ts";
import { TimeSlice } from "../time-slice.ts";
import { GROUP_BYTES } from "./blake3/stream.ts";
import { addPieces, type ChunkFile, findPiece } from "./chunk-tree.ts";
import { type ContentRules, checkLfs, LFS_POINTER_BYTES } from "./content-rules.ts";
import { type EtagStream, openEtag } from "./etag-stream.ts";
import { type Key, keyText } from "./key.ts";
import { commonNodes, type KnownGroups, NodeList, type NodeOf } from "./known-groups.ts";
import type { Manifest, Piece } from "./manifest.ts";
import { NodeWriter } from "./node-writer.ts";
import { hashingSink } from "./replay.ts";
import { chunkMismatch, type NewManifest, pieceName, readManifest } from "./stored-manifest.ts";
import { diffTries } from "./trie-diff.ts";

/** The rules that concern values in pieces; whoever compared their sizes with `maxTotal` did so before. */
export type PieceRules = Pick<ContentRules, "forbidLfs" | "maxTotal">;

/** A transaction's part in the chunk store. */
export interface ChunkReplay {
  /** The chunk tree before; undefined where there was none. */
  readonly before: Oid | undefined;
  /** The tree of its chunk commit; undefined where it made none. */
  readonly added: Oid | undefined;
  readonly manifests: readonly NewManifest[];
  readonly rules: PieceRules;
  /** What is remembered of values that were read before, and will be of these. */
  readonly known?: KnownGroups | undefined;
  readonly signal?: AbortSignal;
}

/**
 * Checks what a transaction did to the chunk store. Lets others run meanwhile. Rejects with CHUNK_MISMATCH, LFS_FORBIDDEN,
 * TXN_TOO_LARGE, the signal's reason, or what reading a missing or damaged piece throws, which then names key and piece.
 */
export async function replayChunks(objects: ObjectSource, replay: ChunkReplay): Promise<void> {
  if (replay.added === undefined && replay.manifests.length === 0) return;
  const tree = new AddedPieces(objects, replay);
  const slice = new TimeSlice(1);
  let left = Math.max(LIMITS.valueBytes, replay.rules.maxTotal ?? 0);
  for (const { key, oid, isRead = true } of replay.manifests) {
    const manifest = readManifest(objects, key, oid);
    left -= isRead ? manifest.size : 0;
    if (left < 0) throw tooMuch();
    for (const [i, piece] of manifest.chunks.entries()) {
      tree.name(key, i, piece);
      if (slice.isOver()) await slice.pause();
    }
    if (isRead || manifest.size < LFS_POINTER_BYTES)
      await new ValueReader(objects, tree, { key, oid, manifest }).read(replay, slice);
  }
  tree.finish();
}

function tooMuch(): KvError {
  return new KvError(
    "TXN_TOO_LARGE",
    `the large values of the transaction have over ${LIMITS.valueBytes} bytes in all, more than are read of one`,
    { hint: "set them in several transactions; one value may be larger where the policy's max_value_total is" },
  );
}

/** What a transaction added to the chunk tree. */
class AddedPieces {
  readonly #objects: ObjectSource;
  readonly #replay: ChunkReplay;
  readonly #files: readonly ChunkFile[];
  /** SHA-256 of the added pieces, in the order of `files`. */
  readonly #digests = new OidTable(SHA256);
  /** By number of the digest: 1 where a manifest names it, 2 where its bytes were found to be its own. */
  readonly #states: Uint8Array;

  constructor(objects: ObjectSource, replay: ChunkReplay) {
    this.#objects = objects;
    this.#replay = replay;
    this.#files = addedFiles(objects, replay);
    for (const { sha256 } of this.#files) this.#digests.add(sha256);
    this.#states = new Uint8Array(this.#files.length);
  }

  /** A manifest names the piece: it must be in the chunk tree. */
  name(key: Key, index: number, { sha256, oid }: Piece): void {
    const number = this.#digests.indexOf(sha256);
    if (number >= 0) this.#states[number] = Math.max(1, this.#states[number]!);
    const { before } = this.#replay;
    const found = this.#files[number]?.oid ?? (before && findPiece(this.#objects, before, sha256));
    if (found === oid) return;
    const text = `${pieceName(key, index, sha256)} is not in the namespace's chunk tree`;
    throw chunkMismatch(found === undefined ? text : `${text} as ${oid}, but as ${found}`);
  }

  /** Whether the bytes of the piece are still to be compared with its name; those of old ones were when they came. */
  isUnproved(sha256: string): boolean {
    const number = this.#digests.indexOf(sha256);
    return number >= 0 && this.#states[number] !== 2;
  }

  proved(sha256: string): void {
    this.#states[this.#digests.indexOf(sha256)] = 2;
  }

  /** Nothing was added that no manifest names, and the tree has the one shape that its pieces give it. */
  finish(): void {
    const { before, added } = this.#replay;
    if (added === undefined) return;
    const unnamed = this.#states.indexOf(0);
    if (unnamed >= 0) {
      throw chunkMismatch(
        `the chunk commit adds the piece ${this.#files[unnamed]!.sha256}, which no manifest of it names`,
      );
    }
    if (this.#files.length === 0) throw chunkMismatch("the chunk commit adds no piece");
    const tree = addPieces(new NodeWriter(this.#objects, hashingSink(this.#objects)), before, this.#files);
    if (tree !== added) throw chunkMismatch(`the chunk tree is ${added}, replayed it is ${tree ?? "absent"}`);
  }
}

/** What was added. Throws CHUNK_MISMATCH where something else was done to the tree, TXN_TOO_LARGE. */
function addedFiles(objects: ObjectSource, { before, added }: ChunkReplay): ChunkFile[] {
  if (added === undefined) return [];
  try {
    return diffTries(objects, "chunks", before, added, LIMITS.piecesPerTransaction).map((change) => {
      if (change.before !== undefined || change.after === undefined) {
        throw chunkMismatch(`the chunk commit takes the piece ${change.fileName} away: pieces are only added`);
      }
      return { sha256: change.fileName, oid: change.after };
    });
  } catch (error) {
    if (error instanceof KvError && (error.code === "KEY_INVALID" || error.code === "REPLAY_MISMATCH"))
      throw chunkMismatch(error.message.replace("key's", "piece's"));
    throw error;
  }
}

/**
 * Gives `stream` the piece of `size` bytes that begins at `at`: of a group whose node is known that, else the bytes, for which `read` is
 * called at most once. Returns whether it was.
 */
function updateFrom(
  stream: EtagStream,
  nodeOf: NodeOf | undefined,
  at: number,
  size: number,
  read: () => Buffer,
): boolean {
  const end = at + size;
  let data: Buffer | undefined;
  for (let from = at, to = at; from < end; from = to) {
    const group = Math.floor(from / GROUP_BYTES);
    const node = nodeOf?.(group);
    to = Math.min(end, (group + 1) * GROUP_BYTES);
    // One that is known was taken up where it began.
    if (node !== undefined) {
      if (from === group * GROUP_BYTES) stream.updateNode!(node);
      continue;
    }
    while (to < end && nodeOf?.(to / GROUP_BYTES) === undefined) to = Math.min(end, to + GROUP_BYTES);
    data ??= read();
    stream.update(data.subarray(from - at, to - at));
  }
  return data !== undefined;
}

/** Reads a value from its pieces and compares it with what its manifest says. */
class ValueReader {
  readonly #objects: ObjectSource;
  readonly #tree: AddedPieces;
  readonly #key: Key;
  readonly #oid: Oid;
  readonly #manifest: Manifest;
  /** One place for all pieces: fresh memory for each takes longer than reading it. */
  readonly #room: Buffer;

  constructor(
    objects: ObjectSource,
    tree: AddedPieces,
    { key, oid, manifest }: { readonly key: Key; readonly oid: Oid; readonly manifest: Manifest },
  ) {
    this.#room = Buffer.allocUnsafeSlow(deflateBound(Math.max(...manifest.chunks.map(({ size }) => size))));
    this.#objects = objects;
    this.#tree = tree;
    this.#key = key;
    this.#oid = oid;
    this.#manifest = manifest;
  }

  async read(replay: ChunkReplay, slice: TimeSlice): Promise<void> {
    const { size } = this.#manifest;
    // The second time only what is sound here is taken: the first may have come upon a damaged copy.
    if (!(await this.#hasEtag(replay, slice, this.#room)) && !(await this.#hasEtag(replay, slice)))
      throw chunkMismatch(`the etag of ${JSON.stringify(keyText(this.#key))} is not the one of its pieces`);
    if (size < LFS_POINTER_BYTES) {
      const pieces = this.#manifest.chunks.map((piece, i) => this.#piece(i, piece));
      checkLfs(replay.rules, this.#key, Buffer.concat(pieces));
    }
  }

  /** Whether the value that the pieces make has the etag. They are read to `room` where it is given; without it, all of them. */
  async #hasEtag({ known, signal }: ChunkReplay, slice: TimeSlice, room?: Buffer): Promise<boolean> {
    const nodes = new NodeList(this.#manifest.size);
    const stream = await openEtag((node) => nodes.add(node));
    const nodeOf = known && room && stream.updateNode && this.#commonNodes(known);
    const meter = new BufferMeter();
    let at = 0;
    for (const [i, piece] of this.#manifest.chunks.entries()) {
      const isRead = updateFrom(stream, nodeOf, at, piece.size, () => this.#piece(i, piece, room));
      if (isRead) meter.add(piece.size);
      else if (!this.#objects.has(piece.oid)) this.#piece(i, piece);
      at += piece.size;
      if (slice.isOver()) await slice.pause();
      signal?.throwIfAborted();
    }
    if (stream.finish() !== this.#manifest.etag) return false;
    known?.learn(this.#key, { oid: this.#oid, nodes: nodes.bytes });
    return true;
  }

  /** The nodes that the value has in common with the version that was read last. */
  #commonNodes(known: KnownGroups): NodeOf | undefined {
    const last = known.of(this.#key);
    try {
      return last && commonNodes(this.#manifest, readManifest(this.#objects, this.#key, last.oid), last.nodes);
    } catch (error) {
      // It is gone where its transaction was refused after all.
      if (error instanceof KvError) return undefined;
      throw error;
    }
  }

  #piece(index: number, piece: Piece, room?: Buffer): Buffer {
    const { size, sha256 } = piece;
    const name = pieceName(this.#key, index, sha256);
    const data = this.#stored(name, piece, room);
    if (data.length !== size) throw chunkMismatch(`${name} has ${data.length} bytes, the manifest says ${size}`);
    if (this.#tree.isUnproved(sha256)) {
      if (createHash("sha256").update(data).digest("hex") !== sha256) {
        if (room !== undefined) return this.#piece(index, piece);
        throw chunkMismatch(`${name} does not have that SHA-256`);
      }
      this.#tree.proved(sha256);
    }
    return data;
  }

  /** The bytes of a piece; in `room` they are not compared with what is stored beside them. */
  #stored(name: string, { oid, sha256 }: Piece, room: Buffer | undefined): Buffer {
    try {
      const object = room && this.#objects.readInto?.(oid, room);
      return object?.kind === "blob" ? object.data : readAs(this.#objects, oid, "blob");
    } catch (thrown) {
      const { code, message } = toKvError(thrown);
      throw new KvError(code, `${name}: ${message}`, { cause: thrown, data: { key: keyText(this.#key), sha256, oid } });
    }
  }
}
