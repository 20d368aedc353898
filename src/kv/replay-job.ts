/** The replay of one transaction as something to be done elsewhere: an audit's helpers (replay-pool.ts) get plain values only. */

import { type Code, KvError, toKvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import type { EtagHasher } from "./etag.ts";
import { type ReplayLimits, replayTransaction } from "./replay.ts";
import { type NamespaceState, stateAt } from "./state.ts";
import { type NewManifest, newManifests } from "./stored-manifest.ts";

/** A ledger commit and the kv-index commit that goes with it. */
export interface CommitPair {
  readonly ledger: Oid;
  readonly index: Oid | undefined;
}

/** A transaction to replay. */
export interface ReplayJob {
  /** The state before; undefined where there is none. */
  readonly base: CommitPair | undefined;
  readonly next: CommitPair;
  readonly limits: ReplayLimits;
}

/** The states a job speaks of, for who has read them. */
export interface ReplayStates {
  readonly base: NamespaceState | undefined;
  readonly next: NamespaceState;
}

/** What came of it: the manifests it brought, or what is wrong with it. */
export type ReplayOutcome =
  | { readonly kind: "fits"; readonly manifests: readonly NewManifest[] }
  | { readonly kind: "wrong"; readonly code: Code; readonly message: string };

/** Does jobs, which mostly follow each other: the state after one is the state before the next. */
export class ReplayWork {
  readonly #objects: ObjectSource;
  readonly #etagOf: EtagHasher;
  #last: NamespaceState | undefined;

  constructor(objects: ObjectSource, etagOf: EtagHasher) {
    this.#objects = objects;
    this.#etagOf = etagOf;
  }

  /** Never throws. */
  run(job: ReplayJob, states?: ReplayStates): ReplayOutcome {
    try {
      const { base, next } = states ?? this.#states(job);
      this.#last = next;
      const changes = replayTransaction(this.#objects, base, next, this.#etagOf, job.limits);
      return { kind: "fits", manifests: newManifests(this.#objects, base, changes) };
    } catch (error) {
      const { code, message } = toKvError(error);
      return { kind: "wrong", code, message };
    }
  }

  #states({ base, next }: ReplayJob): ReplayStates {
    return { base: base && this.#state(base), next: this.#state(next) };
  }

  #state({ ledger, index }: CommitPair): NamespaceState {
    const last = this.#last;
    return last?.ledger.oid === ledger && last.index === index ? last : stateAt(this.#objects, ledger, index);
  }
}

/** The error that an outcome stands for. */
export const outcomeError = ({ code, message }: Extract<ReplayOutcome, { kind: "wrong" }>): KvError =>
  new KvError(code, message);
