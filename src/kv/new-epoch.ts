/** Begins a new epoch: `git kv epoch new` and `git kv compact`. */

import * as path from "node:path";
import { KvError } from "../errors.ts";
import { identFor } from "../gitwire/ident.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { PackBuilder } from "../gitwire/pack/pack-builder.ts";
import { acceptorOf } from "./commit.ts";
import { archivedLabels, nextLabel, requireNewLabel } from "./epoch-labels.ts";
import { draftEpoch } from "./epoch-plan.ts";
import { type EpochTrees, epochTrees } from "./epoch-trees.ts";
import { fetchAccepted } from "./fetch.ts";
import { epochRef, parseEpoch } from "./namespace.ts";
import { NodeWriter } from "./node-writer.ts";
import { hasAdmins } from "./policy-keys.ts";
import { warnOfLedgerTime } from "./read-expiry.ts";
import { policyAt } from "./read-policy.ts";
import { hashingSink } from "./replay.ts";
import { adminSigner, writerSigner } from "./signer.ts";
import { type CommitSigner, needsSignature } from "./signing.ts";
import type { NamespaceState } from "./state.ts";
import type { Workspace } from "./workspace.ts";
import { type Acceptor, type WriteOutcome, writeTransaction } from "./write.ts";

export interface EpochOptions {
  readonly label: string;
  readonly message?: string | undefined;
}

/** The epoch that has begun: what it began with, and the one it closed. */
export interface BegunEpoch {
  readonly outcome: Extract<WriteOutcome, { kind: "committed" }>;
  readonly label: string;
  readonly closed: { readonly label: string; readonly last: string };
  readonly trees: EpochTrees;
}

/** What an epoch that began now would leave behind. */
export interface EpochPreview {
  readonly state: NamespaceState;
  /** What it would be called; undefined where there is nothing to leave behind. */
  readonly label: string | undefined;
  readonly trees: EpochTrees;
  /** Whether there are pieces that nothing names any more. */
  readonly dropsPieces: boolean;
}

/**
 * Begins the epoch `label` on the newest state; on a conflict, again on the one that is newer. Throws INPUT_INVALID for a label that
 * cannot be used, and what {@link writeTransaction} throws.
 */
export async function beginEpoch(workspace: Workspace, { label, message }: EpochOptions): Promise<BegunEpoch> {
  parseEpoch(label);
  const { repo, ns, around } = workspace;
  const acceptor = await acceptorOf(workspace);
  await learnNewest(workspace);
  const archived = await archivedLabels(workspace);
  const builder = new PackBuilder(repo.format, { dir: path.join(repo.objectsDir, "pack") });
  let made: { trees: EpochTrees; base: NamespaceState } | undefined;
  try {
    const outcome = await writeTransaction(workspace, acceptor, {
      builder,
      operations: [],
      message,
      expectTree: undefined,
      namespace: "required",
      special: {
        signer: (policy) => epochSigner(workspace, policy),
        draft: async (input) => {
          const base = input.base!;
          requireNewLabel(base, label, archived);
          const epochRoot = repo.refs.resolve(epochRef(ns));
          const { draft, trees } = await draftEpoch(repo.objects, builder, {
            ...input,
            base,
            label,
            epochRoot,
            watch: around,
          });
          made = { trees, base };
          return draft;
        },
      },
    });
    if (outcome.kind !== "committed" || made === undefined) throw new KvError("BUG", "an epoch began with nothing");
    const { epoch, oid } = made.base.ledger;
    return { outcome, label, closed: { label: epoch, last: oid }, trees: made.trees };
  } finally {
    builder.dispose();
    await acceptor.close?.();
  }
}

/**
 * What `compact` would do, from the newest state that can be learned; the epoch is called `wanted`, else the label of this one is counted
 * on. Throws INPUT_INVALID for a label that cannot be used.
 */
export async function previewEpoch(workspace: Workspace, wanted?: string): Promise<EpochPreview> {
  const { repo, around } = workspace;
  const acceptor = await acceptorOf(workspace);
  const state = await learnNewest(workspace);
  if (wanted !== undefined) parseEpoch(wanted);
  const { seconds } = identFor("committer", repo.config, around.env, around.clock);
  const writer = new NodeWriter(repo.objects, hashingSink(repo.objects));
  const trees = await epochTrees(repo.objects, writer, state, seconds, around);
  const chunks = await chunksTree(acceptor, state);
  const dropsPieces = chunks !== undefined && chunks !== trees.chunks;
  const isIdle = trees.expired + trees.tombstones === 0 && !dropsPieces;
  return { state, label: isIdle ? undefined : await labelAfter(workspace, state, wanted), trees, dropsPieces };
}

/** The tree of the pieces that whoever decides has of the epoch of `state`; undefined where there are none. */
async function chunksTree(acceptor: Acceptor, { ns, ledger }: NamespaceState): Promise<Oid | undefined> {
  try {
    return (await acceptor.chunkTip(ns, ledger.epoch))?.tree;
  } finally {
    await acceptor.close?.();
  }
}

/**
 * Begins the epoch that {@link previewEpoch} tells of, where there is something to leave behind; else, `begun` is undefined. Throws as
 * both do.
 */
export async function compactLedger(
  workspace: Workspace,
  { label: wanted, message }: { readonly label?: string | undefined; readonly message?: string | undefined },
): Promise<{ readonly preview: EpochPreview; readonly begun: BegunEpoch | undefined }> {
  for (;;) {
    const preview = await previewEpoch(workspace, wanted);
    const { label, state } = preview;
    if (label === undefined) return { preview, begun: undefined };
    try {
      return { preview, begun: await beginEpoch(workspace, { label, message }) };
    } catch (error) {
      // Somebody else was faster and took the label that was counted on: what is there to leave behind now?
      const isTaken = error instanceof KvError && error.code === "INPUT_INVALID";
      const { epoch } = workspace.requireState().ledger;
      if (!isTaken || wanted !== undefined || epoch === state.ledger.epoch) throw error;
    }
  }
}

/** What there is to begin after, and where the epoch's ref is: the Stargate says so. The clock decides which keys have expired. */
async function learnNewest(workspace: Workspace): Promise<NamespaceState> {
  if (workspace.hasStargate) await fetchAccepted(workspace);
  const state = workspace.requireState();
  warnOfLedgerTime(workspace, state);
  return state;
}

async function labelAfter(workspace: Workspace, state: NamespaceState, wanted: string | undefined): Promise<string> {
  const archived = await archivedLabels(workspace);
  const label = wanted ?? nextLabel(state.ledger.epoch, archived);
  requireNewLabel(state, label, archived);
  return label;
}

/** An admin signs where the policy names admins; else it is signed as any transaction. */
async function epochSigner(workspace: Workspace, policy: Oid | undefined): Promise<CommitSigner | undefined> {
  const judge = policy === undefined ? undefined : policyAt(workspace.repo.objects, policy);
  if (judge !== undefined && hasAdmins(judge)) return adminSigner(workspace, judge);
  return (await needsSignature(workspace, policy)) ? writerSigner(workspace, policy) : undefined;
}
