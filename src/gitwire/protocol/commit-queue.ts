/** Commits waiting to be walked, newest first (a binary heap on their dates; equal dates in order of arrival). */

import type { CommitGraph } from "./commit-graph.ts";

export class CommitQueue {
  readonly #graph: CommitGraph;
  readonly #heap: number[] = [];
  readonly #order: number[] = [];
  #arrivals = 0;

  constructor(graph: CommitGraph) {
    this.#graph = graph;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Adds a loaded commit. */
  push(commit: number): void {
    const heap = this.#heap;
    const order = this.#order;
    heap.push(commit);
    order.push(this.#arrivals++);
    let at = heap.length - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  /** Removes the newest; undefined where there is none. */
  pop(): number | undefined {
    const heap = this.#heap;
    const newest = heap[0];
    const last = heap.pop();
    const lastOrder = this.#order.pop();
    if (heap.length === 0 || last === undefined || lastOrder === undefined) return newest;
    heap[0] = last;
    this.#order[0] = lastOrder;
    this.#sink();
    return newest;
  }

  #sink(): void {
    const { length } = this.#heap;
    let at = 0;
    for (;;) {
      const left = at * 2 + 1;
      if (left >= length) return;
      const child = left + 1 < length && this.#before(left + 1, left) ? left + 1 : left;
      if (!this.#before(child, at)) return;
      this.#swap(at, child);
      at = child;
    }
  }

  #before(a: number, b: number): boolean {
    const dateA = this.#graph.date(this.#heap[a]!);
    const dateB = this.#graph.date(this.#heap[b]!);
    return dateA > dateB || (dateA === dateB && this.#order[a]! < this.#order[b]!);
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap;
    const order = this.#order;
    [heap[a], heap[b]] = [heap[b]!, heap[a]!];
    [order[a], order[b]] = [order[b]!, order[a]!];
  }
}
