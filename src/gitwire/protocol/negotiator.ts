/**
 * Which commits a fetch names as its own, so that the server finds what both sides have (git: negotiator/default.c,
 * gitprotocol-pack "Packfile Negotiation").
 *
 * Commits are walked from the local tips, newest first. What is known to be common, and all behind it, need not be named.
 */

import type { ObjectSource } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import { tagTarget } from "../object/tag.ts";
import { CommitGraph } from "./commit-graph.ts";
import { CommitQueue } from "./commit-queue.ts";

interface Mark {
  /** The server has it. */
  common: boolean;
  /** Named although common: the newest commit of a common line tells the server where to stop. */
  readonly commonTip: boolean;
  popped: boolean;
}

export class Negotiator {
  readonly #objects: ObjectSource;
  readonly #graph: CommitGraph;
  readonly #queue: CommitQueue;
  readonly #marks = new Map<number, Mark>();
  /** Commits in the queue that may be news to the server. */
  #open = 0;

  /**
   * `tips` are local refs' values, `known` what the server has advertised; tags are followed, anything else is left out.
   * `shallow`: commits at which the local history ends.
   */
  constructor(objects: ObjectSource, tips: Iterable<Oid>, known: Iterable<Oid> = [], shallow: Iterable<Oid> = []) {
    this.#objects = objects;
    this.#graph = new CommitGraph(objects, shallow);
    this.#queue = new CommitQueue(this.#graph);
    for (const oid of known) this.#addTip(oid, true);
    for (const oid of tips) this.#addTip(oid, false);
  }

  /** The next commit to name, or undefined where there is nothing more to say. */
  next(): Oid | undefined {
    while (this.#open > 0) {
      const commit = this.#queue.pop();
      if (commit === undefined) return undefined;
      const mark = this.#marks.get(commit)!;
      mark.popped = true;
      if (!mark.common) this.#open--;
      const passOn = mark.common || mark.commonTip;
      for (const parent of this.#graph.parents(commit)) {
        if (!this.#marks.has(parent)) this.#push(parent, passOn, false);
        else if (passOn) this.#markCommon(parent);
      }
      if (!mark.common) return this.#graph.oid(commit);
    }
    return undefined;
  }

  /** The server has `oid`; returns whether that is news. */
  acknowledge(oid: Oid): boolean {
    const commit = this.#graph.find(oid);
    const mark = this.#marks.get(commit);
    if (mark === undefined || mark.common) return false;
    this.#markCommon(commit);
    return true;
  }

  #addTip(tip: Oid, isCommon: boolean): void {
    const oid = this.#peel(tip);
    const commit = oid === undefined ? -1 : this.#graph.find(oid);
    if (commit >= 0 && !this.#marks.has(commit)) this.#push(commit, false, isCommon);
  }

  #peel(tip: Oid): Oid | undefined {
    let oid = tip;
    for (;;) {
      const object = this.#objects.read(oid);
      if (object?.kind !== "tag") return object?.kind === "commit" ? oid : undefined;
      oid = tagTarget(this.#objects.format, object.data).oid;
    }
  }

  /** A commit that is not here (where a shallow history ends) is no more than a name, and is not told. */
  #push(commit: number, common: boolean, commonTip: boolean): void {
    if (!this.#graph.load(commit)) return;
    this.#marks.set(commit, { common, commonTip, popped: false });
    this.#queue.push(commit);
    if (!common) this.#open++;
  }

  /** Marks the commit and every ancestor that was met already; those not met yet get it from their children. */
  #markCommon(commit: number): void {
    const pending = [commit];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const mark = this.#marks.get(next);
      if (mark === undefined || mark.common) continue;
      mark.common = true;
      if (!mark.popped) this.#open--;
      pending.push(...this.#graph.parents(next));
    }
  }
}
