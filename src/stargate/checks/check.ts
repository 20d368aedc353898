/** What an admission check is given, and what it may answer. One check a file in this folder; admission.ts has their order. */

import type { KvError } from "../../errors.ts";
import type { ObjectSource } from "../../gitwire/object/object.ts";
import type { Oid } from "../../gitwire/object/oid.ts";
import type { LedgerCommit } from "../../kv/attestation.ts";
import type { SignatureJudgement } from "../../kv/judge-signature.ts";
import type { KnownGroups } from "../../kv/known-groups.ts";
import type { NamespacePolicy } from "../../kv/policy.ts";
import type { NamespaceState } from "../../kv/state.ts";
import type { Expectation } from "../expectation.ts";

/** A transaction that asks to be let in. */
export interface Admission {
  /** The new objects and the repository's. */
  readonly objects: ObjectSource;
  readonly ns: string;
  /** The state now; undefined where the namespace does not exist yet. */
  readonly base: NamespaceState | undefined;
  /** Whether the transaction begins an epoch. */
  readonly beginsEpoch: boolean;
  /** The new ledger and kv-index commits. */
  readonly ledger: Oid;
  readonly index: Oid;
  /** The new chunk commit; undefined where the push has none. */
  readonly chunks: Oid | undefined;
  /** The chunk commit now; undefined where the epoch has no pieces yet. */
  readonly chunkTip: Oid | undefined;
  /** The ledger commit, read and found well-formed. */
  readonly commit: LedgerCommit;
  /** Commit of the policy in force; undefined where there is none. */
  readonly policy: Oid | undefined;
  /** What that policy says of the namespace. */
  readonly rules: NamespacePolicy;
  /** Who signed the ledger commit, and what the policy says to that, at the time of receipt. Judged once. */
  signature(): Promise<SignatureJudgement>;
  /** What is remembered of the namespace's values in pieces. */
  readonly known?: KnownGroups | undefined;
  readonly expectations: readonly Expectation[];
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Whether an epoch of this namespace, closed or not, is called that. */
  isUsedLabel(label: string): boolean;
  /** The ledger commit that a KV-Txn of this namespace already stands for, or undefined. */
  seen(txn: string): Oid | undefined;
}

/** A check's answer: null lets the transaction pass. A check may also throw what it would return. */
export type Rejection = KvError;
export type Check = (admission: Admission) => Rejection | null | Promise<Rejection | null>;
