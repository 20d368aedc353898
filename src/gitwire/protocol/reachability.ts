/**
 * Whether wanted objects may be had: only what can be reached from an advertised ref is given away (git:
 * `uploadpack.allowReachableSHA1InWant`; what a rejected or deleted ref left behind stays unseen).
 */

import { TimeSlice } from "../../time-slice.ts";
import type { ObjectSource } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { tagTarget } from "../object/tag.ts";
import { MODE, TreeCursor } from "../object/tree.ts";
import type { CommitGraph } from "./commit-graph.ts";
import { CommitQueue } from "./commit-queue.ts";
import type { RemoteRef } from "./ref-advertisement.ts";

/**
 * The first of `wants` that cannot be reached from `refs`, or undefined where all can. None is the value of a ref. Commits take
 * a walk over the history, newest first, until they are met; trees and blobs a walk over its trees.
 */
export async function findUnreachable(
  source: ObjectSource & { has(oid: Oid): boolean },
  graph: CommitGraph,
  refs: Iterable<RemoteRef>,
  wants: readonly Oid[],
): Promise<Oid | undefined> {
  const absent = wants.find((oid) => !source.has(oid));
  if (absent !== undefined || wants.length === 0) return absent;
  const search = new Search(source, graph, wants);
  for (const { oid, peeled } of refs) search.start(peeled ?? oid, oid);
  return search.run();
}

class Search {
  readonly #source: ObjectSource;
  readonly #graph: CommitGraph;
  readonly #queue: CommitQueue;
  readonly #wanted = new Set<Oid>();
  /** Whether only a walk over trees can find what is left. */
  #inTrees = 0;
  readonly #trees: OidTable;
  readonly #queued = new Set<number>();
  readonly #slice = new TimeSlice();
  readonly #tipTrees: Oid[] = [];

  constructor(source: ObjectSource, graph: CommitGraph, wanted: readonly Oid[]) {
    this.#source = source;
    this.#graph = graph;
    this.#queue = new CommitQueue(graph);
    this.#trees = new OidTable(source.format);
    for (const oid of wanted) {
      if (this.#wanted.has(oid)) continue;
      this.#wanted.add(oid);
      if (graph.find(oid) < 0) this.#inTrees++;
    }
  }

  /** Adds a tip: the tags from `ref` to the object `peeled` are reachable, and so is what is below that. */
  start(peeled: Oid, ref: Oid): void {
    for (let at = ref; at !== peeled; ) {
      const object = this.#source.read(at);
      if (object?.kind !== "tag") return;
      this.#meet(at);
      at = tagTarget(this.#source.format, object.data).oid;
    }
    const commit = this.#graph.find(peeled);
    if (commit >= 0) this.#enqueue(commit);
    else {
      this.#meet(peeled);
      if (this.#source.read(peeled)?.kind === "tree") this.#tipTrees.push(peeled);
    }
  }

  async run(): Promise<Oid | undefined> {
    for (const tree of this.#tipTrees) await this.#walkTree(tree);
    while (this.#wanted.size > 0) {
      const commit = this.#queue.pop();
      if (commit === undefined) break;
      this.#wanted.delete(this.#graph.oid(commit));
      if (this.#inTrees > 0) await this.#walkTree(this.#graph.tree(commit));
      for (const parent of this.#graph.parents(commit)) if (this.#graph.load(parent)) this.#enqueue(parent);
      if (this.#slice.isOver()) await this.#slice.pause();
    }
    const [left] = this.#wanted;
    return left;
  }

  #enqueue(commit: number): void {
    if (this.#queued.has(commit)) return;
    this.#queued.add(commit);
    this.#queue.push(commit);
  }

  /** An object that is no commit was met. */
  #meet(oid: Oid): void {
    if (this.#wanted.delete(oid)) this.#inTrees--;
  }

  /** Walks what was not walked before of a tree. */
  async #walkTree(root: Oid): Promise<void> {
    const stack = [root];
    for (let oid = stack.pop(); oid !== undefined && this.#inTrees > 0; oid = stack.pop()) {
      const before = this.#trees.size;
      if (this.#trees.add(oid) < before) continue;
      this.#meet(oid);
      const tree = this.#source.read(oid);
      if (tree?.kind !== "tree") continue;
      const cursor = new TreeCursor(this.#source.format, tree.data);
      while (cursor.next()) {
        if (cursor.isTree()) stack.push(cursor.oid());
        else if (cursor.mode !== MODE.gitlink) this.#meet(cursor.oid());
      }
      if (this.#slice.isOver()) await this.#slice.pause();
    }
  }
}
