/** Applies a filter (object-filter.ts) to one object after the other, and walks trees as deep as a filter lets one. */

import type { ObjectSource } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { MODE, TreeCursor } from "../object/tree.ts";
import { withRoom } from "../pack/grow.ts";
import type { ObjectFilter } from "./object-filter.ts";

/** What a filter says of objects by their kind and size alone, wherever they are. */
export class FilterGate {
  readonly keepsCommits: boolean;
  readonly keepsTrees: boolean;
  readonly keepsAnyBlob: boolean;
  /** Depth at which trees and blobs begin to be left out. */
  readonly treeDepth: number | undefined;
  readonly #source: ObjectSource;
  readonly #blobLimit: number;

  constructor(source: ObjectSource, { blobLimit, treeDepth, type }: ObjectFilter) {
    this.#source = source;
    this.#blobLimit = blobLimit ?? Number.POSITIVE_INFINITY;
    this.treeDepth = treeDepth;
    this.keepsCommits = type === undefined || type === "commit";
    this.keepsTrees = type === undefined || type === "tree";
    this.keepsAnyBlob = (type === undefined || type === "blob") && blobLimit !== 0;
  }

  /** True where all blobs are kept. */
  get keepsEveryBlob(): boolean {
    return this.keepsAnyBlob && this.#blobLimit === Number.POSITIVE_INFINITY;
  }

  keepsBlob(oid: Oid): boolean {
    return this.keepsAnyBlob && (this.keepsEveryBlob || sizeOf(this.#source, oid) < this.#blobLimit);
  }
}

function sizeOf(source: ObjectSource, oid: Oid): number {
  // A blob that is not here is met again, and complained about, when it is to be packed.
  return source.size?.(oid) ?? source.read(oid)?.data.length ?? 0;
}

/** An entry met on the way: a tree, or what else a tree holds. */
export type Visit = (oid: Oid, isTree: boolean) => void;

/** Walks what lies above a depth in many trees. What was seen as high up before is not walked again. */
export class DepthWalk {
  readonly #source: ObjectSource;
  readonly #limit: number;
  readonly #seen: OidTable;
  /** One more than the depth each tree was seen at. */
  #depths = new Uint32Array(64);

  /** Objects at `limit` or deeper are not visited. */
  constructor(source: ObjectSource, limit: number) {
    this.#source = source;
    this.#limit = limit;
    this.#seen = new OidTable(source.format);
  }

  /** Visits the tree `root`, which is at `depth`, and what is in it; an object may be visited more than once. */
  *walk(root: Oid, depth: number, visit: Visit): Generator<void> {
    const stack = [{ oid: root, depth }];
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      if (at.depth >= this.#limit || !this.#isHigher(at.oid, at.depth)) continue;
      visit(at.oid, true);
      for (const entry of this.entries(at.oid, at.depth + 1)) {
        if (entry.isTree) stack.push(entry);
        else visit(entry.oid, false);
      }
      yield;
    }
  }

  /** What the tree `oid` holds, at `depth`; nothing where that is too deep. */
  *entries(oid: Oid, depth: number): Generator<{ oid: Oid; depth: number; isTree: boolean }> {
    if (depth >= this.#limit) return;
    const tree = this.#source.read(oid);
    if (tree?.kind !== "tree") return;
    const cursor = new TreeCursor(this.#source.format, tree.data);
    while (cursor.next()) {
      if (cursor.mode !== MODE.gitlink) yield { oid: cursor.oid(), depth, isTree: cursor.isTree() };
    }
  }

  #isHigher(oid: Oid, depth: number): boolean {
    const index = this.#seen.add(oid);
    this.#depths = withRoom(this.#depths, index);
    const before = this.#depths[index]!;
    if (before !== 0 && before <= depth + 1) return false;
    this.#depths[index] = depth + 1;
    return true;
  }
}
