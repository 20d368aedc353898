/**
 * Whether wanted objects may be had: only what can be reached from an advertised ref is given away (git:
 * `uploadpack.allowReachableSHA1InWant`; what a rejected or deleted ref left behind stays unseen).
 */

import { createHash } from "node:crypto";
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
 * a walk over the history, newest first, until they are met; trees and blobs a walk over its trees, level by level. A reader that
 * goes down a tree one level a request finds what it wants in the trees it was given before (GivenTrees).
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
  const tips = search.seeksInTrees ? createHash("sha1") : undefined;
  for (const { oid, peeled } of refs) {
    tips?.update(oid, "latin1");
    search.start(peeled ?? oid, oid);
  }
  if (tips === undefined) return search.run();
  const given = GivenTrees.of(source, tips.digest("latin1"));
  search.recall(given.trees);
  const left = await search.run();
  if (left === undefined) for (const oid of wants) if (graph.find(oid) < 0) given.add(oid);
  return left;
}

class Search {
  readonly #source: ObjectSource;
  readonly #graph: CommitGraph;
  readonly #queue: CommitQueue;
  readonly #wanted = new Set<Oid>();
  /** Those of them that only a walk over trees can find, raw; {@link #inTrees} of them are still wanted. */
  readonly #sought: OidTable;
  #inTrees = 0;
  /** Trees that were met, in the order they are walked; those before {@link #walked} are. */
  readonly #trees: OidTable;
  #walked = 0;
  readonly #queued = new Set<number>();
  readonly #slice = new TimeSlice();

  constructor(source: ObjectSource, graph: CommitGraph, wanted: readonly Oid[]) {
    this.#source = source;
    this.#graph = graph;
    this.#queue = new CommitQueue(graph);
    this.#trees = new OidTable(source.format);
    this.#sought = new OidTable(source.format, wanted.length);
    for (const oid of wanted) {
      if (this.#wanted.has(oid)) continue;
      this.#wanted.add(oid);
      if (graph.find(oid) >= 0) continue;
      this.#sought.add(oid);
      this.#inTrees++;
    }
  }

  /** Whether anything is left that only a walk over trees can find. */
  get seeksInTrees(): boolean {
    return this.#inTrees > 0;
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
    if (commit >= 0) {
      this.#enqueue(commit);
      // The trees of all tips are walked together: what readers ask for is near the top of one of them.
      if (this.seeksInTrees) this.#meetTree(this.#graph.tree(commit));
    } else {
      this.#meet(peeled);
      if (this.#source.read(peeled)?.kind === "tree") this.#meetTree(peeled);
    }
  }

  /** Looks in trees that are known to be reachable. */
  recall(trees: readonly Oid[]): void {
    for (let i = trees.length - 1; i >= 0 && this.#inTrees > 0; i--) {
      this.#meet(trees[i]!);
      this.#lookIn(trees[i]!, false);
    }
  }

  async run(): Promise<Oid | undefined> {
    await this.#walkTrees();
    while (this.#wanted.size > 0) {
      const commit = this.#queue.pop();
      if (commit === undefined) break;
      this.#wanted.delete(this.#graph.oid(commit));
      if (this.#inTrees > 0) {
        this.#meetTree(this.#graph.tree(commit));
        await this.#walkTrees();
      }
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

  #meetTree(oid: Oid): void {
    this.#trees.add(oid);
    this.#meet(oid);
  }

  /** Walks the trees that were met and not walked yet, and those below, while anything is sought. */
  async #walkTrees(): Promise<void> {
    for (; this.#inTrees > 0 && this.#walked < this.#trees.size; this.#walked++) {
      this.#lookIn(this.#trees.oid(this.#walked), true);
      if (this.#slice.isOver()) await this.#slice.pause();
    }
  }

  /** Meets what the tree `oid` names; keeps the trees in it to be walked, where that is asked for. */
  #lookIn(oid: Oid, keeps: boolean): void {
    const tree = this.#source.read(oid);
    if (tree?.kind !== "tree") return;
    const cursor = new TreeCursor(this.#source.format, tree.data);
    while (cursor.next()) {
      if (cursor.mode === MODE.gitlink) continue;
      if (this.#sought.indexOfRaw(tree.data, cursor.oidStart) >= 0) this.#meet(cursor.oid());
      if (keeps && cursor.isTree()) this.#trees.addRaw(tree.data, cursor.oidStart);
    }
  }
}

/** Most trees that are remembered of one repository. */
const MOST_GIVEN = 128;

const GIVEN = new WeakMap<ObjectSource, GivenTrees>();

/**
 * Trees (and blobs, in which there is nothing to look) that were found reachable from the very refs that there are now, the newest
 * last. Readers without a clone ask for a tree, then for what is in it; to search all trees of a million keys each time took half a
 * second of processor time.
 */
class GivenTrees {
  readonly #tips: string;
  readonly trees: Oid[] = [];

  private constructor(tips: string) {
    this.#tips = tips;
  }

  /** Those of `source` while its refs have the values that `tips` stands for; none when they have others. */
  static of(source: ObjectSource, tips: string): GivenTrees {
    const known = GIVEN.get(source);
    if (known !== undefined && known.#tips === tips) return known;
    const fresh = new GivenTrees(tips);
    GIVEN.set(source, fresh);
    return fresh;
  }

  add(oid: Oid): void {
    const at = this.trees.indexOf(oid);
    if (at >= 0) this.trees.splice(at, 1);
    this.trees.push(oid);
    if (this.trees.length > MOST_GIVEN) this.trees.shift();
  }
}
