/**
 * Which commits a fetch names as its own, so that the server finds what both sides have (git: negotiator/default.c,
 * gitprotocol-pack "Packfile Negotiation").
 *
 * Commits are walked from the local tips, newest first. What is known to be common, and all behind it, need not be named.
 */

import { commitLinks } from "../object/commit.ts";
import type { ObjectSource } from "../object/object.ts";
import type { Oid } from "../object/oid.ts";
import { tagTarget } from "./object-links.ts";

interface Node {
  readonly oid: Oid;
  readonly parents: readonly Oid[];
  /** Committer's time in seconds. */
  readonly date: number;
  /** The server has it. */
  common: boolean;
  /** Named although common: the newest commit of a common line tells the server where to stop. */
  readonly commonTip: boolean;
  popped: boolean;
}

export class Negotiator {
  readonly #objects: ObjectSource;
  readonly #nodes = new Map<Oid, Node>();
  /** A heap, newest first. */
  readonly #queue: Node[] = [];
  /** Commits in the queue that may be news to the server. */
  #open = 0;

  /** `tips` are local refs' values, `known` what the server has advertised; tags are followed, anything else is left out. */
  constructor(objects: ObjectSource, tips: Iterable<Oid>, known: Iterable<Oid> = []) {
    this.#objects = objects;
    for (const oid of known) this.#addTip(oid, true);
    for (const oid of tips) this.#addTip(oid, false);
  }

  /** The next commit to name, or undefined where there is nothing more to say. */
  next(): Oid | undefined {
    while (this.#open > 0) {
      const node = this.#pop();
      if (node === undefined) return undefined;
      node.popped = true;
      if (!node.common) this.#open--;
      const passOn = node.common || node.commonTip;
      for (const parent of node.parents) {
        if (!this.#nodes.has(parent)) this.#push(parent, passOn, false);
        else if (passOn) this.#markCommon(parent);
      }
      if (!node.common) return node.oid;
    }
    return undefined;
  }

  /** The server has `oid`; returns whether that is news. */
  acknowledge(oid: Oid): boolean {
    const node = this.#nodes.get(oid);
    if (node === undefined || node.common) return false;
    this.#markCommon(oid);
    return true;
  }

  #addTip(tip: Oid, isCommon: boolean): void {
    const oid = this.#peel(tip);
    if (oid !== undefined && !this.#nodes.has(oid)) this.#push(oid, false, isCommon);
  }

  #peel(tip: Oid): Oid | undefined {
    let oid = tip;
    for (;;) {
      const object = this.#objects.read(oid);
      if (object?.kind === "commit") return oid;
      if (object?.kind !== "tag") return undefined;
      oid = tagTarget(this.#objects.format, object.data).oid;
    }
  }

  /** A commit that is not here (a shallow history's end) is no more than a name, and is not told. */
  #push(oid: Oid, common: boolean, commonTip: boolean): void {
    const object = this.#objects.read(oid);
    if (object?.kind !== "commit") return;
    const { parents } = commitLinks(this.#objects.format, object.data);
    const node: Node = { oid, parents, date: committerDate(object.data), common, commonTip, popped: false };
    this.#nodes.set(oid, node);
    this.#queue.push(node);
    siftUp(this.#queue);
    if (!common) this.#open++;
  }

  #pop(): Node | undefined {
    const top = this.#queue[0];
    const last = this.#queue.pop();
    if (last !== undefined && last !== top) {
      this.#queue[0] = last;
      siftDown(this.#queue);
    }
    return top;
  }

  /** Marks `oid` and every ancestor that was met already; those not met yet get it from their children. */
  #markCommon(oid: Oid): void {
    const pending = [oid];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const node = this.#nodes.get(next);
      if (node === undefined || node.common) continue;
      node.common = true;
      if (!node.popped) this.#open--;
      pending.push(...node.parents);
    }
  }
}

/** Seconds of the committer line; 0 where it is malformed, which only makes the order worse. */
function committerDate(data: Buffer): number {
  const at = data.indexOf("\ncommitter ");
  const line = at < 0 ? "" : data.latin1Slice(at + 1, Math.max(data.indexOf(0x0a, at + 1), at + 1));
  return Number(/> ([0-9]{1,15}) [+-][0-9]+$/.exec(line)?.[1] ?? 0);
}

function siftUp(heap: Node[]): void {
  for (let i = heap.length - 1; i > 0; ) {
    const parent = (i - 1) >> 1;
    if (heap[parent]!.date >= heap[i]!.date) return;
    [heap[parent], heap[i]] = [heap[i]!, heap[parent]!];
    i = parent;
  }
}

function siftDown(heap: Node[]): void {
  for (let i = 0; ; ) {
    let newest = i;
    for (const child of [2 * i + 1, 2 * i + 2]) {
      if (child < heap.length && heap[child]!.date > heap[newest]!.date) newest = child;
    }
    if (newest === i) return;
    [heap[newest], heap[i]] = [heap[i]!, heap[newest]!];
    i = newest;
  }
}
