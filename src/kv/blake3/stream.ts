/**
 * BLAKE3 of a long input that comes in portions (the paper "BLAKE3: one function, fast everywhere", sections 2.1 and 5.1.2): chunks of
 * 1 KiB are the leaves of a binary tree whose left halves are complete.
 *
 * 64 chunks at a time are made one node of the tree by vectors. They are taken up only when more follows, since the last node is the
 * root, which is computed otherwise. Nodes wait on a stack until their right neighbour is there.
 */

import { assert } from "../../errors.ts";
import { BLOCK_BYTES, CHUNK_BYTES, type Compression, compress, FLAG, IV } from "./compress.ts";
import { simdModuleText } from "./simd-module.ts" with { type: "macro" };
import type { Blake3Module } from "./simd-module.ts";

/** Chunks that are made one node at once, a power of two. */
const GROUP_CHUNKS = 64;
export const GROUP_BYTES = GROUP_CHUNKS * CHUNK_BYTES;
/** Bytes of a chaining value. */
export const NODE_BYTES = 32;
/** Inputs of one call. */
const LANES = 4;
/** Memory: a group of chunks, then two lists of chaining values, then a pair of them. */
const LIST_BYTES = GROUP_CHUNKS * NODE_BYTES;
const PAIR = GROUP_BYTES + 2 * LIST_BYTES;
const HIGH = 2 ** 32;

/** A chaining value, as bytes. */
type Chain = Uint8Array;

let shared: Blake3Module | undefined | null = null;

/** The module, or undefined where the processor or the runtime has no vectors. */
function vectors(): Blake3Module | undefined {
  if (shared === null) {
    const bytes = Buffer.from(simdModuleText(2), "base64");
    shared = WebAssembly.validate(bytes)
      ? (new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as unknown as Blake3Module)
      : undefined;
  }
  return shared;
}

/** Begins a hash; undefined where it cannot be computed by vectors. `onNode` is told the node of each group. */
export function openBlake3(onNode?: (node: Uint8Array) => void): Blake3Stream | undefined {
  const module = vectors();
  return module && new Blake3Stream(module, onNode);
}

export class Blake3Stream {
  readonly #module: Blake3Module;
  readonly #memory: Uint8Array;
  /** Bytes that have not been taken up. */
  readonly #rest = Buffer.allocUnsafeSlow(GROUP_BYTES);
  #length = 0;
  /** Chunks that have been. */
  #chunks = 0;
  /** Complete nodes that have no right neighbour yet, the largest first. */
  readonly #nodes: Chain[] = [];
  readonly #onNode: ((node: Chain) => void) | undefined;

  constructor(module: Blake3Module, onNode?: (node: Chain) => void) {
    this.#module = module;
    this.#onNode = onNode;
    this.#memory = new Uint8Array(module.memory.buffer);
  }

