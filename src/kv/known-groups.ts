/**
 * What is remembered of values in pieces that have been read: the nodes of their BLAKE3 trees, 32 bytes for each group of 64 KiB. Of
 * a key's next version only what is new, or in another place, is read then (docs/design/244-known-groups.md).
 *
 * A node is taken over for the bytes it was made of and no others: those of the same pieces, in digest and blob, at the same
 * place. So it does not matter which value is remembered, nor who wrote it.
 */

import type { Oid } from "../gitwire/object/oid.ts";
import { GROUP_BYTES, NODE_BYTES } from "./blake3/stream.ts";
import { type Key, keyText } from "./key.ts";
import type { Manifest } from "./manifest.ts";

/** Bytes that are remembered: the nodes of 16 GiB of values. */
const MOST_BYTES = 8 * 1024 * 1024;
/** A value that would take more than this part of it is not remembered. */
const LARGEST_SHARE = 4;
/** What a value costs besides its nodes. */
const OVERHEAD = 256;

/** The version of a value that was read last. */
export interface KnownValue {
  /** Its manifest. */
  readonly oid: Oid;
  /** The nodes of its groups, from the first one on. */
  readonly nodes: Buffer;
}

/** The node of a group, by its number; undefined: it is not known. */
export type NodeOf = (group: number) => Buffer | undefined;

/** The nodes of the groups of a value that is being read. */
export class NodeList {
  readonly bytes: Buffer;
  #length = 0;

  /** `size`: bytes of the value. */
  constructor(size: number) {
    this.bytes = Buffer.alloc(groupsOf(size) * NODE_BYTES);
  }

  add(node: Uint8Array): void {
    this.bytes.set(node, this.#length);
    this.#length += node.length;
  }
}

/** How many groups a value has. What it ends with is none: it is part of the root of the tree. */
const groupsOf = (size: number): number => Math.max(0, Math.floor((size - 1) / GROUP_BYTES));

/** What all namespaces share. */
interface Memory {
  /** By namespace and key, the one read last at the end. */
  readonly values: Map<string, KnownValue>;
  readonly most: number;
  bytes: number;
}

export class KnownGroups {
  readonly #memory: Memory;
  readonly #ns: string;

  /** Remembers `most` bytes. */
  constructor(most = MOST_BYTES, ns = "", memory: Memory = { values: new Map(), most, bytes: 0 }) {
    this.#memory = memory;
    this.#ns = ns;
  }

  /** A view of the values of one namespace. */
  within(ns: string): KnownGroups {
    return new KnownGroups(this.#memory.most, ns, this.#memory);
  }

  of(key: Key): KnownValue | undefined {
    return this.#memory.values.get(this.#name(key));
  }

  /** Remembers a value all of which was read and found to be what its manifest says. */
  learn(key: Key, value: KnownValue): void {
    const memory = this.#memory;
    this.#forget(this.#name(key));
    if (value.nodes.length === 0 || value.nodes.length > memory.most / LARGEST_SHARE) return;
    memory.values.set(this.#name(key), value);
    memory.bytes += costOf(value);
    for (const name of memory.values.keys()) {
      if (memory.bytes <= memory.most) return;
      this.#forget(name);
    }
  }

  #forget(name: string): void {
    const value = this.#memory.values.get(name);
    if (value === undefined) return;
    this.#memory.values.delete(name);
    this.#memory.bytes -= costOf(value);
  }

  #name(key: Key): string {
    return `${this.#ns}\0${keyText(key)}`;
  }
}

const costOf = ({ nodes }: KnownValue): number => nodes.length + OVERHEAD;

/** The nodes that the value of `now` has in common with that of `before`, which has `nodes`. */
export function commonNodes(now: Manifest, before: Manifest, nodes: Buffer): NodeOf {
  const old = new Map<number, Manifest["chunks"][number]>();
  for (const [at, piece] of placed(before)) old.set(at, piece);
  const isSame = new Uint8Array(Math.min(nodes.length / NODE_BYTES, groupsOf(now.size))).fill(1);
  for (const [at, { size, sha256, oid }] of placed(now)) {
    const there = old.get(at);
    if (there?.sha256 === sha256 && there.oid === oid) continue;
    isSame.fill(0, Math.floor(at / GROUP_BYTES), Math.floor((at + size - 1) / GROUP_BYTES) + 1);
  }
  return (group) => (isSame[group] === 1 ? nodes.subarray(group * NODE_BYTES, (group + 1) * NODE_BYTES) : undefined);
}

/** The pieces and where each begins. */
function* placed({ chunks }: Manifest): Generator<[at: number, piece: Manifest["chunks"][number]]> {
  let at = 0;
  for (const piece of chunks) {
    yield [at, piece];
    at += piece.size;
  }
}
