/**
 * The objects of a pack to be sent: everything reachable from what is wanted but not from what the other side has (git:
 * `rev-list --objects wants --not haves`).
 *
 * The trees of each commit are compared with those of its parents, side by side, so the work is that of the change and
 * not that of the tree (git marks all of the other side's tree instead: a million keys make some 8,000 trees). It also
 * tells, for every tree, which older one it was made from.
 */

import { KvError } from "../../errors.ts";
import { TimeSlice } from "../../time-slice.ts";
import type { GitObject, ObjectSource } from "../object/object.ts";
import type { ObjectKind, Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { tagTarget } from "../object/tag.ts";
import { MODE, TreeCursor } from "../object/tree.ts";
import { compareTrees } from "../object/tree-difference.ts";
import { withRoom } from "../pack/grow.ts";
import { ObjectCache } from "../pack/object-cache.ts";
import type { Pack } from "../pack/pack-reader.ts";
import type { CommitGraph } from "./commit-graph.ts";
import { DepthWalk, FilterGate } from "./filter-gate.ts";
import { ListedObjects } from "./listed-objects.ts";
import type { ObjectFilter } from "./object-filter.ts";
import { revisionRange } from "./revision-range.ts";

/** What goes into a pack, in the order it is written. */
export interface ObjectList {
  readonly objects: ListedObjects;
  /** An object like that of this number, which the receiver has or is sent: a good base for a delta. */
  likely(number: number): Oid | undefined;
  /** True where the receiver surely has the object already. */
  receiverHas(oid: Oid): boolean;
}

export interface ObjectListRequest {
  readonly wants: readonly Oid[];
  /** What the other side has, as far as we have it too. */
  readonly haves: readonly Oid[];
  /** Annotated tags to be added where what they point at is sent (include-tag). */
  readonly tags: Iterable<{ readonly oid: Oid; readonly peeled: Oid }>;
  /** What is left out, but for what is wanted by its id. */
  readonly filter?: ObjectFilter | undefined;
}

/** Trees of the other side's tips that a commit without parents is compared with (the root of a new epoch is one). */
const ROOT_BASELINES = 8;

/** Deepest chain of tags on tags that is followed. */
const DEEPEST_TAG = 100;

/** Where the objects are; one that has packs can say where they are kept. */
export type ListedSource = ObjectSource & { packs?(): readonly Pack[] };

/** See ListBuilder.#likely. */
const OTHER = 2 ** 31;

/** Bytes of trees kept while a list is made: each is read for its own commit and for the next. */
const TREE_BYTES = 16 * 1024 * 1024;

/** Makes the list. Throws CORRUPT where an object is missing or of the wrong kind. */
export async function listObjects(
  source: ListedSource,
  graph: CommitGraph,
  request: ObjectListRequest,
): Promise<ObjectList> {
  const gate = request.filter === undefined ? undefined : new FilterGate(source, request.filter);
  const list = new ListBuilder(source, graph, gate);
  await list.build(request);
  return list;
}

class ListBuilder implements ObjectList {
  readonly objects: ListedObjects;
  readonly #source: ObjectSource;
  readonly #graph: CommitGraph;
  /** What the receiver has, or is sent as part of something else. */
  readonly #known: OidTable;
  readonly #gate: FilterGate | undefined;
  /** What was met and left out, or may be missing on the other side because of the filter. */
  readonly #passed: OidTable;
  /** For each object one like it: 0 for none, or one more than its number, or from {@link OTHER} on its number in {@link #others}. */
  #likely = new Uint32Array(0);
  /** Those of them that are not listed. */
  readonly #others: OidTable;
  /** Kept here and not with the source: a clone reads all there are, and would leave nothing that others read often. */
  readonly #trees = new ObjectCache(TREE_BYTES);
  /** Where trees are that are looked at once. */
  readonly #room = Buffer.allocUnsafeSlow(32 * 1024);
  readonly #slice = new TimeSlice();

  constructor(source: ListedSource, graph: CommitGraph, gate: FilterGate | undefined) {
    this.#source = source;
    this.#graph = graph;
    this.#gate = gate;
    this.#passed = new OidTable(source.format);
    this.objects = new ListedObjects(source.format, () => source.packs?.() ?? []);
    this.#known = new OidTable(source.format);
    this.#others = new OidTable(source.format);
  }

  likely(number: number): Oid | undefined {
    const one = this.#likely[number] ?? 0;
    if (one === 0) return undefined;
    return one < OTHER ? this.objects.oid(one - 1) : this.#others.oid(one - OTHER);
  }

  receiverHas(oid: Oid): boolean {
    return this.#known.has(oid);
  }

  async build({ wants, haves, tags }: ObjectListRequest): Promise<void> {
    for (const oid of haves) this.#known.add(oid);
    const old = haves.map((oid) => this.#commitOf(oid)).filter((commit) => commit >= 0);
    const commits: number[] = [];
    const others: { oid: Oid; kind: ObjectKind }[] = [];
    for (const oid of wants) this.#addWant(oid, commits, others);
    const range = await revisionRange(this.#graph, commits, old);
    const listed = this.#gate?.keepsCommits === false ? inBoth(range, commits) : range;
    for (const commit of listed) this.objects.add(this.#graph.oid(commit));
    const trees = others.filter(({ kind }) => kind === "tree").map(({ oid }) => oid);
    for (const { oid, kind } of others) if (kind !== "tree") this.#add(oid);
    await this.#addContent(range, old, trees);
    this.#addTags(tags);
  }

  /** Adds the trees and blobs of the commits `range`, and those of the `wanted` trees. */
  async #addContent(range: readonly number[], old: readonly number[], wanted: readonly Oid[]): Promise<void> {
    const gate = this.#gate;
    if (gate?.treeDepth !== undefined) await this.#addToDepth(range, old, wanted, gate.treeDepth);
    else {
      if (gate === undefined || gate.keepsTrees || gate.keepsAnyBlob) await this.#addTreesOf(range, old);
      for (const oid of wanted) await this.#addTree(oid, true);
    }
  }

  /** As {@link #addContent}, above a depth. The trees are walked one by one: what a tree leaves out another may hold higher up. */
  async #addToDepth(
    range: readonly number[],
    old: readonly number[],
    wanted: readonly Oid[],
    depth: number,
  ): Promise<void> {
    const inRange = new Set(range);
    const parents = range.flatMap((commit) => this.#graph.parents(commit)).filter((commit) => !inRange.has(commit));
    const theirs = new DepthWalk(this.#source, depth);
    for (const commit of new Set([...old, ...parents])) {
      if (!this.#graph.load(commit)) continue;
      await this.#run(theirs.walk(this.#graph.tree(commit), 0, (oid, isTree) => void this.#tableOf(isTree).add(oid)));
    }
    const ours = new DepthWalk(this.#source, depth);
    const take = (oid: Oid, isTree: boolean): void => void this.#take(oid, isTree);
    for (const commit of range) await this.#run(ours.walk(this.#graph.tree(commit), 0, take));
    for (const tree of wanted) {
      this.#add(tree);
      for (const entry of ours.entries(tree, 0)) {
        if (entry.isTree) await this.#run(ours.walk(entry.oid, 0, take));
        else take(entry.oid, false);
      }
    }
  }

  async #run(work: Generator<void>): Promise<void> {
    for (const _ of work) if (this.#slice.isOver()) await this.#slice.pause();
  }

  /** Adds the tags on the way from a wanted object; what they lead to is a commit to start from or another object. */
  #addWant(want: Oid, commits: number[], others: { oid: Oid; kind: ObjectKind }[]): void {
    let oid = want;
    for (let depth = 0; depth <= DEEPEST_TAG; depth++) {
      const commit = this.#graph.find(oid);
      if (commit >= 0) {
        commits.push(commit);
        return;
      }
      const kind = this.#source.kind?.(oid) ?? this.#read(oid).kind;
      if (kind !== "tag") {
        others.push({ oid, kind });
        return;
      }
      this.#add(oid);
      oid = tagTarget(this.#source.format, this.#read(oid).data).oid;
    }
    throw new KvError("CORRUPT", `tag ${want} is nested too deep`);
  }

  /** The commit an object of the other side leads to, or -1. */
  #commitOf(have: Oid): number {
    let oid = have;
    for (let depth = 0; depth <= DEEPEST_TAG; depth++) {
      const commit = this.#graph.find(oid);
      if (commit >= 0) return commit;
      const object = this.#source.read(oid);
      if (object?.kind !== "tag") return -1;
      oid = tagTarget(this.#source.format, object.data).oid;
      this.#known.add(oid);
    }
    return -1;
  }

  #addTags(tags: ObjectListRequest["tags"]): void {
    for (const { oid, peeled } of tags) {
      if (!this.objects.has(peeled)) continue;
      for (let at = oid; at !== peeled && !this.#known.has(at) && !this.objects.has(at); ) {
        this.objects.add(at);
        at = tagTarget(this.#source.format, this.#read(at).data).oid;
      }
    }
  }

  /** Adds a tree and everything in it that is neither known nor added yet. `isWanted`: the tree is no matter for a filter. */
  async #addTree(root: Oid, isWanted = false): Promise<void> {
    const stack = [root];
    for (let oid = stack.pop(); oid !== undefined; oid = stack.pop()) {
      if (!(isWanted && oid === root ? this.#add(oid) : this.#take(oid, true))) continue;
      const cursor = new TreeCursor(this.#source.format, this.#readTree(oid, true));
      while (cursor.next()) {
        if (cursor.mode === MODE.gitlink || this.#isHandled(cursor)) continue;
        if (cursor.isTree()) stack.push(cursor.oid());
        else if (this.#gate === undefined) this.objects.addRaw(cursor.data, cursor.oidStart);
        else this.#take(cursor.oid(), false);
      }
      if (this.#slice.isOver()) await this.#slice.pause();
    }
  }

  async #addTreesOf(range: readonly number[], old: readonly number[]): Promise<void> {
    const roots = [...new Set(old.slice(0, ROOT_BASELINES).map((commit) => this.#graph.tree(commit)))];
    for (const oid of roots) this.#known.add(oid);
    for (const commit of parentsFirst(this.#graph, range)) {
      const parents = this.#graph.parents(commit);
      const before = parents.length > 0 ? parents.map((parent) => this.#graph.tree(parent)) : roots;
      await this.#addDifference(this.#graph.tree(commit), before);
    }
  }

  /**
   * Adds what the tree `root` holds and none of the trees `before` hold in the same place. What is gone from its old place
   * becomes known before anything else is added, so what only moved is not sent again.
   */
  async #addDifference(root: Oid, before: readonly Oid[]): Promise<void> {
    const pending: PendingDifference = { pairs: [{ tree: root, before }], blobs: [], trees: [] };
    for (let pair = pending.pairs.pop(); pair !== undefined; pair = pending.pairs.pop()) {
      if (pair.before.includes(pair.tree) || !this.#take(pair.tree, true, pair.before[0])) continue;
      const [only, ...others] = pair.before;
      if (only !== undefined && others.length === 0) this.#compareWithOne(pair.tree, only, pending);
      else this.#compareWithAll(pair, pending);
      if (this.#slice.isOver()) await this.#slice.pause();
    }
    for (const { oid, likely } of pending.blobs) this.#take(oid, false, likely);
    for (const oid of pending.trees) await this.#addTree(oid);
  }

  #compareWithOne(tree: Oid, before: Oid, pending: PendingDifference): void {
    compareTrees(this.#source.format, this.#readTree(before), this.#readTree(tree), {
      added: (entry, old) => {
        if (entry.mode === MODE.gitlink || this.#isHandled(entry)) return;
        const likely = old === undefined || old.mode === MODE.gitlink ? undefined : old.oid();
        if (!entry.isTree()) pending.blobs.push({ oid: entry.oid(), likely });
        else if (likely === undefined) pending.trees.push(entry.oid());
        else pending.pairs.push({ tree: entry.oid(), before: [likely] });
      },
      removed: (entry) => this.#setKnown(entry),
    });
  }

  #compareWithAll({ tree, before }: TreePair, pending: PendingDifference): void {
    const old = this.#oldEntries(before);
    const cursor = new TreeCursor(this.#source.format, this.#readTree(tree));
    while (cursor.next()) {
      if (cursor.mode === MODE.gitlink || this.#isHandled(cursor)) continue;
      const isTree = cursor.isTree();
      const same = (old.get(cursor.name()) ?? []).filter((entry) => entry.isTree === isTree).map(({ oid }) => oid);
      if (!isTree) pending.blobs.push({ oid: cursor.oid(), likely: same[0] });
      else if (same.length === 0) pending.trees.push(cursor.oid());
      else pending.pairs.push({ tree: cursor.oid(), before: same });
    }
  }

  /** The entries of several old trees by name; all of them become known. */
  #oldEntries(before: readonly Oid[]): Map<string, { isTree: boolean; oid: Oid }[]> {
    const entries = new Map<string, { isTree: boolean; oid: Oid }[]>();
    for (const tree of before) {
      const cursor = new TreeCursor(this.#source.format, this.#readTree(tree));
      while (cursor.next()) {
        if (cursor.mode === MODE.gitlink) continue;
        this.#setKnown(cursor);
        const name = cursor.name();
        const entry = { isTree: cursor.isTree(), oid: cursor.oid() };
        const same = entries.get(name);
        if (same === undefined) entries.set(name, [entry]);
        else same.push(entry);
      }
    }
    return entries;
  }

  /** An entry of an old tree: the receiver has it, or it was added with a commit before. */
  #setKnown(entry: TreeCursor): void {
    if (entry.mode === MODE.gitlink || this.objects.indexOfRaw(entry.data, entry.oidStart) >= 0) return;
    this.#tableOf(entry.isTree()).addRaw(entry.data, entry.oidStart);
  }

  /** Where an object of theirs is noted: with a filter a blob, or even a tree, may be missing on the other side. */
  #tableOf(isTree: boolean): OidTable {
    if (this.#gate === undefined) return this.#known;
    const isThere = isTree ? this.#gate.keepsTrees : this.#gate.keepsEveryBlob;
    return isThere ? this.#known : this.#passed;
  }

  #isHandled(entry: TreeCursor): boolean {
    const { data, oidStart } = entry;
    if (this.objects.indexOfRaw(data, oidStart) >= 0 || this.#known.indexOfRaw(data, oidStart) >= 0) return true;
    return this.#gate !== undefined && this.#passed.indexOfRaw(data, oidStart) >= 0;
  }

  /** Adds a tree or a blob unless the filter leaves it out; false where it was met before. */
  #take(oid: Oid, isTree: boolean, likely?: Oid): boolean {
    const gate = this.#gate;
    if (gate === undefined) return this.#add(oid, likely);
    if (this.#passed.has(oid)) return false;
    if (isTree ? gate.keepsTrees : gate.keepsBlob(oid)) return this.#add(oid, likely);
    this.#passed.add(oid);
    return true;
  }

  /** Adds an object; false where it was added before, or is known. */
  #add(oid: Oid, likely?: Oid): boolean {
    if (this.#known.has(oid)) return false;
    const { size } = this.objects;
    const index = this.objects.add(oid);
    if (index < size) return false;
    if (likely !== undefined) this.#setLikely(index, likely);
    return true;
  }

  #setLikely(number: number, likely: Oid): void {
    const listed = this.objects.indexOf(likely);
    this.#likely = withRoom(this.#likely, number);
    this.#likely[number] = listed >= 0 ? listed + 1 : OTHER + this.#others.add(likely);
  }

  #read(oid: Oid, into?: Buffer): GitObject {
    const object = this.#source.readOnce?.(oid, into) ?? this.#source.read(oid);
    if (object === undefined) throw new KvError("CORRUPT", `object ${oid} is missing`);
    return object;
  }

  /** The content of a tree; `once`: it is good until the next one is read, and not asked for again. */
  #readTree(oid: Oid, once = false): Buffer {
    const kept = this.#trees.get(oid);
    if (kept !== undefined) return kept.data;
    const tree = this.#read(oid, once ? this.#room : undefined);
    if (tree.kind !== "tree") throw new KvError("CORRUPT", `${oid} is a ${tree.kind}, not a tree`);
    if (!once) this.#trees.set(oid, tree);
    return tree.data;
  }
}

/** What is still to be done for one commit. */
interface PendingDifference {
  readonly pairs: TreePair[];
  readonly blobs: { readonly oid: Oid; readonly likely: Oid | undefined }[];
  readonly trees: Oid[];
}

/** Those of `range` that are also in `some`. */
function inBoth(range: readonly number[], some: readonly number[]): number[] {
  const wanted = new Set(some);
  return range.filter((commit) => wanted.has(commit));
}

/** The commits of `range`, none before one of its parents. */
function parentsFirst(graph: CommitGraph, range: readonly number[]): number[] {
  const waiting = new Set(range);
  const order: number[] = [];
  for (const start of range) {
    const stack = waiting.has(start) ? [start] : [];
    for (let commit = stack.at(-1); commit !== undefined; commit = stack.at(-1)) {
      const next = graph.parents(commit).filter((parent) => waiting.has(parent));
      if (waiting.has(commit) && next.length > 0) {
        stack.push(...next);
        continue;
      }
      stack.pop();
      if (waiting.delete(commit)) order.push(commit);
    }
  }
  return order;
}

interface TreePair {
  readonly tree: Oid;
  readonly before: readonly Oid[];
}
