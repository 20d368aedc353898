/**
 * The commits that can be reached from some but not from others (git: `rev-list wants --not haves`, limit_list in
 * revision.c). Commits are visited by date, newest first, so both sides meet near where they part.
 */

import { KvError } from "../../errors.ts";
import { TimeSlice } from "../../time-slice.ts";
import type { CommitGraph } from "./commit-graph.ts";
import { CommitQueue } from "./commit-queue.ts";

const SEEN = 1;
const UNINTERESTING = 2;
/** Visited while nothing was known against it. */
const FOUND = 4;

/** Uninteresting commits looked at after the last interesting one: dates may be a little wrong (git's SLOP). */
const SLOP = 5;

/**
 * Commits reachable from `wants` and not from `haves`, newest first. Where clocks were very wrong, some that are reachable
 * from `haves` may be among them: a few objects too many, never one too few. Throws CORRUPT where a commit is missing
 * below `wants`; below `haves` that is no matter.
 */
export async function revisionRange(
  graph: CommitGraph,
  wants: readonly number[],
  haves: readonly number[],
): Promise<number[]> {
  const walk = new RangeWalk(graph);
  for (const commit of haves) walk.start(commit, UNINTERESTING);
  for (const commit of wants) walk.start(commit, 0);
  const slice = new TimeSlice();
  while (walk.step()) if (slice.isOver()) await slice.pause();
  return walk.result();
}

class RangeWalk {
  readonly #graph: CommitGraph;
  readonly #queue: CommitQueue;
  #flags = new Uint8Array(256);
  readonly #found: number[] = [];
  #oldest = Number.POSITIVE_INFINITY;
  /** Commits in the queue that are not known to be uninteresting. */
  #open = 0;
  #slop = SLOP;

  constructor(graph: CommitGraph) {
    this.#graph = graph;
    this.#queue = new CommitQueue(graph);
  }

  start(commit: number, flag: number): void {
    this.#grow();
    if (flag === UNINTERESTING) this.#markUninteresting(commit);
    this.#enqueue(commit);
  }

  /** Visits the next commit; false when the rest cannot change the result. */
  step(): boolean {
    const commit = this.#queue.pop();
    if (commit === undefined) return false;
    if (this.#isUninteresting(commit)) {
      for (const parent of this.#graph.parents(commit)) {
        if (!this.#graph.load(parent)) continue;
        this.#grow();
        this.#markUninteresting(parent);
        this.#enqueue(parent);
      }
      return this.#mayStillMatter(commit);
    }
    this.#open--;
    this.#flags[commit]! |= FOUND;
    this.#found.push(commit);
    this.#oldest = Math.min(this.#oldest, this.#graph.date(commit));
    for (const parent of this.#graph.parents(commit)) {
      if (!this.#graph.load(parent)) {
        throw new KvError(
          "CORRUPT",
          `commit ${this.#graph.oid(parent)}, a parent of ${this.#graph.oid(commit)}, is missing`,
        );
      }
      this.#grow();
      this.#enqueue(parent);
    }
    return true;
  }

  result(): number[] {
    return this.#found.filter((commit) => !this.#isUninteresting(commit));
  }

  #isUninteresting(commit: number): boolean {
    return (this.#flags[commit]! & UNINTERESTING) !== 0;
  }

  #enqueue(commit: number): void {
    if ((this.#flags[commit]! & SEEN) !== 0) return;
    this.#flags[commit]! |= SEEN;
    if (!this.#isUninteresting(commit)) this.#open++;
    this.#queue.push(commit);
  }

  /** Marks the commit and whatever was found below it before. */
  #markUninteresting(commit: number): void {
    const stack = [commit];
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      const flags = this.#flags[at]!;
      if ((flags & UNINTERESTING) !== 0) continue;
      this.#flags[at] = flags | UNINTERESTING;
      // It was counted as open when it entered the queue, and still is unless it was visited.
      if ((flags & (SEEN | FOUND)) === SEEN) this.#open--;
      stack.push(...this.#graph.parents(at));
    }
  }

  #mayStillMatter(last: number): boolean {
    if (this.#open > 0 || this.#graph.date(last) >= this.#oldest) {
      this.#slop = SLOP;
      return true;
    }
    return this.#slop-- > 0;
  }

  #grow(): void {
    if (this.#graph.size <= this.#flags.length) return;
    const flags = new Uint8Array(2 ** Math.ceil(Math.log2(this.#graph.size + 1)));
    flags.set(this.#flags);
    this.#flags = flags;
  }
}

/** True where the commit `ancestor` can be reached from `tip` (which also reaches itself). */
export async function isReachable(graph: CommitGraph, ancestor: number, tip: number): Promise<boolean> {
  if ((await revisionRange(graph, [ancestor], [tip])).length === 0) return true;
  // Dates may have misled the walk; a refusal must not rest on them.
  const seen = new Set([tip]);
  const stack = [tip];
  const slice = new TimeSlice();
  for (let commit = stack.pop(); commit !== undefined; commit = stack.pop()) {
    if (commit === ancestor) return true;
    if (!graph.load(commit)) continue;
    for (const parent of graph.parents(commit)) {
      if (seen.has(parent)) continue;
      seen.add(parent);
      stack.push(parent);
    }
    if (slice.isOver()) await slice.pause();
  }
  return false;
}
