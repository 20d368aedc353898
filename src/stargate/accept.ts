/**
 * Making an admitted push last, in an order that a crash at any instruction cannot break (docs/design/030-order-of-an-accept.md):
 *
 *     objects fsynced in quarantine -> refs locked -> journal row fsynced -> objects moved in -> refs moved, all by one rename
 *     -> row marked
 *
 * The objects of a small push are not fsynced where they are: the row carries them (kept-packs.ts).
 *
 * Before the row, nothing has happened. From the row on, start-up can finish what is left (recovery.ts). The push is
 * acknowledged after the refs have moved.
 */

import { type KvError, toKvError } from "../errors.ts";
import type { SmallPack } from "../gitwire/pack/pack-install.ts";
import type { Push } from "../gitwire/protocol/receive-pack-host.ts";
import type { RefTransaction } from "../gitwire/refs/ref-transaction.ts";
import { LIMITS } from "../limits.ts";
import type { Gate } from "./gate.ts";
import type { NewEntry } from "./journal.ts";

/** What is accepted; the rest of the journal's row is known here. */
export type Accepted = Omit<NewEntry, "acceptedAt" | "quarantine">;

/** The push, and a last look under the locks: from there to the moved refs nothing else runs in this process. */
export type AcceptedPush = Pick<Push, "quarantine" | "objects"> & {
  readonly recheck?: () => void;
  /** When its commands had arrived, milliseconds since 1970. */
  readonly startedAt?: number;
};

/**
 * Accepts. Throws CAS_CONFLICT, LOCKED, REF_INVALID or STORAGE: no ref has moved then, or (once the row is written) the gate
 * has stopped and start-up decides.
 */
export async function accept(gate: Gate, accepted: Accepted, push: AcceptedPush): Promise<void> {
  gate.requireSound();
  const { quarantine, objects } = push;
  const packs = quarantine?.copies(LIMITS.keptPackBytes);
  // Should this fail, the files are thrown away with the quarantine, never synced again.
  if (packs === undefined) quarantine?.sync();
  gate.onStage("synced");
  const changes = accepted.updates.map(({ ref, oldOid, newOid }) => ({ name: ref, oldOid, newOid }));
  const refs = await gate.repo.refs.begin(changes, { objects });
  await refs.prepare();
  try {
    push.recheck?.();
  } catch (error) {
    refs.abort();
    throw error;
  }
  gate.onStage("locked");
  const id = writeRow(gate, refs, { ...accepted, acceptedAt: gate.clock.now(), quarantine: quarantine?.folder }, packs);
  gate.onStage("journaled");
  try {
    quarantine?.migrate(gate.repo.objects, { keep: true });
  } catch (error) {
    refs.abort();
    takeBack(gate, id);
    throw toKvError(error);
  }
  gate.onStage("migrated");
  try {
    refs.commit();
  } catch (error) {
    throw stop(gate, error);
  }
  gate.onStage("moved");
  gate.journal.finish(id, push.startedAt === undefined ? undefined : gate.clock.now() - push.startedAt);
  gate.onStage("done");
  gate.onAccepted();
}

function writeRow(gate: Gate, refs: RefTransaction, entry: NewEntry, packs: readonly SmallPack[] = []): number {
  try {
    return gate.journal.append(entry, packs);
  } catch (error) {
    refs.abort();
    const failure = toKvError(error);
    const { code = "" } = (failure.cause ?? {}) as { code?: string };
    // A full disk is undone cleanly; after any other failure the row may be on disk or not.
    if (code !== "SQLITE_FULL") gate.fail(failure);
    throw failure;
  }
}

/** The row must not outlive a push that was refused: start-up would make it happen after all. */
function takeBack(gate: Gate, id: number): void {
  try {
    gate.journal.drop(id);
  } catch (error) {
    gate.fail(toKvError(error));
  }
}

function stop(gate: Gate, error: unknown): KvError {
  const failure = toKvError(error);
  gate.fail(failure);
  return failure;
}
