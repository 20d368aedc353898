/** Haves in growing batches, and when to give up (git: fetch-pack.c `next_flush`, MAX_IN_VAIN). */

import type { Oid } from "../object/oid.ts";
import type { Negotiator } from "./negotiator.ts";

const FIRST_BATCH = 16;
/** Batches double up to here; beyond, a stateless one grows by a tenth, a stateful one by this. */
const STATEFUL_STEP = 32;
const STATELESS_STEP = 16_384;
/** Haves without an answer after which the rest is taken for unknown to the server. */
const MAX_IN_VAIN = 256;

export interface HaveBatch {
  readonly haves: readonly Oid[];
  /** Nothing follows: the client is done. */
  readonly isLast: boolean;
}

export class HaveBatches {
  readonly #negotiator: Negotiator;
  readonly #stateless: boolean;
  #size = FIRST_BATCH;
  #inVain = 0;
  #gotCommon = false;
  #next: Oid | undefined;

  constructor(negotiator: Negotiator, stateless: boolean) {
    this.#negotiator = negotiator;
    this.#stateless = stateless;
    this.#next = negotiator.next();
  }

  /** The next haves. The last batch may be empty. */
  next(): HaveBatch {
    const haves: Oid[] = [];
    const gaveUp = this.#gotCommon && this.#inVain >= MAX_IN_VAIN;
    while (!gaveUp && this.#next !== undefined && haves.length < this.#size) {
      haves.push(this.#next);
      this.#next = this.#negotiator.next();
    }
    this.#inVain += haves.length;
    this.#grow();
    return { haves, isLast: gaveUp || this.#next === undefined };
  }

  /** The server has `oid`; returns whether that is news. */
  acknowledge(oid: Oid): boolean {
    this.#gotCommon = true;
    const isNews = this.#negotiator.acknowledge(oid);
    // A stateless server acknowledges what is told again, which gets us no further.
    if (isNews) this.#inVain = 0;
    return isNews;
  }

  #grow(): void {
    if (this.#stateless) {
      this.#size = this.#size < STATELESS_STEP ? this.#size * 2 : Math.floor((this.#size * 11) / 10);
    } else {
      this.#size = this.#size < STATEFUL_STEP ? this.#size * 2 : this.#size + STATEFUL_STEP;
    }
  }
}
