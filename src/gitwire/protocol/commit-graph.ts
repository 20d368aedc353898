/**
 * The commits of a repository as far as they have been looked at: ids, dates, trees and parents, in flat arrays. About 70
 * bytes a commit; a commit is parsed once in the life of a graph.
 */

import { commitLinks } from "../object/commit.ts";
import type { ObjectSource } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import { OidTable } from "../object/oid-table.ts";

const UNKNOWN = 0;
const LOADED = 1;
const ABSENT = 2;
const NO_PARENT = -1;

export class CommitGraph {
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

  /** Number of ids known, whether loaded or not: commit numbers are below it. */
  get size(): number {
    return this.#table.size;
  }

  /** The commit's number, or -1 where it is missing or no commit. Throws BAD_OBJECT or CORRUPT where it is damaged. */
  find(oid: Oid): number {
    const commit = this.#table.add(oid);
    return this.load(commit) ? commit : -1;
  }

  /** Reads the commit of that number if it was not yet read; false where it is missing or no commit. */
  load(commit: number): boolean {
    this.#grow();
    const state = this.#state[commit]!;
    return state === UNKNOWN ? this.#parse(commit) : state === LOADED;
  }

  oid(commit: number): Oid {
    return this.#table.oid(commit);
  }

  /** Committer's time in seconds; 0 where it cannot be read. The commit is loaded. */
  date(commit: number): number {
    return this.#dates[commit]!;
  }

  /** Id of the commit's tree. The commit is loaded. */
  tree(commit: number): Oid {
    const { rawSize } = this.#objects.format;
    return this.#trees.hexSlice(commit * rawSize, (commit + 1) * rawSize);
  }

  /** Numbers of the commit's parents, which need not be loaded; none for a commit that is not loaded itself. */
  parents(commit: number): readonly number[] {
    if (this.#state[commit] !== LOADED) return [];
    const first = this.#firstParent[commit]!;
    if (first === NO_PARENT) return [];
    const more = this.#moreParents.get(commit);
    return more === undefined ? [first] : [first, ...more];
  }

  #parse(commit: number): boolean {
    const { format } = this.#objects;
    const object = this.#objects.read(this.oid(commit));
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
