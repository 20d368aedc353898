/**
 * The commits of a repository as far as they have been looked at: ids, dates, trees and parents, in flat arrays. About 70
 * bytes a commit; a commit is parsed once in the life of a graph.
 *
 * A history may end early (git: shallow.c, gitformat "shallow"): at the commits a shallow repository has without their parents,
 * and at those where a client's history ends. Such a commit has no parents here. Graphs that differ in nothing else share what
 * they have read.
 */

import { commitLinks } from "../object/commit.ts";
import type { ObjectSource } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";
import { tagTarget } from "../object/tag.ts";

const UNKNOWN = 0;
const LOADED = 1;
const ABSENT = 2;
const NO_PARENT = -1;
/** Deepest chain of tags on tags that is followed. */
const DEEPEST_TAG = 10;

/** What has been read, and nothing about where a history ends. */
class CommitTable {
  readonly #objects: ObjectSource;
  readonly #table: OidTable;
  #state = new Uint8Array(256);
  #dates = new Float64Array(256);
  #firstParent = new Int32Array(256);
  #trees: Buffer;
  /** Parents but the first, of merges only. */
  readonly #moreParents = new Map<number, number[]>();

  constructor(objects: ObjectSource) {
    this.#objects = objects;
    this.#table = new OidTable(objects.format, 256);
    this.#trees = Buffer.alloc(256 * objects.format.rawSize);
  }

  get size(): number {
    return this.#table.size;
  }

  add(oid: Oid): number {
    return this.#table.add(oid);
  }

  /** False where the object is surely no commit; where the source can tell, without reading a blob for it. */
  mayBeCommit(oid: Oid): boolean {
    if (this.#objects.kind === undefined || this.#table.indexOf(oid) >= 0) return true;
    return this.#objects.kind(oid) === "commit";
  }

  load(commit: number): boolean {
    this.#grow();
    const state = this.#state[commit]!;
    return state === UNKNOWN ? this.#parse(commit) : state === LOADED;
  }

  oid(commit: number): Oid {
    return this.#table.oid(commit);
  }

  date(commit: number): number {
    return this.#dates[commit]!;
  }

  tree(commit: number): Oid {
    const { rawSize } = this.#objects.format;
    return this.#trees.hexSlice(commit * rawSize, (commit + 1) * rawSize);
  }

  parents(commit: number): readonly number[] {
    if (this.#state[commit] !== LOADED) return [];
    const first = this.#firstParent[commit]!;
    if (first === NO_PARENT) return [];
    const more = this.#moreParents.get(commit);
    return more === undefined ? [first] : [first, ...more];
  }

  #parse(commit: number): boolean {
    const { format } = this.#objects;
    const oid = this.oid(commit);
    const object = this.#objects.readOnce?.(oid) ?? this.#objects.read(oid);
    if (object?.kind !== "commit") {
      this.#state[commit] = ABSENT;
      return false;
    }
    const { tree, parents } = commitLinks(format, object.data);
    const [first = NO_PARENT, ...more] = parents.map((oid) => this.#table.add(oid));
    this.#grow();
    this.#trees.write(tree, commit * format.rawSize, "hex");
    this.#firstParent[commit] = first;
    if (more.length > 0) this.#moreParents.set(commit, more);
    this.#dates[commit] = committerDate(object.data);
    this.#state[commit] = LOADED;
    return true;
  }

  /** Makes room for every id of the table. */
  #grow(): void {
    if (this.#table.size <= this.#state.length) return;
    const room = 2 ** Math.ceil(Math.log2(this.#table.size + 1));
    this.#state = grown(this.#state, new Uint8Array(room));
    this.#dates = grown(this.#dates, new Float64Array(room));
    this.#firstParent = grown(this.#firstParent, new Int32Array(room));
    this.#trees = grown(this.#trees, Buffer.alloc(room * this.#objects.format.rawSize));
  }
}

export class CommitGraph {
  readonly #commits: CommitTable;
  readonly #cuts = new Set<number>();

  /**
   * `shallow`: commits at which the history ends, as the shallow file of the repository names them. Made of another graph, it
   * ends there besides where that one ends.
   */
  constructor(objects: ObjectSource | CommitGraph, shallow: Iterable<Oid> = []) {
    const isGraph = objects instanceof CommitGraph;
    this.#commits = isGraph ? objects.#commits : new CommitTable(objects);
    if (isGraph) for (const commit of objects.#cuts) this.#cuts.add(commit);
    for (const oid of shallow) this.#cuts.add(this.#commits.add(oid));
  }

  /** Number of ids known, whether loaded or not: commit numbers are below it. */
  get size(): number {
    return this.#commits.size;
  }

  /** The commit's number, or -1 where it is missing or no commit. Throws BAD_OBJECT or CORRUPT where it is damaged. */
  find(oid: Oid): number {
    if (!this.#commits.mayBeCommit(oid)) return -1;
    const commit = this.#commits.add(oid);
    return this.#commits.load(commit) ? commit : -1;
  }

  /** Reads the commit of that number if it was not yet read; false where it is missing or no commit. */
  load(commit: number): boolean {
    return this.#commits.load(commit);
  }

  oid(commit: number): Oid {
    return this.#commits.oid(commit);
  }

  /** Committer's time in seconds; 0 where it cannot be read. The commit is loaded. */
  date(commit: number): number {
    return this.#commits.date(commit);
  }

  /** Id of the commit's tree. The commit is loaded. */
  tree(commit: number): Oid {
    return this.#commits.tree(commit);
  }

  /** Numbers of the commit's parents, which need not be loaded; none for a commit that is not loaded itself, or is cut. */
  parents(commit: number): readonly number[] {
    return this.#cuts.size > 0 && this.#cuts.has(commit) ? [] : this.#commits.parents(commit);
  }

  /** The commit's parents although the history may be cut there. */
  trueParents(commit: number): readonly number[] {
    return this.#commits.parents(commit);
  }

  /** True where the history ends at this commit, whatever parents it has. */
  isCut(commit: number): boolean {
    return this.#cuts.has(commit);
  }

  /** True where the history ends early anywhere. */
  get isShallow(): boolean {
    return this.#cuts.size > 0;
  }
}

/** The commit an object or a tag leads to, or -1. */
export function commitOf(source: ObjectSource, graph: CommitGraph, oid: Oid): number {
  for (let at = oid, depth = 0; depth < DEEPEST_TAG; depth++) {
    const commit = graph.find(at);
    if (commit >= 0) return commit;
    const object = source.read(at);
    if (object?.kind !== "tag") return -1;
    at = tagTarget(source.format, object.data).oid;
  }
  return -1;
}

function grown<T extends { set(from: T): void }>(from: T, into: T): T {
  into.set(from);
  return into;
}

function committerDate(data: Buffer): number {
  const at = data.indexOf("\ncommitter ");
  if (at < 0) return 0;
  const end = data.indexOf(0x0a, at + 1);
  const line = data.subarray(at, end < 0 ? data.length : end).toString("latin1");
  const [, seconds] = /> (\d{1,15}) [+-]\d{4}$/.exec(line) ?? [];
  return Number(seconds ?? 0);
}