  update(portion: Uint8Array): void {
    for (let at = 0; at < portion.length; ) {
      this.#takeRest();
      for (; this.#length === 0 && portion.length - at > GROUP_BYTES; at += GROUP_BYTES) {
        this.#takeGroup(portion.subarray(at, at + GROUP_BYTES));
      }
      const part = portion.subarray(at, at + GROUP_BYTES - this.#length);
      this.#rest.set(part, this.#length);
      this.#length += part.length;
      at += part.length;
    }
  }

  /**
   * Takes up the next group by its node, as `onNode` was told it of the same bytes at the same place. What came before are whole
   * groups, and more will follow.
   */
  updateNode(node: Uint8Array): void {
    this.#takeRest();
    assert(this.#length === 0, "a node stands for a whole group");
    this.#addGroup(node);
  }

  /** The hash in hex; the stream is of no use afterwards. */
  finish(): string {
    const last = Math.max(0, Math.ceil(this.#length / CHUNK_BYTES) - 1);
    this.#memory.set(this.#rest.subarray(0, this.#length));
    this.#hashChunks(last);
    for (let chunk = 0; chunk < last; chunk++) this.#add(this.#chainAt(GROUP_BYTES + chunk * NODE_BYTES), 1);
    let output = lastChunk(this.#rest.subarray(last * CHUNK_BYTES, this.#length), this.#chunks);
    for (let node = this.#nodes.pop(); node !== undefined; node = this.#nodes.pop()) {
      output = parent(wordsOf(node), compress(output));
    }
    const words = compress({ ...output, flags: output.flags | FLAG.root });
    const hash = Buffer.alloc(NODE_BYTES);
    for (const [n, word] of words.entries()) hash.writeUInt32LE(word, n * 4);
    return hash.toString("hex");
  }

  /** Takes up a group that is complete, now that more will come. */
  #takeRest(): void {
    if (this.#length < GROUP_BYTES) return;
    this.#takeGroup(this.#rest);
    this.#length = 0;
  }

  /** Takes up 64 chunks, after which more will come. */
  #takeGroup(bytes: Uint8Array): void {
    this.#memory.set(bytes);
    this.#hashChunks(GROUP_CHUNKS);
    let from = GROUP_BYTES;
    let to = GROUP_BYTES + LIST_BYTES;
    for (let nodes = GROUP_CHUNKS / 2; nodes >= 1; nodes /= 2) {
      this.#hashParents(from, to, nodes);
      [from, to] = [to, from];
    }
    this.#addGroup(this.#chainAt(from));
  }

  #addGroup(node: Chain): void {
    this.#onNode?.(node);
    this.#add(node, GROUP_CHUNKS);
  }

  /** Hashes the first `count` chunks in memory; their chaining values follow the last. */
  #hashChunks(count: number): void {
    const high = Math.floor(this.#chunks / HIGH);
    const blocks = CHUNK_BYTES / BLOCK_BYTES;
    const fours = Math.ceil(count / LANES);
    if (fours === 0) return;
    const { chunkStart, chunkEnd } = FLAG;
    this.#module.hash(fours, 0, GROUP_BYTES, blocks, this.#chunks % HIGH, 1, high, 0, chunkStart, chunkEnd);
  }

  /** Makes `count` nodes of pairs of nodes, or up to three more. */
  #hashParents(input: number, output: number, count: number): void {
    this.#module.hash(Math.ceil(count / LANES), input, output, 1, 0, 0, 0, FLAG.parent, 0, 0);
  }

  #chainAt(start: number): Chain {
    return this.#memory.slice(start, start + NODE_BYTES);
  }

  /** Adds a node of `size` chunks: it and its left neighbours become one as long as they are of one size. */
  #add(chain: Chain, size: number): void {
    this.#chunks += size;
    let node = chain;
    // By vectors, too, of which three parts of four are for nothing: they are ten times as fast.
    for (let count = this.#chunks / size; count % 2 === 0; count /= 2) {
      this.#memory.set(this.#nodes.pop()!, PAIR);
      this.#memory.set(node, PAIR + NODE_BYTES);
      this.#hashParents(PAIR, PAIR + LANES * BLOCK_BYTES, 1);
      node = this.#chainAt(PAIR + LANES * BLOCK_BYTES);
    }
    this.#nodes.push(node);
  }
}

/** The compression that makes a node of its two halves. */
function parent(left: Uint32Array, right: Uint32Array): Compression {
  return { chain: IV, block: [...left, ...right], counter: 0, length: BLOCK_BYTES, flags: FLAG.parent };
}

/** The last compression of the input's last chunk. */
function lastChunk(bytes: Uint8Array, counter: number): Compression {
  let chain: ArrayLike<number> = IV;
  for (let at = 0, first = FLAG.chunkStart as number; ; at += BLOCK_BYTES, first = 0) {
    const part = bytes.subarray(at, at + BLOCK_BYTES);
    const padded = new Uint8Array(BLOCK_BYTES);
    padded.set(part);
    const step = { chain, block: wordsOf(padded), counter, length: part.length, flags: first };
    if (at + BLOCK_BYTES >= bytes.length) return { ...step, flags: first | FLAG.chunkEnd };
    chain = compress(step);
  }
}

/** Little-endian words. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Uint32Array.from({ length: bytes.length / 4 }, (_, word) => view.getUint32(word * 4, true));
}
