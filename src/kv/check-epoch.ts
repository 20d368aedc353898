/**
 * The checks of the first transaction of a later epoch (docs/formats/data-format.md, section 8). It names what it follows by
 * Parent-Epoch where another transaction has a parent, it changes no key, and leaves out just what it may.
 */

import { KvError } from "../errors.ts";
import { parseIdent } from "../gitwire/object/commit.ts";
import { type ObjectSource, readAs } from "../gitwire/object/object.ts";
import { hashObject, type Oid } from "../gitwire/object/oid.ts";
import { LIMITS } from "../limits.ts";
import { TimeSlice } from "../time-slice.ts";
import { parseChunkCommit, parseIndexCommit, parseLedgerCommit } from "./attestation.ts";
import {
  type Attested,
  agree,
  agreeOnCommits,
  agreeOnPolicy,
  type Claim,
  checkEpochLabel,
  demand,
} from "./check-attestation.ts";
import { epochTrees } from "./epoch-trees.ts";
import { trieKeyName } from "./ledger-trie.ts";
import { NodeWriter } from "./node-writer.ts";
import { parseMetadata } from "./record.ts";
import { checkRoot, hashingSink, mismatch } from "./replay.ts";
import { kvJson, ledgerTree, type NamespaceState } from "./state.ts";
import { chunkMismatch } from "./stored-manifest.ts";
import { diffTries, type FileChange } from "./trie-diff.ts";

/** What is claimed of the start of an epoch: it follows `base`, which is there. */
export type EpochClaim = Omit<Claim, "base" | "chunks"> & {
  readonly base: NamespaceState;
  /** The first chunk commit of the epoch; undefined where it has none. "unseen": nobody here can tell. */
  readonly chunks: Oid | "unseen" | undefined;
};

/**
 * The attestation check of an epoch's start. Throws NOT_LINEAR, ATTESTATION_MISSING, ATTESTATION_MISMATCH or POLICY_STALE with
 * what does not agree.
 */
export function checkEpochStart(objects: ObjectSource, claim: EpochClaim): Pick<Attested, "ledger"> {
  const { base, ns } = claim;
  const { format } = objects;
  const ledger = parseLedgerCommit(format, claim.ledger, readAs(objects, claim.ledger, "commit"));
  demand("NOT_LINEAR", ledger.parent === undefined, "the first ledger commit of an epoch has a parent");
  const { parentEpoch } = ledger;
  if (parentEpoch === undefined) {
    throw new KvError("ATTESTATION_MISSING", "the first ledger commit of a later epoch has no Parent-Epoch");
  }
  agree("Parent-Epoch", parentEpoch.ledger, base.ledger.oid);
  agree("Parent-Epoch", parentEpoch.label, base.ledger.epoch);
  checkEpochLabel(ledger.epoch);
  demand("ATTESTATION_MISMATCH", ledger.epoch !== base.ledger.epoch, `the epoch '${ledger.epoch}' is there already`);
  agree("Keys-Set", ledger.keysSet, 0);
  const index = parseIndexCommit(format, claim.index, readAs(objects, claim.index, "commit"));
  demand("NOT_LINEAR", index.parent === undefined, "the first kv-index commit of an epoch has a parent");
  agreeOnCommits({ ns, before: base.ledger }, ledger, index);
  if (claim.chunks === undefined) agree("KV-Chunks-Tree", ledger.chunksTree, undefined);
  else if (claim.chunks !== "unseen") {
    const chunks = parseChunkCommit(format, claim.chunks, readAs(objects, claim.chunks, "commit"));
    demand("NOT_LINEAR", chunks.parent === undefined, "the first chunk commit of an epoch has a parent");
    agree("KV-NS of the chunk commit", chunks.ns, ns);
    agree("KV-Txn of the chunk commit", chunks.txn, ledger.txn);
    agree("Epoch of the chunk commit", chunks.epoch, ledger.epoch);
    agree("KV-Chunks-Tree", ledger.chunksTree, chunks.tree);
  }
  agreeOnPolicy(ledger, claim.policy);
  return { ledger };
}

