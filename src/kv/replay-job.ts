/** The replay of one transaction as something to be done elsewhere: an audit's helpers (replay-pool.ts) get plain values only. */

import { type Code, KvError, toKvError } from "../errors.ts";
import type { ObjectSource } from "../gitwire/object/object.ts";
import type { EtagHasher } from "./etag.ts";
import { type ReplayLimits, type ReplayState, replayTransaction } from "./replay.ts";
import { type NewManifest, newManifests } from "./stored-manifest.ts";

/** A transaction to replay. */
export interface ReplayJob {
  /** Undefined where there was nothing before. */
  readonly base: ReplayState | undefined;
  readonly next: ReplayState;
  readonly limits: ReplayLimits;
}

/** What came of it: the manifests it brought, or what is wrong with it. */
export type ReplayOutcome =
  | { readonly kind: "fits"; readonly manifests: readonly NewManifest[] }
  | { readonly kind: "wrong"; readonly code: Code; readonly message: string };

/** A job of nothing but what it needs. */
export function replayJob(base: ReplayState | undefined, next: ReplayState, limits: ReplayLimits): ReplayJob {
  return { base: base && plain(base), next: plain(next), limits };
}

function plain({ ns, ledger, data, meta }: ReplayState): ReplayState {
  const { oid, tree, indexTree, keysSet, keysDel } = ledger;
  return { ns, ledger: { oid, tree, indexTree, keysSet, keysDel }, data, meta };
}

/** Does a job. Never throws. */
export function runReplay(objects: ObjectSource, etagOf: EtagHasher, { base, next, limits }: ReplayJob): ReplayOutcome {
  try {
    const changes = replayTransaction(objects, base, next, etagOf, limits);
    return { kind: "fits", manifests: newManifests(objects, base, changes) };
  } catch (error) {
    const { code, message } = toKvError(error);
    return { kind: "wrong", code, message };
  }
}

/** The error that an outcome stands for. */
export const outcomeError = ({ code, message }: Extract<ReplayOutcome, { kind: "wrong" }>): KvError =>
  new KvError(code, message);
