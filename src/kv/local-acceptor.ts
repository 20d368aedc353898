/** Local mode: the refs of this repository are the ledger, and moving them accepts a transaction. */

import type { ObjectSource } from "../gitwire/object/object.ts";
import type { RefChange } from "../gitwire/refs/ref-transaction.ts";
import type { Repository } from "../gitwire/repo.ts";
import { writePackInSteps } from "../gitwire/store/object-writer.ts";
import { whileKept } from "../gitwire/store/pack-keep.ts";
import { inSlices } from "../time-slice.ts";
import { chunkRef } from "./namespace.ts";
import type { RefMove } from "./transaction.ts";
import type { Acceptor, Proposal } from "./write.ts";

/** The ref changes of a transaction's moves. */
function refChanges(repo: Repository, moves: readonly RefMove[]): RefChange[] {
  return moves.map(({ ref, oldOid, newOid }) => ({ name: ref, oldOid: oldOid ?? repo.format.zeroOid, newOid }));
}

/** Accepts into `repo`: objects durably, then all refs in one atomic step, both under the refs' locks. Nothing is accepted once `signal` is aborted. */
export function localAcceptor(repo: Repository, signal?: AbortSignal): Acceptor {
  return {
    decidesHere: true,
    accept: async (proposal) => storeTransaction(repo, proposal, signal),
    refresh: async () => undefined,
    chunkTip: async (ns, epoch) => {
      const commit = repo.refs.resolve(chunkRef(ns, epoch));
      if (commit === undefined) return undefined;
      const { chunkTipAt } = await import("./chunk-tree.ts");
      return { ...chunkTipAt(repo.objects, commit), objects: repo.objects };
    },
  };
}

/**
 * Stores a transaction and moves the refs to it, pausing now and then. Throws CAS_CONFLICT with nothing stored where one has moved, and what
 * `signal` is aborted with before they move.
 */
export async function storeTransaction(
  repo: Repository,
  { plan, pack, objects }: Proposal,
  signal?: AbortSignal,
): Promise<void> {
  const transaction = await repo.refs.begin(refChanges(repo, plan.moves), {
    objects: withCommits(repo.objects, plan.moves),
  });
  await transaction.prepare();
  await whileKept(async (keeps) => {
    try {
      const options = { fsync: true, onName: (packPath: string) => keeps.add(packPath), bases: objects };
      await inSlices(writePackInSteps(repo.objects, pack, options), signal);
      transaction.commit();
    } catch (error) {
      transaction.abort();
      throw error;
    }
  });
}

/** The store as it will be once the pack is in it: refs may only move to what exists. */
function withCommits(objects: ObjectSource, moves: readonly RefMove[]): ObjectSource {
  const coming = new Set(moves.map(({ newOid }) => newOid));
  return {
    format: objects.format,
    has: (oid) => coming.has(oid) || objects.has(oid),
    read: (oid) => (coming.has(oid) ? { kind: "commit", data: Buffer.alloc(0) } : objects.read(oid)),
  };
}
