/**
 * What both sides have, as the client's `have` lines tell, and when that is enough to make a good pack (git: got_oid and
 * ok_to_give_up in upload-pack.c).
 */

import { TimeSlice } from "../../time-slice.ts";
import type { ObjectSource } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import { type CommitGraph, commitOf } from "./commit-graph.ts";

/** Whether an object that a client has is here too; most often it is not. */
export function isAtHand(source: ObjectSource, oid: Oid): boolean {
  return source.hasAtHand?.(oid) ?? source.has(oid);
}

export class CommonCommits {
  readonly #source: ObjectSource;
  readonly #graph: CommitGraph;
  readonly #common = new Set<Oid>();
  /** Commits the client surely has: the common ones and their parents. */
  readonly #theirs = new Set<number>();
  /** Wanted commits that no common commit was found below of. */
  #open: readonly number[];
  #oldest = Number.POSITIVE_INFINITY;
  /** Whether something became common since {@link isEnough} was asked. */
  #isNews = false;

  constructor(source: ObjectSource, graph: CommitGraph, wants: readonly Oid[]) {
    this.#source = source;
    this.#graph = graph;
    this.#open = wants.map((oid) => commitOf(source, graph, oid)).filter((commit) => commit >= 0);
  }

  /** The common objects, in the order the client named them. */
  get oids(): readonly Oid[] {
    return [...this.#common];
  }

  get size(): number {
    return this.#common.size;
  }

  /** Takes note of an object the client has; false where we have not got it. */
  add(have: Oid): boolean {
    if (this.#common.has(have)) return true;
    if (!isAtHand(this.#source, have)) return false;
    this.#common.add(have);
    this.#isNews = true;
    const commit = commitOf(this.#source, this.#graph, have);
    if (commit >= 0) {
      this.#theirs.add(commit);
      for (const parent of this.#graph.parents(commit)) this.#theirs.add(parent);
      this.#oldest = Math.min(this.#oldest, this.#graph.date(commit));
    }
    return true;
  }

  /** True where something common lies below every wanted commit: more haves would hardly make the pack smaller. */
  async isEnough(): Promise<boolean> {
    if (this.#common.size === 0) return false;
    if (this.#isNews) {
      const open: number[] = [];
      for (const commit of this.#open) if (!(await this.#reachesTheirs(commit))) open.push(commit);
      this.#open = open;
      this.#isNews = false;
    }
    return this.#open.length === 0;
  }

  async #reachesTheirs(want: number): Promise<boolean> {
    const seen = new Set([want]);
    const stack = [want];
    const slice = new TimeSlice();
    for (let commit = stack.pop(); commit !== undefined; commit = stack.pop()) {
      if (this.#theirs.has(commit)) return true;
      if (!this.#graph.load(commit) || this.#graph.date(commit) < this.#oldest) continue;
      for (const parent of this.#graph.parents(commit)) {
        if (seen.has(parent)) continue;
        seen.add(parent);
        stack.push(parent);
      }
      if (slice.isOver()) await slice.pause();
    }
    return false;
  }
}
