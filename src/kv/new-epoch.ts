/** Begins a new epoch: `git kv epoch new` and `git kv compact`. */

import * as path from "node:path";
import { KvError } from "../errors.ts";
import { identFor } from "../gitwire/ident.ts";
import type { Oid } from "../gitwire/object/oid.ts";
import { PackBuilder } from "../gitwire/pack/pack-builder.ts";
import { acceptorOf } from "./commit.ts";
import { draftEpoch } from "./epoch-plan.ts";
import { type EpochTrees, epochTrees } from "./epoch-trees.ts";
import { fetchAccepted } from "./fetch.ts";
import { archiveRef, chunkRef, epochRef, parseEpoch } from "./namespace.ts";
import { NodeWriter } from "./node-writer.ts";
import { hasAdmins } from "./policy-keys.ts";
import { policyAt } from "./read-policy.ts";
import { hashingSink } from "./replay.ts";
import { adminSigner, writerSigner } from "./signer.ts";
import { type CommitSigner, needsSignature } from "./signing.ts";
import type { NamespaceState } from "./state.ts";
import type { Workspace } from "./workspace.ts";
import { type WriteOutcome, writeTransaction } from "./write.ts";

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
  // The Stargate says where the epoch's ref is, and what there is to begin after.
  if (workspace.hasStargate) await fetchAccepted(workspace);
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
          requireNewLabel(workspace, base, label);
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
  }
}

/** What `compact` would do, from the newest state that can be learned. */
export async function previewEpoch(workspace: Workspace): Promise<EpochPreview> {
  const { repo, around } = workspace;
  const acceptor = await acceptorOf(workspace);
  if (workspace.hasStargate) await fetchAccepted(workspace);
  const state = workspace.requireState();
  const { seconds } = identFor("committer", repo.config, around.env, around.clock);
  const writer = new NodeWriter(repo.objects, hashingSink(repo.objects));
  const trees = await epochTrees(repo.objects, writer, state, seconds, around);
  const tip = await acceptor.chunkTip(workspace.ns, state.ledger.epoch);
  return { state, trees, dropsPieces: tip !== undefined && tip.tree !== trees.chunks };
}

/** The label that follows `label`: its number counted on, else `.2` added. */
export function nextLabel(label: string): string {
  const [, text = label, number] = /^(.*?)(\d+)$/.exec(label) ?? [];
  const next =
    number === undefined ? `${label}.2` : `${text}${String(BigInt(number) + 1n).padStart(number.length, "0")}`;
  return parseEpoch(next);
}

/** An admin signs where the policy names admins; else it is signed as any transaction. */
async function epochSigner(workspace: Workspace, policy: Oid | undefined): Promise<CommitSigner | undefined> {
  const judge = policy === undefined ? undefined : policyAt(workspace.repo.objects, policy);
  if (judge !== undefined && hasAdmins(judge)) return adminSigner(workspace, judge);
  return (await needsSignature(workspace, policy)) ? writerSigner(workspace, policy) : undefined;
}

/** Labels are not used twice: refs and archives are called by them. */
function requireNewLabel({ repo, ns }: Workspace, base: NamespaceState, label: string): void {
  const isUsed =
    base.ledger.epoch === label ||
    base.ledger.parentEpoch?.label === label ||
    [archiveRef(ns, label), chunkRef(ns, label)].some((ref) => repo.refs.resolve(ref) !== undefined);
  if (!isUsed) return;
  throw new KvError("INPUT_INVALID", `'${ns}' has or had an epoch '${label}' already`, { hint: "take another label" });
}