/** The time that decides which keys have expired: the committer's, in Unix seconds. */
export function epochTime({ ledger }: Pick<NamespaceState, "ledger">): number {
  return parseIdent(ledger.commit.committer).seconds;
}

/** The root of the ledger tree has the form of the format. Throws KEY_INVALID, REPLAY_MISMATCH. */
export function checkTree(objects: ObjectSource, next: NamespaceState): void {
  checkRoot(objects, next);
  const kvJsonOid = hashObject(objects.format, "blob", Buffer.from(kvJson(objects.format, next.ns)));
  const root = ledgerTree(objects.format, { kvJson: kvJsonOid, data: next.data, meta: next.meta });
  const tree = hashObject(objects.format, "tree", root);
  if (tree !== next.ledger.tree) throw mismatch(`the ledger tree is ${next.ledger.tree}, made anew it is ${tree}`);
}

/**
 * Whether the ledger tree of an epoch's start is that of `base` without keys that had expired, and nothing else: no key is
 * lost, changed or made by it. Costs time in proportion to the keys left out, and lets others run meanwhile. Rejects with KEY_INVALID,
 * REPLAY_MISMATCH.
 */
export async function checkLeftOut(
  objects: ObjectSource,
  base: NamespaceState,
  next: NamespaceState,
  signal?: AbortSignal,
): Promise<void> {
  checkTree(objects, next);
  const time = epochTime(next);
  const slice = new TimeSlice();
  const gone = new Set<string>();
  for (const change of diffTries(objects, "meta", base.meta, next.meta, LIMITS.packObjects)) {
    const name = trieKeyName("meta", change.fileName);
    const { key, expires } = parseMetadata(readAs(objects, removed(change, "meta"), "blob"));
    if (name === undefined || expires === undefined || expires > time) {
      throw mismatch(`the epoch leaves out the key ${JSON.stringify(key)}, which has not expired at @${time}`);
    }
    gone.add(name);
    if (slice.isOver()) await slice.pause(signal);
  }
  if (gone.size !== next.ledger.keysDel)
    throw mismatch(`Keys-Del is ${next.ledger.keysDel}, the epoch leaves out ${gone.size}`);
  for (const change of diffTries(objects, "data", base.data, next.data, LIMITS.packObjects)) {
    removed(change, "data");
    const name = trieKeyName("data", change.fileName)!;
    if (!gone.delete(name)) throw mismatch(`the value of ${name} is left out, its metadata are not`);
    if (slice.isOver()) await slice.pause(signal);
  }
  const [left] = gone;
  if (left !== undefined) throw mismatch(`the metadata of ${left} are left out, its value is not`);
}

function removed({ before, after, fileName }: FileChange, kind: string): Oid {
  if (after === undefined) return before!;
  throw mismatch(`${fileName} in ${kind}/ is ${before === undefined ? "new" : "another one"}: an epoch sets no key`);
}

/**
 * Makes the trees of an epoch's start again and compares them. Lets others run meanwhile. Rejects with REPLAY_MISMATCH or
 * CHUNK_MISMATCH, and as reading does where something is damaged.
 */
export async function replayEpoch(
  objects: ObjectSource,
  base: NamespaceState,
  next: NamespaceState,
  {
    writer = new NodeWriter(objects, hashingSink(objects)),
    signal,
  }: { writer?: NodeWriter; signal?: AbortSignal } = {},
): Promise<void> {
  await checkLeftOut(objects, base, next, signal);
  const made = await epochTrees(objects, writer, base, epochTime(next), { signal });
  const { ledger } = next;
  const same = (what: string, says: Oid | undefined, is: Oid | undefined): void => {
    if (says !== is) throw mismatch(`${what} is ${says ?? "absent"}, made anew it is ${is ?? "absent"}`);
  };
  same("data/", next.data, made.data);
  same("meta/", next.meta, made.meta);
  same("the kv-index tree", ledger.indexTree, made.index);
  if (ledger.chunksTree !== made.chunks) {
    throw chunkMismatch(
      `the chunk tree is ${ledger.chunksTree ?? "absent"}, made anew it is ${made.chunks ?? "absent"}`,
    );
  }
}
