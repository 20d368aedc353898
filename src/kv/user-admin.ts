/** What administrators' programs ask for: audits, epochs, policies. */

import type { Code } from "../errors.ts";
import { parseIdent } from "../gitwire/object/commit.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { dateOf } from "../time.ts";
import { applyPolicy } from "./apply-policy.ts";
import { audit } from "./audit.ts";
import { epochsBack } from "./epochs.ts";
import { completeChanges } from "./key-changes.ts";
import { type BegunEpoch, beginEpoch, compactLedger, previewEpoch } from "./new-epoch.ts";
import { knownPolicy } from "./policy-in-force.ts";
import { policyText } from "./read-policy.ts";
import { tidyUp } from "./tidy.ts";
import { parseUserOid } from "./user-operation.ts";
import type { SignalOption } from "./user-options.ts";
import type { Workspace } from "./workspace.ts";

/** Something that an audit found not to be as it must be. */
export interface KvFinding {
  /** Undefined: it is about the policy. */
  readonly ns: string | undefined;
  /** Undefined where the commit could not be read. */
  readonly seq: number | undefined;
  readonly oid: Oid;
  readonly code: Code;
  readonly message: string;
}

export interface VerifyOptions extends SignalOption {
  /** A ledger commit that is trusted, and with it all before it. */
  readonly since?: Oid;
  /** All namespaces. */
  readonly all?: boolean;
}

/** What was looked at, and what is wrong. */
export interface KvAudit {
  readonly findings: readonly KvFinding[];
  readonly namespaces: readonly {
    readonly ns: string;
    readonly tip: Oid;
    readonly seq: number;
    readonly transactions: number;
    readonly signed: number;
  }[];
  /** The chain of policies; undefined where there is none, so that no signature is required. */
  readonly policy: { readonly root: Oid; readonly tip: Oid; readonly commits: number } | undefined;
}

/** @internal */
export async function auditOf(workspace: Workspace, { since, all = false }: VerifyOptions): Promise<KvAudit> {
  if (since !== undefined) parseUserOid(since, workspace.repo.format);
  const findings: KvFinding[] = [];
  const found = (finding: KvFinding): void => void findings.push(finding);
  const { namespaces, policy } = await audit(workspace, { since, all, found, progress: () => {} });
  const summaries = namespaces.map(({ ns, tip, seq, transactions, signed }) => ({
    ns,
    tip,
    seq,
    transactions,
    signed,
  }));
  return { findings, namespaces: summaries, policy };
}

/** An epoch. */
export interface KvEpoch {
  readonly label: string;
  readonly current: boolean;
  /** Numbers of its first and last transaction. */
  readonly first: number;
  readonly last: number;
  /** Its last ledger commit. */
  readonly oid: Oid;
  readonly began: Date;
}

/** The epochs, newest first; with `fetch` the archives that are not here are brought, else they end before them. @internal */
export async function* epochList(workspace: Workspace, fetch: boolean): AsyncGenerator<KvEpoch, void, undefined> {
  let current = true;
  for await (const { label, first, last } of epochsBack(workspace, workspace.requireState(), { fetch })) {
    const began = dateOf(parseIdent(first.commit.committer).seconds);
    yield { label, current, first: first.seq, last: last.seq, oid: last.oid, began };
    current = false;
  }
}

export interface EpochOptions extends SignalOption {
  readonly message?: string;
}

export interface CompactOptions extends EpochOptions {
  /** Default: the label of the current epoch, counted on. */
  readonly label?: string;
  /** Only tells what would be left behind. */
  readonly dryRun?: boolean;
}

/** What a new epoch left behind, or would. */
export interface KvNewEpoch {
  /** The current epoch's label. */
  readonly epoch: string;
  /** The commit that began it; undefined where none began. */
  readonly oid: Oid | undefined;
  readonly live: number;
  readonly expired: number;
  readonly tombstones: number;
}

/** @internal */
export async function newEpoch(workspace: Workspace, label: string, { message }: EpochOptions): Promise<KvNewEpoch> {
  return begun(await beginEpoch(workspace, { label, message }));
}

/** @internal */
export async function compact(workspace: Workspace, options: CompactOptions): Promise<KvNewEpoch> {
  const { label, message, dryRun = false } = options;
  const done = dryRun
    ? { preview: await previewEpoch(workspace, label), begun: undefined }
    : await compactLedger(workspace, { label, message });
  if (!dryRun) {
    await tidyUp(workspace);
    await completeChanges(workspace);
  }
  if (done.begun !== undefined) return begun(done.begun);
  const { state, trees } = done.preview;
  const { live, expired, tombstones } = trees;
  return { epoch: state.ledger.epoch, oid: undefined, live, expired, tombstones };
}

function begun({ outcome, label, trees: { live, expired, tombstones } }: BegunEpoch): KvNewEpoch {
  return { epoch: label, oid: outcome.ledger, live, expired, tombstones };
}

/** A policy in force, as far as this clone knows. */
export interface KvPolicy {
  readonly oid: Oid;
  /** The file, in YAML. */
  readonly text: string;
}

/** @internal */
export function currentPolicy(workspace: Workspace): KvPolicy | undefined {
  const known = knownPolicy(workspace);
  return known && { oid: known.oid, text: policyText(workspace.repo.objects, known.oid) };
}

/** Something that is wrong with a policy file. */
export interface KvPolicyProblem {
  /** `namespaces.main.verify`; "" for the file as a whole. */
  readonly path: string;
  /** From 1. */
  readonly line: number;
  readonly message: string;
}

/** What came of applying a policy: the commit in force, and whether it was not before. */
export interface AppliedPolicy {
  readonly oid: Oid;
  readonly changed: boolean;
}

/** @internal */
export async function apply(workspace: Workspace, text: string, { message }: EpochOptions): Promise<AppliedPolicy> {
  const { kind, oid } = await applyPolicy(workspace, { text, name: "the policy", message });
  return { oid, changed: kind === "applied" };
}
